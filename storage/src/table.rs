//! A whole disk as one partition for ZFS.
//!
//! `zpool` makes a table itself when it is given a whole disk, and then waits for udev to make the nodes, which this node does
//! not have: so the table is made here and `zpool` is given the partition. Both ends of the disk are cleared first, so that
//! what was there is not found again behind a new beginning. The partition's type is the one that OpenZFS gives its own
//! (6A898CC3-1DD2-11B2-99A6-080020736631, which the crate knows as Apple's).

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use gpt::GptConfig;
use gpt::disk::LogicalBlockSize;
use gpt::mbr::ProtectiveMBR;
use gpt::partition_types::MACOS_ZFS;
use nix::libc;

use crate::sys;
use crate::wait::until;

/// Name of a partition that was made here.
const NAME: &str = "axion-zfs";
/// Bytes of an entry of a table.
const ENTRY: u32 = 128;
/// Entries that a table may have room for.
const MOST_ENTRIES: u32 = 1024;
/// Partitions start and end at multiples of this, bytes; it is also what is cleared at each end.
pub const ALIGNMENT: u64 = 1 << 20;
/// How long the kernel may take to show a partition.
const SHOWN: Duration = Duration::from_secs(10);

/// A disk that cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The device.
    #[error("cannot {action} {}", path.display())]
    Device {
        /// What was tried.
        action: &'static str,
        /// The device.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The table.
    #[error("cannot write a partition table to {}: {reason}", path.display())]
    Table {
        /// The device.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The kernel does not show the partition.
    #[error("{} did not appear within {} s", .0.display(), SHOWN.as_secs())]
    Hidden(PathBuf),
}

/// Node of a disk's first partition: `sda1`, `nvme0n1p1`.
pub fn partition_of(disk: &str) -> String {
    let separator = if disk.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    format!("{disk}{separator}1")
}

/// The disk that a partition is of: `nvme0n1` of `nvme0n1p1`; a name that is no partition's is the disk's own.
pub fn disk_of(node: &str) -> &str {
    let without = node.trim_end_matches(|c: char| c.is_ascii_digit());
    if without.len() == node.len() {
        return node;
    }
    match without.strip_suffix('p') {
        Some(disk) if disk.ends_with(|c: char| c.is_ascii_digit()) => disk,
        // `nvme0n1` itself ends in a number; `sda1` does not go on with one.
        _ if without.starts_with("sd") || without.starts_with("vd") || without.starts_with("hd") => without,
        _ => node,
    }
}

/// Bytes that the partition of a disk of `size` bytes can have.
pub const fn room(size: u64) -> u64 {
    // One at the start for the table, one at the end for its copy and the rounding.
    (size / ALIGNMENT).saturating_sub(2) * ALIGNMENT
}

/// Whether the table on a disk is one that was made here: one partition, of this type and name.
pub fn is_ours(path: &Path, sector: u32) -> bool {
    let Ok(sector) = LogicalBlockSize::try_from(u64::from(sector)) else {
        return false;
    };
    let Ok(disk) = File::open(path) else {
        return false;
    };
    if !may_be_read(&disk, sector.into()).unwrap_or(false) {
        return false;
    }
    let config = GptConfig::new().writable(false).logical_block_size(sector);
    let Ok(table) = config.open_from_device(disk) else {
        return false;
    };
    let used: Vec<_> = table.partitions().values().filter(|p| p.is_used()).collect();
    matches!(used.as_slice(), [one] if one.name == NAME && one.part_type_guid.guid == MACOS_ZFS.guid)
}

/// Whether the crate may read the tables of a disk, which may be anybody's: it gives up the process where entries have another
/// size, and reads as many of them as a header says.
fn may_be_read(mut disk: &File, sector: u64) -> io::Result<bool> {
    let last = disk.seek(SeekFrom::End(0))?.saturating_sub(sector) / sector;
    for number in [1, last] {
        let mut header = [0; 92];
        disk.read_exact_at(&mut header, number * sector)?;
        let word = |at: usize| {
            let bytes = header.get(at..).and_then(|rest| rest.first_chunk());
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes))
        };
        if header.starts_with(b"EFI PART") && (word(80) > MOST_ENTRIES || word(84) != ENTRY) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Clears both ends of what `range` says, bytes.
fn clear(disk: &File, range: std::ops::Range<u64>) -> io::Result<()> {
    let zeros = vec![0; usize::try_from(ALIGNMENT.min(range.end - range.start)).unwrap_or_default()];
    disk.write_all_at(&zeros, range.start)?;
    disk.write_all_at(&zeros, range.end.saturating_sub(ALIGNMENT).max(range.start))
}

/// Writes the table: one partition of `length` bytes, on a disk or file of `size` bytes, both ends of either cleared.
///
/// # Errors
/// The device cannot be written to.
pub fn write(mut disk: &File, path: &Path, size: u64, sector: u32, length: u64) -> Result<(), TableError> {
    let failed = |action| {
        let path = path.to_owned();
        move |source| TableError::Device { action, path, source }
    };
    let refused = |reason: String| TableError::Table {
        path: path.to_owned(),
        reason,
    };
    clear(disk, 0..size).map_err(failed("clear"))?;
    clear(disk, ALIGNMENT..ALIGNMENT + length).map_err(failed("clear"))?;
    let sector = u64::from(sector);
    let block = LogicalBlockSize::try_from(sector).map_err(|e| refused(e.to_string()))?;
    let sectors = u32::try_from(size / sector - 1).unwrap_or(u32::MAX);
    ProtectiveMBR::with_lb_size(sectors)
        .overwrite_lba0(&mut disk)
        .map_err(|e| refused(e.to_string()))?;
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(block)
        .create_from_device(disk, Some(guid().map_err(failed("make ids for"))?))
        .map_err(|e| refused(e.to_string()))?;
    table
        .add_partition_at(NAME, 1, ALIGNMENT / sector, length / sector, MACOS_ZFS, 0)
        .map_err(|e| refused(e.to_string()))?;
    let part_guid = guid().map_err(failed("make ids for"))?;
    let mut entries = table.take_partitions();
    for entry in entries.values_mut() {
        entry.part_guid = part_guid;
    }
    table
        .update_partitions(entries)
        .map_err(|e| refused(e.to_string()))?;
    table.write().map_err(|e| refused(e.to_string()))?;
    disk.sync_all().map_err(failed("write to"))
}

/// Makes a partition of `length` bytes ready that is there already: both its ends are cleared. Answers its node.
///
/// # Errors
/// Somebody has it open, or it cannot be written to.
pub fn clear_part(dev: &Path, name: &str, length: u64) -> Result<PathBuf, TableError> {
    let path = dev.join(name);
    let failed = |action| {
        let path = path.clone();
        move |source| TableError::Device { action, path, source }
    };
    let part = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_EXCL | libc::O_CLOEXEC)
        .open(&path)
        .map_err(failed("have alone"))?;
    clear(&part, 0..length).map_err(failed("clear"))?;
    part.sync_all().map_err(failed("write to"))?;
    Ok(path)
}

fn guid() -> io::Result<uuid::Uuid> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// Makes the disk `name` one partition of `length` bytes, and waits until the kernel shows it. Answers its node.
///
/// # Errors
/// Somebody has the disk open, or it cannot be written to.
pub fn prepare(dev: &Path, name: &str, size: u64, sector: u32, length: u64) -> Result<PathBuf, TableError> {
    let path = dev.join(name);
    let failed = |action| {
        let path = path.clone();
        move |source| TableError::Device { action, path, source }
    };
    // Exclusive: the kernel refuses where a partition is mounted or a pool has it.
    let disk = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_EXCL | libc::O_CLOEXEC)
        .open(&path)
        .map_err(failed("have alone"))?;
    write(&disk, &path, size, sector, length)?;
    sys::reread_partitions(&disk).map_err(|e| failed("read the partitions of")(e.into()))?;
    drop(disk);
    let node = dev.join(partition_of(name));
    let is_there = || node.exists().then_some(());
    until(Instant::now() + SHOWN, Duration::from_millis(20), is_there)
        .ok_or_else(|| TableError::Hidden(node.clone()))?;
    Ok(node)
}

#[cfg(test)]
mod tests;
