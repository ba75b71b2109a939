//! Where bytes go: a disk, an image file, a part of one.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Something that can be read and written at any place, and told to make what was written durable.
///
/// What was written before [`Storage::flush`] came back is there after a power cut. What was written since may be there or not,
/// in any order, sector by sector.
pub trait Storage {
    /// Bytes.
    fn size(&self) -> u64;

    /// Bytes of a logical sector, 512 or 4096: what is written whole or not at all.
    fn sector(&self) -> u64;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// The device fails, or ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// The device fails, or ends before.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// The device fails.
    fn flush(&self) -> io::Result<()>;

    /// Forgets what is remembered of what was flushed, so that it is read from the device.
    ///
    /// # Errors
    /// The device fails.
    fn forget(&self) -> io::Result<()>;
}

impl<T: Storage + ?Sized> Storage for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }
    fn sector(&self) -> u64 {
        (**self).sector()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write_at(offset, bytes)
    }
    fn flush(&self) -> io::Result<()> {
        (**self).flush()
    }
    fn forget(&self) -> io::Result<()> {
        (**self).forget()
    }
}

/// A block device or an image file.
#[derive(Debug)]
pub struct Disk {
    file: File,
    size: u64,
    sector: u64,
}

impl Disk {
    /// `file` with sectors of `sector` bytes. Its size is found by seeking: a block device has none in its metadata.
    ///
    /// # Errors
    /// It cannot be sought in.
    pub fn new(file: File, sector: u64) -> io::Result<Self> {
        let size = io::Seek::seek(&mut &file, io::SeekFrom::End(0))?;
        Ok(Self { file, size, sector })
    }

    /// The file itself.
    pub const fn file(&self) -> &File {
        &self.file
    }
}

impl Storage for Disk {
    fn size(&self) -> u64 {
        self.size
    }
    fn sector(&self) -> u64 {
        self.sector
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }
    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
    fn forget(&self) -> io::Result<()> {
        Ok(posix_fadvise(
            &self.file,
            0,
            0,
            PosixFadviseAdvice::POSIX_FADV_DONTNEED,
        )?)
    }
}

/// A part of a storage: a partition.
#[derive(Debug)]
pub struct Part<S> {
    whole: S,
    /// First byte.
    start: u64,
    /// Bytes.
    length: u64,
}

impl<S: Storage> Part<S> {
    /// `length` bytes of `whole` from `start`.
    pub const fn new(whole: S, start: u64, length: u64) -> Self {
        Self { whole, start, length }
    }

    fn place(&self, offset: u64, length: usize) -> io::Result<u64> {
        let end = u64::try_from(length).ok().and_then(|l| offset.checked_add(l));
        // A table may say that a partition begins anywhere.
        let place = self.start.checked_add(offset);
        place
            .filter(|_| end.is_some_and(|end| end <= self.length))
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl<S: Storage> Storage for Part<S> {
    fn size(&self) -> u64 {
        self.length
    }
    fn sector(&self) -> u64 {
        self.whole.sector()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.whole.read_at(self.place(offset, buffer.len())?, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.whole.write_at(self.place(offset, bytes.len())?, bytes)
    }
    fn flush(&self) -> io::Result<()> {
        self.whole.flush()
    }
    fn forget(&self) -> io::Result<()> {
        self.whole.forget()
    }
}

/// Where a library that wants one stream reads and writes.
#[derive(Debug)]
pub struct Stream<S> {
    storage: S,
    position: u64,
}

impl<S> Stream<S> {
    /// A stream at the beginning of `storage`.
    pub const fn new(storage: S) -> Self {
        Self { storage, position: 0 }
    }
}

impl<S: Storage> io::Read for Stream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.storage.size().saturating_sub(self.position);
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let (now, _) = buffer.split_at_mut(length);
        self.storage.read_at(self.position, now)?;
        self.position += u64::try_from(length).unwrap_or(0);
        Ok(length)
    }
}

impl<S: Storage> io::Write for Stream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.storage.write_at(self.position, bytes)?;
        self.position += u64::try_from(bytes.len()).unwrap_or(0);
        Ok(bytes.len())
    }

    /// The order of flushes is not a library's to choose.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Storage> io::Seek for Stream<S> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let target = match to {
            io::SeekFrom::Start(offset) => Some(offset),
            io::SeekFrom::Current(by) => self.position.checked_add_signed(by),
            io::SeekFrom::End(by) => self.storage.size().checked_add_signed(by),
        };
        self.position = target.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
