//! A disk in memory that remembers every write and every flush, and disks as a power cut leaves them.
//!
//! Between two flushes a disk may write in any order, or not at all, but each sector whole. So after a cut, each sector that was
//! written since the last flush holds any one of the versions it had since, or the one before; [`Disk::cut`] takes the choice
//! from its caller. That covers writes that were dropped, reordered and torn.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::storage::Storage;

pub mod log_writes;

/// Bytes of a sector.
const SECTOR: usize = 512;

/// What was done to a disk.
#[derive(Debug, Clone)]
pub enum Operation {
    /// Bytes were written.
    Write {
        /// First byte.
        offset: u64,
        /// The bytes.
        bytes: Arc<[u8]>,
    },
    /// What had been written was made durable.
    Flush,
}

type Sectors = BTreeMap<u64, Arc<[u8; SECTOR]>>;

/// A sparse disk in memory.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    size: u64,
    /// What is shared with the disks that this one was made from.
    lower: Arc<Sectors>,
    sectors: RefCell<Sectors>,
    log: RefCell<Vec<Operation>>,
}

impl Disk {
    /// An empty disk of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self {
            size,
            ..Self::default()
        }
    }

    /// The content of an image file; its holes are not read.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of(file: &File) -> io::Result<Self> {
        let disk = Self::new(file.metadata()?.len());
        let mut chunk = vec![0; 1 << 20];
        let mut at = 0;
        while let Some((start, end)) = next_data(file, at, disk.size)? {
            let mut offset = start;
            while offset < end {
                let length = usize::try_from(end - offset)
                    .unwrap_or(usize::MAX)
                    .min(chunk.len());
                let part = chunk.get_mut(..length).unwrap_or_default();
                file.read_exact_at(part, offset)?;
                disk.store(offset, part)?;
                offset += u64::try_from(length).unwrap_or(u64::MAX);
            }
            at = end;
        }
        Ok(disk.settled())
    }

    /// The same content, and nothing remembered of how it came.
    #[must_use]
    pub fn fresh(&self) -> Self {
        Self {
            size: self.size,
            lower: self.lower.clone(),
            sectors: self.sectors.clone(),
            log: RefCell::default(),
        }
    }

    /// As [`Disk::fresh`]; copies of it share the content that it has now.
    #[must_use]
    pub fn settled(&self) -> Self {
        let mut sectors = Sectors::clone(&self.lower);
        let own = self.sectors.borrow();
        sectors.extend(own.iter().map(|(number, content)| (*number, content.clone())));
        Self {
            size: self.size,
            lower: Arc::new(sectors),
            ..Self::default()
        }
    }

    fn content(&self, sector: u64) -> Option<Arc<[u8; SECTOR]>> {
        let own = self.sectors.borrow().get(&sector).cloned();
        own.or_else(|| self.lower.get(&sector).cloned())
    }

    /// What was done to it.
    pub fn log(&self) -> Vec<Operation> {
        self.log.borrow().clone()
    }

    /// How many sectors it has that it does not share.
    pub(crate) fn own_sectors(&self) -> usize {
        self.sectors.borrow().len()
    }

    /// Does to it what was done to another one.
    ///
    /// # Errors
    /// The write is beyond its end.
    pub fn apply(&self, operation: &Operation) -> io::Result<()> {
        match operation {
            Operation::Write { offset, bytes } => self.store(*offset, bytes),
            Operation::Flush => Ok(()),
        }
    }

    /// The disk as the power cut leaves it when `pending` was written since the last flush. `choose` gets the number of
    /// versions that a sector had and gives the one that it is left with: 0 for the one on this disk.
    ///
    /// # Errors
    /// A write is beyond its end.
    pub fn cut(&self, pending: &[Operation], mut choose: impl FnMut(usize) -> usize) -> io::Result<Self> {
        let mut versions: BTreeMap<u64, Vec<Arc<[u8; SECTOR]>>> = BTreeMap::new();
        let newest = self.fresh();
        for operation in pending {
            newest.apply(operation)?;
            if let Operation::Write { offset, bytes } = operation {
                for sector in covered(*offset, bytes.len()) {
                    versions.entry(sector).or_default().extend(newest.content(sector));
                }
            }
        }
        let left = self.fresh();
        for (sector, versions) in versions {
            if let Some(version) = choose(versions.len() + 1)
                .checked_sub(1)
                .and_then(|n| versions.get(n))
            {
                left.sectors.borrow_mut().insert(sector, version.clone());
            }
        }
        Ok(left)
    }

    /// The disk as a cut leaves it behind the first `count` of the operations `log`, done to this one; `choose` as in [`Disk::cut`].
    ///
    /// # Errors
    /// A write is beyond its end.
    pub fn cut_behind(
        &self,
        log: &[Operation],
        count: usize,
        choose: impl FnMut(usize) -> usize,
    ) -> io::Result<Self> {
        let done = log.get(..count).unwrap_or(log);
        let flushed = done
            .iter()
            .rposition(|operation| matches!(operation, Operation::Flush));
        let (durable, pending) = done.split_at(flushed.map_or(0, |last| last + 1));
        let left = self.fresh();
        for operation in durable {
            left.apply(operation)?;
        }
        left.cut(pending, choose)
    }

    /// Writes what it holds to `to`, which holds nothing yet.
    ///
    /// # Errors
    /// `to` is too small, or fails.
    pub fn copy_to(&self, to: &impl Storage) -> io::Result<()> {
        let own = self.sectors.borrow();
        let lower = self.lower.iter().filter(|(number, _)| !own.contains_key(number));
        for (number, content) in lower.chain(own.iter()) {
            to.write_at(number * to.sector(), content.as_slice())?;
        }
        Ok(())
    }

    fn store(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let (sector, within) = locate(at);
            let (now, later) = rest.split_at((SECTOR - within).min(rest.len()));
            let mut content = self.content(sector).map_or([0; SECTOR], |s| *s);
            if let Some(to) = content.get_mut(within..within + now.len()) {
                to.copy_from_slice(now);
            }
            self.sectors.borrow_mut().insert(sector, Arc::new(content));
            at += u64::try_from(now.len()).unwrap_or(0);
            rest = later;
        }
        Ok(())
    }
}

/// The first data of a sparse file from `at`: first byte, and the one behind the last.
fn next_data(file: &File, at: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    let seek = |at: u64, whence| match lseek(file, i64::try_from(at).unwrap_or(i64::MAX), whence) {
        Ok(place) => Ok(u64::try_from(place).ok()),
        Err(Errno::ENXIO) => Ok(None),
        Err(error) => Err(io::Error::from(error)),
    };
    let Some(start) = seek(at, Whence::SeekData)? else {
        return Ok(None);
    };
    let end = seek(start, Whence::SeekHole)?.unwrap_or(size);
    Ok(Some((start, end)))
}

/// The sector of a byte, and where in it the byte is.
fn locate(at: u64) -> (u64, usize) {
    let size = u64::try_from(SECTOR).unwrap_or(u64::MAX);
    (at / size, usize::try_from(at % size).unwrap_or(0))
}

fn covered(offset: u64, length: usize) -> std::ops::Range<u64> {
    let end = offset + u64::try_from(length).unwrap_or(0);
    locate(offset).0..locate(end + 511).0
}

impl Storage for Disk {
    fn size(&self) -> u64 {
        self.size
    }
    fn sector(&self) -> u64 {
        512
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
        if offset.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = buffer;
        let mut at = offset;
        while !rest.is_empty() {
            let (sector, within) = locate(at);
            let (now, later) = rest.split_at_mut((SECTOR - within).min(rest.len()));
            let content = self.content(sector);
            match content.as_ref().and_then(|c| c.get(within..within + now.len())) {
                Some(content) => now.copy_from_slice(content),
                None => now.fill(0),
            }
            at += u64::try_from(now.len()).unwrap_or(0);
            rest = later;
        }
        Ok(())
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.store(offset, bytes)?;
        self.log.borrow_mut().push(Operation::Write {
            offset,
            bytes: bytes.into(),
        });
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        self.log.borrow_mut().push(Operation::Flush);
        Ok(())
    }
    fn forget(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
