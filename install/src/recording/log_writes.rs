//! What a machine wrote to a disk, as `dm-log-writes` and QEMU's `blklogwrites` keep it
//! (Linux Documentation/admin-guide/device-mapper/log-writes.rst).
//!
//! ```text
//! sector 0      magic, version 1, number of entries, bytes of a sector
//! each entry    a sector: first sector, sectors, flags, bytes of a mark's text; behind it what was written
//! ```
//! A write that was to be durable by itself (FUA) is taken as one that may be lost until the next flush: a disk that keeps less than it
//! has promised is harder to survive. What was discarded is taken as left alone.

use std::io::{self, Read};

use super::Operation;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const VERSION: u64 = 1;
const FLUSH: u64 = 1;
const DISCARD: u64 = 1 << 2;
/// No write is larger.
const LARGEST: u64 = 64 << 20;

/// Why a log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// It ends too early, or the file cannot be read.
    #[error("the log of writes cannot be read, at entry {entry}")]
    Io {
        /// The entry, from 0.
        entry: u64,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "no log of writes of version 1: it begins with {magic:#x}, version {version}, sectors of {sector} bytes"
    )]
    Format {
        /// What is in the place of the magic number.
        magic: u64,
        /// The version.
        version: u64,
        /// Bytes of a sector.
        sector: u64,
    },
    /// An entry is larger than any write.
    #[error("entry {entry} of the log has {bytes} bytes, of at most {LARGEST}")]
    Large {
        /// The entry, from 0.
        entry: u64,
        /// Its bytes.
        bytes: u64,
    },
}

/// Reads a log from its beginning.
///
/// # Errors
/// It is none, or it ends too early.
pub fn read(mut log: impl Read) -> Result<Vec<Operation>, LogError> {
    let failed = |entry| move |source| LogError::Io { entry, source };
    let mut first = [0; 28];
    log.read_exact(&mut first).map_err(failed(0))?;
    let [magic, version, entries] = words(&first);
    let sector = u64::from(u32::from_le_bytes([first[24], first[25], first[26], first[27]]));
    if magic != MAGIC || version != VERSION || !matches!(sector, 512 | 4096) {
        return Err(LogError::Format {
            magic,
            version,
            sector,
        });
    }
    skip(&mut log, sector - 28).map_err(failed(0))?;
    let mut operations = Vec::new();
    for entry in 0..entries {
        let mut header = [0; 32];
        log.read_exact(&mut header).map_err(failed(entry))?;
        skip(&mut log, sector - 32).map_err(failed(entry))?;
        let [at, sectors, flags, text] = words(&header);
        // A flush that comes with a write comes before it.
        if flags & FLUSH != 0 {
            operations.push(Operation::Flush);
        }
        let bytes = sectors.saturating_mul(sector);
        if flags & DISCARD != 0 || bytes + text == 0 {
            continue;
        }
        let length = bytes.max(text.next_multiple_of(sector));
        if length > LARGEST {
            return Err(LogError::Large { entry, bytes: length });
        }
        let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
        log.read_exact(&mut content).map_err(failed(entry))?;
        if bytes > 0 {
            operations.push(Operation::Write {
                offset: at.saturating_mul(sector),
                bytes: content.into(),
            });
        }
    }
    Ok(operations)
}

fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

fn skip(log: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut log.take(bytes), &mut io::sink())?;
    if skipped == bytes {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

#[cfg(test)]
mod tests;
