//! Addresses for BARs, from the windows of the host bridge.

use std::ops::Range;

use crate::arch::layout::{self, Layout};

/// Register BARs up to this size go below 4 GiB, where every guest reaches them; the rest is left to large ones.
const SMALL: u64 = 1 << 20;

/// Neither window has room.
#[derive(Debug, thiserror::Error)]
#[error("no room for a PCI BAR of {0} bytes")]
pub struct NoRoom(u64);

/// What is left of the windows.
#[derive(Debug)]
pub struct Windows {
    low: Range<u64>,
    high: Range<u64>,
}

impl Windows {
    /// The windows of `layout`, all free.
    pub fn new(layout: &Layout) -> Self {
        Self {
            low: layout::PCI_WINDOW_32,
            high: layout.pci_window_64.clone(),
        }
    }

    /// Takes `size` bytes (a power of two), aligned to their size.
    ///
    /// # Errors
    /// [`NoRoom`].
    pub fn allocate(&mut self, size: u64) -> Result<u64, NoRoom> {
        let (first, second) = if size <= SMALL {
            (&mut self.low, &mut self.high)
        } else {
            (&mut self.high, &mut self.low)
        };
        take(first, size)
            .or_else(|| take(second, size))
            .ok_or(NoRoom(size))
    }
}

fn take(window: &mut Range<u64>, size: u64) -> Option<u64> {
    let start = window.start.checked_next_multiple_of(size)?;
    let end = start.checked_add(size).filter(|end| *end <= window.end)?;
    window.start = end;
    Some(start)
}

#[cfg(test)]
mod tests;
