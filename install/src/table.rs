//! The partition table (GPT), by the `gpt` crate; written in an order that leaves one whole table at every moment but those in
//! which there is to be none.
//!
//! Any disk that is plugged in is read, also by process 1, so nothing that it says of itself is believed: the crate gives up the
//! process where entries have another size than 128 bytes, and reads as many of them as a header says. A header is looked at
//! before the crate follows it, and where the first one or its array cannot be used, the backup is read.

use std::fmt;
use std::io;

use gpt::disk::LogicalBlockSize;
use gpt::header::read_header_from_arbitrary_device;
use gpt::mbr::ProtectiveMBR;
use gpt::partition::file_read_partitions;
use gpt::partition_types::{self, Type};
use gpt::{GptConfig, GptError};
use uuid::Uuid;

use crate::bios::BOOT_CODE;
use crate::overlay::Overlay;
use crate::storage::{Part, Storage, Stream};

/// Partitions start at multiples of this many bytes.
pub const ALIGNMENT: u64 = 1 << 20;
/// Bytes of an entry.
const ENTRY: u32 = 128;
/// Entries that a table may have room for: eight times as many as everybody makes.
const MOST_ENTRIES: u32 = 1024;

/// What a partition is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Data that any system reads.
    Basic,
    /// EFI system partition.
    Esp,
    /// ZFS.
    Pool,
    /// The loader of a BIOS.
    Bios,
    /// Something else.
    Other,
}

impl Kind {
    fn of(kind: &Type) -> Self {
        match kind {
            k if *k == partition_types::BASIC => Self::Basic,
            k if *k == partition_types::EFI => Self::Esp,
            k if *k == partition_types::BIOS => Self::Bios,
            k if k.guid == pool().guid => Self::Pool,
            _ => Self::Other,
        }
    }

    fn to_type(self) -> Type {
        match self {
            Self::Esp => partition_types::EFI,
            Self::Pool => pool(),
            Self::Bios => partition_types::BIOS,
            Self::Basic | Self::Other => partition_types::BASIC,
        }
    }
}

/// The type that ZFS on Linux gives its partitions ("Solaris /usr & Apple ZFS").
fn pool() -> Type {
    Type {
        guid: Uuid::from_u128(0x6a89_8cc3_1dd2_11b2_99a6_0800_2073_6631),
        os: gpt::partition_types::OperatingSystem::None,
    }
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Number, from 1.
    pub number: u32,
    /// Name.
    pub name: String,
    /// What it is for.
    pub kind: Kind,
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
    /// What tells it from every other one.
    pub guid: u128,
}

/// A table cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The disk.
    #[error("cannot {0} the partition table")]
    Io(&'static str, #[source] io::Error),
    /// Its content.
    #[error("there is no partition table that can be used")]
    Gpt(#[source] GptError),
    /// Entries that are not read.
    #[error(
        "the partition table has {count} entries of {size} bytes; at most {MOST_ENTRIES}, of {ENTRY} bytes, are read"
    )]
    Entries {
        /// How many.
        count: u32,
        /// Bytes of each.
        size: u32,
    },
    /// A header.
    #[error("the partition table cannot be made")]
    Mbr(#[source] gpt::mbr::MBRError),
    /// Sectors of another size.
    #[error("the disk has sectors of {0} bytes; GPT knows 512 and 4096")]
    Sector(u64),
}

/// The stream that the crate wants, which can be printed.
struct Device<S>(Stream<S>);

impl<S> fmt::Debug for Device<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("disk")
    }
}

impl<S: Storage> io::Read for Device<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Storage> io::Write for Device<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<S: Storage> io::Seek for Device<S> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

fn block_size(sector: u64) -> Result<LogicalBlockSize, TableError> {
    LogicalBlockSize::try_from(sector).map_err(|_| TableError::Sector(sector))
}

/// The partitions of a disk, by its first table or, where that is damaged, by its backup.
///
/// # Errors
/// It has no table.
pub fn read(disk: &impl Storage) -> Result<Vec<Partition>, TableError> {
    Ok(open(disk)?.1)
}

/// GUID of a disk.
///
/// # Errors
/// It has no table.
pub fn guid(disk: &impl Storage) -> Result<u128, TableError> {
    Ok(open(disk)?.0)
}

/// GUID and partitions of a disk.
fn open(disk: &impl Storage) -> Result<(u128, Vec<Partition>), TableError> {
    let last = (disk.size() / disk.sector().max(1)).saturating_sub(1);
    open_at(disk, 1).or_else(|first| open_at(disk, last).map_err(|_| first))
}

/// The same by the header in the sector `number`.
fn open_at(disk: &impl Storage, number: u64) -> Result<(u128, Vec<Partition>), TableError> {
    let sector = disk.sector();
    let size = block_size(sector)?;
    // The crate looks for a header in the second sector.
    let around = Part::new(disk, number.saturating_sub(1) * sector, 2 * sector);
    let header = read_header_from_arbitrary_device(&mut Device(Stream::new(around)), size);
    let header = header.map_err(|e| TableError::Gpt(GptError::Header(e)))?;
    if header.part_size != ENTRY || header.num_parts > MOST_ENTRIES {
        return Err(TableError::Entries {
            count: header.num_parts,
            size: header.part_size,
        });
    }
    let failed = |e| TableError::Io("read", e);
    let entries = file_read_partitions(&mut Device(Stream::new(disk)), &header, size).map_err(failed)?;
    let used = entries.iter().filter(|(_, partition)| partition.is_used());
    let partitions = used.map(|(number, partition)| {
        let start = partition.bytes_start(size);
        let length = partition.bytes_len(size);
        Ok(Partition {
            number: *number,
            name: partition.name.clone(),
            kind: Kind::of(&partition.part_type_guid),
            start: start.map_err(failed)?,
            length: length.map_err(failed)?,
            guid: partition.part_guid.as_u128(),
        })
    });
    Ok((header.disk_guid.as_u128(), partitions.collect::<Result<_, _>>()?))
}

/// Takes every trace of a table from the disk: its first and last MiB are zeros, flushed. The first sector goes first, as its
/// boot code may lead to a loader in that MiB, half of which a BIOS must not start.
///
/// # Errors
/// The disk fails.
pub fn wipe(disk: &impl Storage) -> Result<(), TableError> {
    let failed = |e| TableError::Io("remove", e);
    let zeros = vec![0; usize::try_from(ALIGNMENT).unwrap_or(0)];
    let first = usize::try_from(disk.sector()).unwrap_or(0).min(zeros.len());
    disk.write_at(0, zeros.get(..first).unwrap_or_default())
        .and_then(|()| disk.flush())
        .map_err(failed)?;
    let last = disk.size().saturating_sub(ALIGNMENT) / disk.sector() * disk.sector();
    for start in [0, last] {
        let length = usize::try_from(disk.size() - start).unwrap_or(0).min(zeros.len());
        disk.write_at(start, zeros.get(..length).unwrap_or_default())
            .map_err(failed)?;
    }
    disk.flush().map_err(failed)
}

/// Writes a table of `partitions`, identified by `guid`: the backup first, the first table's header last. The disk's first sector gets `boot_code`, or loses what it has.
///
/// # Errors
/// The disk fails, or the partitions do not fit on it.
pub fn write(
    disk: &impl Storage,
    guid: u128,
    partitions: &[Partition],
    boot_code: Option<&[u8; BOOT_CODE]>,
) -> Result<(), TableError> {
    let overlay = Overlay::new(disk);
    let sector = disk.sector();
    let size = block_size(sector)?;
    let sectors = disk.size() / sector;
    let mut device = Device(Stream::new(&overlay));
    let mut first = ProtectiveMBR::with_lb_size(u32::try_from(sectors.saturating_sub(1)).unwrap_or(u32::MAX));
    if let Some(code) = boot_code {
        first.set_bootcode(*code);
    }
    first.overwrite_lba0(&mut device).map_err(TableError::Mbr)?;
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(size)
        .create_from_device(device, Some(Uuid::from_u128(guid)))
        .map_err(TableError::Gpt)?;
    for partition in partitions {
        table
            .add_partition_at(
                &partition.name,
                partition.number,
                partition.start / sector,
                partition.length / sector,
                partition.kind.to_type(),
                0,
            )
            .map_err(TableError::Gpt)?;
    }
    let mut entries = table.take_partitions();
    for partition in partitions {
        if let Some(entry) = entries.get_mut(&partition.number) {
            entry.part_guid = Uuid::from_u128(partition.guid);
        }
    }
    table.update_partitions(entries).map_err(TableError::Gpt)?;
    table.write().map_err(TableError::Gpt)?;

    let failed = |e| TableError::Io("write", e);
    let changed = overlay.differing().map_err(failed)?;
    let (backup, front): (Vec<u64>, Vec<u64>) = changed.into_iter().partition(|n| *n > sectors / 2);
    let (header, entries): (Vec<u64>, Vec<u64>) = front.into_iter().partition(|n| *n == 1);
    for numbers in [backup, entries, header] {
        overlay.write_out(&numbers).map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
