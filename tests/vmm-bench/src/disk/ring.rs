//! Reads in flight, by io_uring, past the page cache.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use io_uring::{IoUring, opcode, types};

use super::BLOCK;

const SIZE: usize = 4096;

/// Where a read goes; as aligned as any disk wants.
#[derive(Clone)]
#[repr(align(4096))]
struct Page([u8; SIZE]);

/// A disk with as many reads in flight as there are slots.
pub struct Ring {
    // Before the pages: the kernel has let go of them once it is dropped.
    ring: IoUring,
    file: File,
    pages: Vec<Page>,
}

impl Ring {
    /// The disk `path` with `slots`.
    ///
    /// # Errors
    /// There is no such disk, or no io_uring.
    pub fn open(path: &Path, slots: usize) -> Result<Self> {
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECT)
            .open(path)?;
        Ok(Self {
            ring: IoUring::new(u32::try_from(slots.next_power_of_two())?)?,
            file,
            pages: vec![Page([0; SIZE]); slots],
        })
    }

    /// Begins a read of a block at `offset`, into `slot`, which must be free; it is under way with the next
    /// [`Ring::wait`].
    ///
    /// # Errors
    /// There is no such slot.
    pub fn read(&mut self, slot: usize, offset: u64) -> Result<()> {
        let page = self.pages.get_mut(slot).context("no such slot")?;
        let len = u32::try_from(BLOCK)?;
        let entry = opcode::Read::new(types::Fd(self.file.as_raw_fd()), page.0.as_mut_ptr(), len)
            .offset(offset)
            .build()
            .user_data(slot as u64);
        // SAFETY: file and page live as long as the ring, and nobody else uses the page of a slot.
        unsafe { self.ring.submission().push(&entry) }.context("the ring is full")
    }

    /// Submits what was begun; waits until a read has ended.
    ///
    /// # Errors
    /// `io_uring_enter` fails.
    pub fn wait(&mut self) -> io::Result<()> {
        self.ring.submit_and_wait(1).map(drop)
    }

    /// The slot of a read that has ended.
    ///
    /// # Errors
    /// It failed.
    pub fn done(&mut self) -> Result<Option<usize>> {
        let Some(entry) = self.ring.completion().next() else {
            return Ok(None);
        };
        ensure!(
            entry.result() == i32::try_from(BLOCK)?,
            "a read gave {} instead of {BLOCK}",
            entry.result()
        );
        Ok(Some(usize::try_from(entry.user_data())?))
    }
}
