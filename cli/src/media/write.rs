//! Bytes onto a disk and back again.
//!
//! Direct I/O both ways: what is written goes to the disk and not to memory, so that the bar tells the truth and a stick that is
//! pulled out when the bar is gone is whole; what is read back is what the disk holds and not what the kernel remembers.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};
use sha2::{Digest, Sha256};

use super::open;
use super::volume::Patch;
use crate::error::Error;

/// Bytes that are written at once.
const CHUNK: usize = 4 << 20;
/// What direct I/O wants buffers, offsets and lengths to be multiples of, on any disk.
const ALIGNMENT: usize = 4096;
/// Bytes at the end of the disk where older partition tables and volume managers have their second copies.
const TAIL: u64 = 1 << 20;

/// What is written: an image, and what stands in a part of its place.
#[derive(Debug)]
pub struct Source {
    image: File,
    size: u64,
    patch: Option<Patch>,
}

impl Source {
    /// The image `path` as it is.
    ///
    /// # Errors
    /// It cannot be read, or is no image.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let image = open(path)?;
        let facts = image
            .metadata()
            .map_err(|source| Error::io(format!("cannot look at {}", path.display()), source))?;
        if !facts.is_file() || facts.len() == 0 {
            return Err(Error::Usage(format!("{} is no image", path.display())));
        }
        Ok(Self {
            image,
            size: facts.len(),
            patch: None,
        })
    }

    /// Puts `patch` in the place of what the image has there.
    pub fn replace(&mut self, patch: Patch) {
        self.patch = Some(patch);
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` with what is at `at`.
    fn read(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.image.read_exact_at(buffer, at)?;
        let Some(patch) = &self.patch else {
            return Ok(());
        };
        // Both as offsets of this buffer, which the patch may begin before, in, or behind.
        let (buffer_end, patch_end) = (at + as_u64(buffer.len()), patch.at + as_u64(patch.content.len()));
        let (from, to) = (at.max(patch.at), buffer_end.min(patch_end));
        if from < to {
            let part = |start: u64| as_usize(from - start)..as_usize(to - start);
            if let (Some(into), Some(of)) = (buffer.get_mut(part(at)), patch.content.get(part(patch.at))) {
                into.copy_from_slice(of);
            }
        }
        Ok(())
    }
}

/// Refuses a device that this user may not write to, before there is a question to answer.
///
/// # Errors
/// It is one.
pub fn is_allowed(device: &Path) -> Result<(), Error> {
    match access(device, AccessFlags::R_OK | AccessFlags::W_OK) {
        Err(Errno::EACCES | Errno::EPERM) => Err(Error::Disk {
            name: device.display().to_string(),
            why: "only root may write to it; run this command with sudo".to_owned(),
        }),
        // Whatever else is wrong shows when it is opened.
        _ => Ok(()),
    }
}

/// Writes `source` to `device`, which has `size` bytes; gives the SHA-256 of what was written.
///
/// # Errors
/// Somebody uses the device, or it fails.
pub fn write(
    source: &Source,
    device: &Path,
    size: u64,
    mut progress: impl FnMut(u64),
) -> Result<[u8; 32], Error> {
    let failed = |action: &str| {
        let what = format!("cannot {action} {}", device.display());
        move |source| Error::io(what, source)
    };
    let disk = open_direct(device, true).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => Error::Disk {
            name: device.display().to_string(),
            why: "somebody uses it: a mounted file system, a pool, a RAID".to_owned(),
        },
        _ => failed("open")(error),
    })?;
    let mut buffer = Aligned::new();
    // The old table's second copy goes first: a disk that is half written should not look like what it was.
    if let Some(at) = size.checked_sub(TAIL).filter(|at| *at >= source.size) {
        let zeros = buffer.slice(as_usize(TAIL));
        zeros.fill(0);
        disk.write_all_at(zeros, at).map_err(failed("write to"))?;
    }
    let mut sum = Sha256::new();
    chunks(source, &mut buffer, |content, padded, at| {
        sum.update(content);
        disk.write_all_at(padded, at).map_err(failed("write to"))?;
        progress(as_u64(content.len()));
        Ok(())
    })?;
    disk.sync_all().map_err(failed("finish writing to"))?;
    Ok(sum.finalize().into())
}

/// Reads back what `device` holds and compares it with `source`.
///
/// # Errors
/// It differs, or cannot be read.
pub fn compare(source: &Source, device: &Path, mut progress: impl FnMut(u64)) -> Result<(), Error> {
    let failed = |action: &str| {
        let what = format!("cannot {action} {}", device.display());
        move |source| Error::io(what, source)
    };
    let disk = open_direct(device, false).map_err(failed("open"))?;
    let (mut wanted, mut found) = (Aligned::new(), Aligned::new());
    chunks(source, &mut wanted, |content, padded, at| {
        let back = found.slice(padded.len());
        disk.read_exact_at(back, at).map_err(failed("read back"))?;
        let differs = back
            .iter()
            .zip(content)
            .position(|(found, wanted)| found != wanted);
        if let Some(offset) = differs {
            return Err(Error::Disk {
                name: device.display().to_string(),
                why: format!(
                    "it does not hold what was written, first at byte {}; it is worn out, or not as large as it says",
                    at + as_u64(offset)
                ),
            });
        }
        progress(as_u64(content.len()));
        Ok(())
    })
}

/// Hands `source` to `each` in pieces: the content, the same with zeros up to the alignment, and where it goes.
fn chunks(
    source: &Source,
    buffer: &mut Aligned,
    mut each: impl FnMut(&[u8], &[u8], u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut at = 0;
    while at < source.size {
        let length = as_usize((source.size - at).min(as_u64(CHUNK)));
        // Sectors of 512 bytes need no more than that, and no disk ends in the middle of one.
        let padded = buffer.slice(length.next_multiple_of(512));
        let (content, rest) = padded.split_at_mut(length);
        source
            .read(content, at)
            .map_err(|source| Error::io("cannot read the image", source))?;
        rest.fill(0);
        let padded = &*padded;
        each(padded.get(..length).unwrap_or_default(), padded, at)?;
        at += as_u64(length);
    }
    Ok(())
}

/// Opens a disk for direct I/O, and for writing with exclusive use. A file system without direct I/O does without: only files are
/// on one.
fn open_direct(path: &Path, write: bool) -> io::Result<File> {
    let exclusive = if write { OFlag::O_EXCL } else { OFlag::empty() };
    let open = |flags: OFlag| {
        let mut options = File::options();
        options.read(true).write(write).custom_flags(flags.bits());
        options.open(path)
    };
    match open(exclusive | OFlag::O_DIRECT) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => open(exclusive),
        result => result,
    }
}

/// A buffer that begins at a multiple of [`ALIGNMENT`].
struct Aligned(Vec<u8>);

impl Aligned {
    fn new() -> Self {
        Self(vec![0; CHUNK + ALIGNMENT])
    }

    /// Its first `length` bytes, of [`CHUNK`] at most.
    fn slice(&mut self, length: usize) -> &mut [u8] {
        let start = self.0.as_ptr().align_offset(ALIGNMENT);
        self.0
            .get_mut(start..start.saturating_add(length))
            .unwrap_or_default()
    }
}

fn as_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

fn as_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
