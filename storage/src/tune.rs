//! Properties by what the devices are and what a dataset is for.
//!
//! | use      | record of a file system | block of a zvol | compression | else                |
//! |----------|-------------------------|-----------------|-------------|---------------------|
//! | general  | 128 KiB                 | 16 KiB          | lz4         |                     |
//! | vm       | 64 KiB                  | 16 KiB          | lz4         |                     |
//! | database | 16 KiB                  | 16 KiB          | lz4         | logbias=latency     |
//! | stream   | 1 MiB                   | 64 KiB          | lz4         | logbias=throughput  |
//! | archive  | 1 MiB                   | 64 KiB          | zstd        | logbias=throughput  |
//!
//! A zvol's block is never smaller than a sector of the pool; on raidz a block smaller than sectors times data disks is mostly
//! parity and padding, so there it is raised to 64 KiB unless somebody says otherwise.

use axion_api::storage::{Scan, ScanKind, ScanState, Use};
use axion_core::config::{Compression, PoolLayout};
use axion_core::topology::{Disk, DiskKind};

/// Smallest sector that is written to any disk, base-2 logarithm: many disks of 4 KiB say 512 bytes, and an `ashift` cannot be
/// changed when one of them comes later.
const LEAST_ASHIFT: u8 = 12;
/// Largest `ashift` that ZFS takes.
const MOST_ASHIFT: u8 = 16;
/// Largest sector that is believed; beyond it a disk reports its erase block or its stripe.
const LARGEST_SECTOR: u32 = 16 << 10;

/// `ashift` for these disks: the largest physical sector.
pub fn ashift<'d>(disks: impl IntoIterator<Item = &'d Disk>) -> u8 {
    let sectors = disks
        .into_iter()
        .map(|disk| disk.physical_sector.max(disk.logical_sector));
    let believed = sectors.filter(|sector| sector.is_power_of_two() && *sector <= LARGEST_SECTOR);
    let largest = believed.max().unwrap_or_default();
    let log = u8::try_from(largest.checked_ilog2().unwrap_or_default()).unwrap_or(LEAST_ASHIFT);
    log.clamp(LEAST_ASHIFT, MOST_ASHIFT)
}

/// Whether freed blocks are told to the devices at once: where every one is flash that says so on its bus.
pub fn autotrim<'d>(disks: impl IntoIterator<Item = &'d Disk>) -> bool {
    disks
        .into_iter()
        .all(|disk| !disk.rotational && disk.kind != DiskKind::Other)
}

/// A property and its value.
pub type Property = (&'static str, String);

fn property(name: &'static str, value: impl Into<String>) -> Property {
    (name, value.into())
}

/// Properties of a new pool.
pub fn pool(disks: &[&Disk], given: Option<u8>) -> Vec<Property> {
    let trim = if autotrim(disks.iter().copied()) {
        "on"
    } else {
        "off"
    };
    vec![
        property(
            "ashift",
            given.unwrap_or_else(|| ashift(disks.iter().copied())).to_string(),
        ),
        property("autotrim", trim),
    ]
}

/// Properties of the file system at the root of a new pool, which everything in it inherits.
pub fn root(name: &str, compression: Compression) -> Vec<Property> {
    vec![
        property("compression", self::compression(compression, Use::General)),
        // A write for each read is nobody's wish.
        property("atime", "off"),
        // Attributes and access lists beside the inode, not in hidden directories.
        property("xattr", "sa"),
        property("acltype", "posix"),
        property("dnodesize", "auto"),
        property("canmount", "off"),
        property("mountpoint", format!("/{name}")),
    ]
}

/// Compression in force.
pub fn compression(wanted: Compression, for_use: Use) -> &'static str {
    match (wanted, for_use) {
        (Compression::Off, _) => "off",
        (Compression::Zstd, _) | (Compression::Auto, Use::Archive) => "zstd",
        (Compression::Lz4 | Compression::Auto, _) => "lz4",
    }
}

/// Largest block of files, bytes.
pub const fn record_size(for_use: Use) -> u64 {
    match for_use {
        Use::General => 128 << 10,
        Use::Vm => 64 << 10,
        Use::Database => 16 << 10,
        Use::Stream | Use::Archive => 1 << 20,
    }
}

/// Block of a zvol, bytes.
pub fn volume_block_size(for_use: Use, raidz: bool, ashift: u8) -> u64 {
    let by_use: u64 = match for_use {
        Use::General | Use::Vm | Use::Database => 16 << 10,
        Use::Stream | Use::Archive => 64 << 10,
    };
    let least: u64 = if raidz { 64 << 10 } else { 0 };
    by_use.max(least).max(1 << ashift.min(MOST_ASHIFT))
}

/// Whether synchronous writes are gathered; `None` where the default does.
pub const fn log_bias(for_use: Use) -> Option<&'static str> {
    match for_use {
        Use::Stream | Use::Archive => Some("throughput"),
        Use::General | Use::Vm | Use::Database => None,
    }
}

/// Disks' worth of data in a vdev of `disks`.
pub const fn data_disks(layout: PoolLayout, disks: usize) -> usize {
    match layout {
        PoolLayout::Stripe => disks,
        PoolLayout::Mirror => 1,
        PoolLayout::Raidz1 => disks.saturating_sub(1),
        PoolLayout::Raidz2 => disks.saturating_sub(2),
        PoolLayout::Raidz3 => disks.saturating_sub(3),
    }
}

/// Whether a scrub is due, `interval` seconds after the last one ended, or after the pool was made; 0: never. Times are seconds
/// since 1970.
pub fn scrub_is_due(scan: Option<&Scan>, created: u64, now: u64, interval: u64) -> bool {
    if interval == 0 {
        return false;
    }
    let since = match scan {
        // One that runs, and one that an operator paused, are left alone.
        Some(scan) if matches!(scan.state, ScanState::Running | ScanState::Paused) => return false,
        Some(scan) if scan.kind == ScanKind::Scrub && scan.state == ScanState::Finished => {
            scan.ended_unix_s.unwrap_or(scan.started_unix_s)
        }
        // A resilver looks at what is on one device only; one that was given up was not done.
        _ => created,
    };
    // A clock that is behind waits; it will be set.
    now.saturating_sub(since) >= interval
}

#[cfg(test)]
mod tests;
