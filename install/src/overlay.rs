//! Changes kept in memory until they are written in the order that is wanted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;

use crate::storage::Storage;

/// Bytes of content that are written at once.
const CHUNK: usize = 1 << 20;

/// A storage with changes over it, by sector.
#[derive(Debug)]
pub struct Overlay<S> {
    below: S,
    changed: RefCell<BTreeMap<u64, Vec<u8>>>,
    /// Writes from this byte on go through: they are content that nothing on the disk refers to yet.
    through: Cell<Option<u64>>,
    /// Content on its way, and where it goes; writes that follow each other become one.
    passing: RefCell<(u64, Vec<u8>)>,
    chunk: usize,
}

impl<S: Storage> Overlay<S> {
    /// Nothing changed yet.
    pub fn new(below: S) -> Self {
        Self {
            below,
            changed: RefCell::default(),
            through: Cell::new(None),
            passing: RefCell::default(),
            chunk: CHUNK,
        }
    }

    /// Content is written in pieces of `chunk` bytes: a test wants many writes of a small file.
    #[must_use]
    pub fn with_chunk(self, chunk: usize) -> Self {
        Self { chunk, ..self }
    }

    /// Lets what `write` writes from the byte `boundary` on through to the storage, unless it changes what is changed already.
    ///
    /// # Errors
    /// Those of `write`, and of the storage.
    pub fn pass_through<T>(&self, boundary: u64, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.through.set(Some(boundary));
        let written = write();
        self.through.set(None);
        let passed = self.pass();
        let written = written?;
        passed.map(|()| written)
    }

    fn pass(&self) -> io::Result<()> {
        let (at, bytes) = self.passing.take();
        if bytes.is_empty() {
            Ok(())
        } else {
            self.below.write_at(at, &bytes)
        }
    }

    fn write_through(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let follows = {
            let passing = self.passing.borrow();
            let end = u64::try_from(passing.1.len()).ok().map(|l| passing.0 + l);
            end == Some(offset) && passing.1.len() + bytes.len() <= self.chunk
        };
        if !follows {
            self.pass()?;
            self.passing.borrow_mut().0 = offset;
        }
        self.passing.borrow_mut().1.extend_from_slice(bytes);
        Ok(())
    }

    /// Numbers of the sectors that differ from what is below.
    ///
    /// # Errors
    /// The storage cannot be read.
    pub fn differing(&self) -> io::Result<Vec<u64>> {
        let changed = self.changed.borrow();
        let mut differing = Vec::new();
        for (number, content) in changed.iter() {
            let mut old = vec![0; content.len()];
            self.below.read_at(number * self.below.sector(), &mut old)?;
            if old != *content {
                differing.push(*number);
            }
        }
        Ok(differing)
    }

    /// A sector as it is below, and as it is here.
    ///
    /// # Errors
    /// The storage cannot be read.
    pub fn versions(&self, number: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let at = number * self.below.sector();
        let mut old = vec![0; usize::try_from(self.below.sector()).unwrap_or(512)];
        let mut new = old.clone();
        self.below.read_at(at, &mut old)?;
        self.read_at(at, &mut new)?;
        Ok((old, new))
    }

    /// Writes sectors to the storage, neighbours in one go, and flushes it.
    ///
    /// # Errors
    /// The storage fails.
    pub fn write_out(&self, numbers: &[u64]) -> io::Result<()> {
        let sector = self.below.sector();
        let mut run: (u64, Vec<u8>) = (0, Vec::new());
        for number in numbers {
            let Some(content) = self.changed.borrow_mut().remove(number) else {
                continue;
            };
            let at = number * sector;
            let follows = u64::try_from(run.1.len()).is_ok_and(|l| run.0 + l == at);
            if !(follows && run.1.len() < self.chunk) {
                if !run.1.is_empty() {
                    self.below.write_at(run.0, &run.1)?;
                }
                run = (at, Vec::new());
            }
            run.1.extend_from_slice(&content);
        }
        if !run.1.is_empty() {
            self.below.write_at(run.0, &run.1)?;
        }
        self.below.flush()
    }

    /// Gives up every change.
    pub fn discard(&self) {
        self.changed.borrow_mut().clear();
    }

    /// What is below.
    pub const fn below(&self) -> &S {
        &self.below
    }

    /// Each sector that `length` bytes from `offset` touch: its number, where in it, and how many bytes.
    fn pieces(&self, offset: u64, length: usize) -> Vec<(u64, usize, usize)> {
        let sector = self.below.sector();
        let mut pieces = Vec::new();
        let (mut at, mut left) = (offset, length);
        while left > 0 {
            let within = usize::try_from(at % sector).unwrap_or(0);
            let room = usize::try_from(sector).unwrap_or(512) - within;
            let now = room.min(left);
            pieces.push((at / sector, within, now));
            at += u64::try_from(now).unwrap_or(0);
            left -= now;
        }
        pieces
    }
}

impl<S: Storage> Storage for Overlay<S> {
    fn size(&self) -> u64 {
        self.below.size()
    }

    fn sector(&self) -> u64 {
        self.below.sector()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let changed = self.changed.borrow();
        let first = offset / self.sector();
        let end = offset + u64::try_from(buffer.len()).unwrap_or(0);
        if changed.range(first..end.div_ceil(self.sector())).next().is_none() {
            return self.below.read_at(offset, buffer);
        }
        let mut rest = buffer;
        let mut at = offset;
        for (number, within, length) in self.pieces(offset, rest.len()) {
            let (now, later) = rest.split_at_mut(length);
            match changed
                .get(&number)
                .and_then(|content| content.get(within..within + length))
            {
                Some(content) => now.copy_from_slice(content),
                None => self.below.read_at(at, now)?,
            }
            at += u64::try_from(length).unwrap_or(0);
            rest = later;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.through.get().is_some_and(|boundary| offset >= boundary)
            && !self.touches_change(offset, bytes.len())
        {
            return self.write_through(offset, bytes);
        }
        let size = usize::try_from(self.sector()).unwrap_or(512);
        let mut rest = bytes;
        for (number, within, length) in self.pieces(offset, bytes.len()) {
            let (now, later) = rest.split_at(length);
            let mut changed = self.changed.borrow_mut();
            let content = match changed.entry(number) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let mut old = vec![0; size];
                    if length < size {
                        self.below.read_at(number * self.below.sector(), &mut old)?;
                    }
                    entry.insert(old)
                }
            };
            if let Some(to) = content.get_mut(within..within + length) {
                to.copy_from_slice(now);
            }
            rest = later;
        }
        Ok(())
    }

    /// Changes are written by [`Overlay::write_out`], and only by it.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget(&self) -> io::Result<()> {
        self.below.forget()
    }
}

impl<S: Storage> Overlay<S> {
    fn touches_change(&self, offset: u64, length: usize) -> bool {
        let changed = self.changed.borrow();
        let pieces = self.pieces(offset, length);
        pieces.iter().any(|(number, ..)| changed.contains_key(number))
    }
}

#[cfg(test)]
mod tests;
