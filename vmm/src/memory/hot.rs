//! Memory that a guest gets and gives back while it runs, in blocks.
//!
//! ```text
//! guest addresses    [ block ][ block ][ block ][ block ]     one region, one KVM slot, one range for vhost: for good
//! behind them          pages   scratch   pages   scratch      pages of the machine's kind where plugged
//! ```
//!
//! Behind every block that is not plugged lies the same piece of scratch memory, a file of one block's size. It is there to be
//! read and written: a guest that touches such a block, or has a device or the host's kernel touch it, gets nowhere (it
//! finds what it wrote before itself), takes no more than one block of the host, and harms nobody. Without it an access by the VMM
//! would be a SIGSEGV, and the end of the machine without a reason.
//!
//! A plugged range is made elsewhere, with all its pages where they are hugepages, and then moved into place: there is no moment
//! at which the region has a hole, and a page that cannot be had is an error of the request. Where the kernel refuses to take back
//! one of several blocks, those that went before get new memory, so that the guest has all that it believes to have; what was in
//! them is lost, which it had given up. Where it has none for them either ([`HotError::Lost`]), the machine cannot go on: the guest
//! would use the scratch memory as its own.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axion_api::vm::HugepageSize;
use axion_core::placement::block_size;
use vm_memory::{GuestAddress, GuestRegionMmap};

use super::mapping::{self, Kind, Piece};
use super::page_size;
use crate::log;

/// The region.
pub struct Hot {
    range: Range<u64>,
    block: u64,
    kind: Kind,
    /// Host address of the region.
    host: usize,
    scratch: File,
    plugged: Mutex<Vec<bool>>,
    /// The block that cannot be covered.
    #[cfg(test)]
    pub refused: std::sync::atomic::AtomicUsize,
}

/// A range that cannot be plugged or unplugged.
#[derive(Debug, thiserror::Error)]
pub enum HotError {
    /// It is not of whole blocks in the region.
    #[error("{start:#x}, {blocks} blocks: not in the region")]
    Range {
        /// Guest address.
        start: u64,
        /// Blocks.
        blocks: u64,
    },
    /// Some of its blocks are what they were to become.
    #[error("{start:#x}, {blocks} blocks: some are plugged or unplugged already")]
    State {
        /// Guest address.
        start: u64,
        /// Blocks.
        blocks: u64,
    },
    /// The kernel has no pages.
    #[error("no memory")]
    Pages(#[source] io::Error),
    /// A part was taken back, the rest could not be, and there is no memory to put in the place of what went.
    #[error("a part of what was to be taken back is gone, and the guest knows nothing of it")]
    Lost(#[source] io::Error),
}

/// What is behind a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Memory.
    Plugged,
    /// Nothing.
    Unplugged,
    /// Both.
    Mixed,
}

impl Hot {
    /// The region at the guest addresses `range`, nothing of it plugged; what is, has pages of `hugepages` bound to `node`,
    /// filled in where `prefault` says so.
    ///
    /// # Errors
    /// Where the kernel refuses a mapping or the file.
    pub fn map(
        range: Range<u64>,
        hugepages: HugepageSize,
        node: Option<u32>,
        prefault: bool,
    ) -> io::Result<Self> {
        let size = range.end - range.start;
        let block = block_size(size, page_size(hugepages));
        if size == 0 || !size.is_multiple_of(block) || !range.start.is_multiple_of(block) {
            return Err(io::Error::other("its size or place is no multiple of a block"));
        }
        let scratch = mapping::scratch(block)?;
        let host = mapping::reserve(usize_of(size)?, usize_of(block)?)?;
        let hot = Self {
            kind: Kind {
                hugepages,
                node,
                filled: prefault || hugepages != HugepageSize::None,
            },
            plugged: Mutex::new(vec![false; usize_of(size / block)?]),
            range,
            block,
            host,
            scratch,
            #[cfg(test)]
            refused: std::sync::atomic::AtomicUsize::new(usize::MAX),
        };
        for index in 0..hot.blocks() {
            hot.cover(index)?;
        }
        Ok(hot)
    }

    /// Guest addresses.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Bytes of a block.
    pub fn block(&self) -> u64 {
        self.block
    }

    /// The region as a part of guest memory.
    ///
    /// # Errors
    /// Where the region ends beyond the last address.
    pub fn region(&self) -> io::Result<GuestRegionMmap<()>> {
        let size = usize_of(self.range.end - self.range.start)?;
        let region = mapping::region(self.host, size)?;
        GuestRegionMmap::new(region, GuestAddress(self.range.start))
            .ok_or_else(|| io::Error::other("beyond the last address"))
    }

    /// Puts memory, all zeros, behind `blocks` blocks from `start` on, none of which is plugged.
    ///
    /// # Errors
    /// [`HotError`]; nothing has changed then.
    pub fn plug(&self, start: u64, blocks: u64) -> Result<(), HotError> {
        let mut plugged = self.plugged();
        let indices = self.indices(start, blocks)?;
        let theirs = plugged.get_mut(indices.clone()).unwrap_or_default();
        if theirs.iter().any(|plugged| *plugged) {
            return Err(HotError::State { start, blocks });
        }
        let piece = self.piece(start, blocks).map_err(HotError::Pages)?;
        if let Err(error) = mapping::replace(piece, self.kind) {
            // The kernel may have taken away what was there before it found that it cannot go on.
            let covered: Vec<_> = indices.map(|index| self.cover(index)).collect();
            covered
                .into_iter()
                .collect::<io::Result<()>>()
                .map_err(HotError::Pages)?;
            return Err(HotError::Pages(error));
        }
        theirs.fill(true);
        Ok(())
    }

    /// Takes back the memory behind `blocks` blocks from `start` on, all of which are plugged.
    ///
    /// # Errors
    /// [`HotError`]; all of it is plugged then as before, if not with what was in it, but for [`HotError::Lost`].
    pub fn unplug(&self, start: u64, blocks: u64) -> Result<(), HotError> {
        let mut plugged = self.plugged();
        let indices = self.indices(start, blocks)?;
        let first = indices.start;
        let theirs = plugged.get_mut(indices).unwrap_or_default();
        if theirs.iter().any(|plugged| !*plugged) {
            return Err(HotError::State { start, blocks });
        }
        self.take_back(theirs, first)
    }

    /// Takes back all, and forgets what was written where there is no memory.
    ///
    /// # Errors
    /// [`HotError::Pages`] and [`HotError::Lost`], as with [`Hot::unplug`].
    pub fn unplug_all(&self) -> Result<(), HotError> {
        self.take_back(&mut self.plugged(), 0)?;
        let first = self.piece(self.range.start, 1).map_err(HotError::Pages)?;
        if let Err(errno) = mapping::forget(first) {
            log::line(format_args!("memory: cannot clear scratch memory: {errno}"));
        }
        Ok(())
    }

    /// Takes back those of the blocks from the place `first` on that are `plugged`; all or none.
    fn take_back(&self, plugged: &mut [bool], first: usize) -> Result<(), HotError> {
        for at in 0..plugged.len() {
            if plugged.get(at) == Some(&true)
                && let Err(error) = self.cover(first + at)
            {
                // The kernel may have taken away what was there before it found that it cannot go on.
                let gone = plugged.get_mut(..=at).unwrap_or_default();
                return Err(self.put_back(gone, first, error));
            }
        }
        plugged.fill(false);
        Ok(())
    }

    /// Puts new memory behind those of the blocks from the place `first` on that are `plugged` and have been taken back before
    /// `error`.
    fn put_back(&self, plugged: &mut [bool], first: usize, error: io::Error) -> HotError {
        let mut lost = false;
        for (plugged, index) in plugged.iter_mut().zip(first..) {
            let new = || mapping::replace(self.piece(self.address(index), 1)?, self.kind);
            if *plugged && new().is_err() {
                // No hole, where that can be had.
                let _ = self.cover(index);
                *plugged = false;
                lost = true;
            }
        }
        if lost {
            HotError::Lost(error)
        } else {
            HotError::Pages(error)
        }
    }

    /// What is behind `blocks` blocks from `start` on.
    ///
    /// # Errors
    /// [`HotError::Range`].
    pub fn state(&self, start: u64, blocks: u64) -> Result<State, HotError> {
        let plugged = self.plugged();
        let theirs = plugged.get(self.indices(start, blocks)?).unwrap_or_default();
        let count = theirs.iter().filter(|plugged| **plugged).count();
        Ok(match count {
            0 => State::Unplugged,
            count if count == theirs.len() => State::Plugged,
            _ => State::Mixed,
        })
    }

    /// Bytes that are plugged.
    pub fn size(&self) -> u64 {
        let count = self.plugged().iter().filter(|plugged| **plugged).count();
        self.block.saturating_mul(count as u64)
    }

    fn blocks(&self) -> usize {
        self.plugged().len()
    }

    /// Places of the blocks in the region.
    fn indices(&self, start: u64, blocks: u64) -> Result<Range<usize>, HotError> {
        let outside = || HotError::Range { start, blocks };
        let offset = start.checked_sub(self.range.start).ok_or_else(outside)?;
        let len = blocks.checked_mul(self.block).ok_or_else(outside)?;
        let end = offset.checked_add(len).ok_or_else(outside)?;
        let whole = offset.is_multiple_of(self.block) && blocks > 0;
        if !whole || end > self.range.end - self.range.start {
            return Err(outside());
        }
        let index = |offset: u64| usize::try_from(offset / self.block).map_err(|_| outside());
        Ok(index(offset)?..index(end)?)
    }

    fn piece(&self, start: u64, blocks: u64) -> io::Result<Piece> {
        Ok(Piece {
            guest: start,
            host: self.host + usize_of(start - self.range.start)?,
            size: usize_of(blocks * self.block)?,
        })
    }

    /// Puts scratch memory behind the block at this place.
    fn cover(&self, index: usize) -> io::Result<()> {
        #[cfg(test)]
        if self.refused.load(std::sync::atomic::Ordering::Relaxed) == index {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        mapping::cover(self.piece(self.address(index), 1)?, &self.scratch)
    }

    /// Guest address of the block at this place.
    fn address(&self, index: usize) -> u64 {
        self.range.start + index as u64 * self.block
    }

    fn plugged(&self) -> MutexGuard<'_, Vec<bool>> {
        self.plugged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn usize_of(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(io::Error::other)
}

#[cfg(test)]
mod tests;
