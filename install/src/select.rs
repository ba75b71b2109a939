//! Which disk is meant: exactly one, or none at all; and why a disk is left alone.

use std::fmt;
use std::io;

use axion_core::config::{DiskSelector, Existing, Install, PoolChoice};
use axion_core::topology::Disk;

use crate::inspect;
use crate::plan;
use crate::storage::{Part, Storage};
use crate::table::{self, Partition};

/// GUID of the disk image that Axion's media are made of; an ISO has none.
pub const MEDIUM_GUID: u128 = 0x6178_696f_6e00_4000_8000_6469_736b_0000;
/// What the ISO is called (ECMA-119 §8.4.8), from the 40th byte of its 16th sector on.
const ISO_LABEL: &[u8] = b"AXION";
const ISO_LABEL_AT: u64 = 16 * 2048 + 40;

/// What is on a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Partitions.
    pub partitions: Vec<Partition>,
    /// An installation of Axion: version of what starts.
    pub installed: Option<String>,
    /// Numbers of the partitions that hold a ZFS pool's labels; 0 is the disk itself.
    pub pools: Vec<u32>,
    /// An Axion boot medium.
    pub medium: bool,
    /// Why nothing of that is known: the disk cannot be read.
    pub unreadable: Option<String>,
}

impl Contents {
    /// Looks at a disk.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn read(disk: &impl Storage) -> io::Result<Self> {
        let mut first = [0; 512];
        disk.read_at(0, &mut first)?;
        let partitions = table::read(disk).unwrap_or_default();
        let mut pools = Vec::new();
        if has_pool(disk) {
            pools.push(0);
        }
        for partition in &partitions {
            if has_pool(&Part::new(disk, partition.start, partition.length)) {
                pools.push(partition.number);
            }
        }
        let installed = inspect::inspect(disk).ok();
        let installed = installed.and_then(|found| found.starts().map(|named| named.entry.version.clone()));
        Ok(Self {
            medium: is_medium(disk),
            partitions,
            installed,
            pools,
            unreadable: None,
        })
    }
}

/// What is known of a disk that cannot be read; it is left alone, and hinders no other one.
impl From<io::Error> for Contents {
    fn from(error: io::Error) -> Self {
        Self {
            unreadable: Some(error.to_string()),
            ..Self::default()
        }
    }
}

/// Whether a disk, or a CD, is an Axion boot medium.
pub fn is_medium(disk: &impl Storage) -> bool {
    let mut label = [0; 5];
    let iso = disk.read_at(ISO_LABEL_AT, &mut label).is_ok() && label == ISO_LABEL;
    iso || table::guid(disk).is_ok_and(|guid| guid == MEDIUM_GUID)
}

/// Whether a ZFS label is at the beginning: its uberblocks start 128 KiB into it, one every KiB or more (`vdev_label.c`).
fn has_pool(part: &impl Storage) -> bool {
    const MAGIC: u64 = 0x00ba_b10c;
    const RING: usize = 128 << 10;
    let mut ring = vec![0; RING];
    if part.read_at(128 << 10, &mut ring).is_err() {
        return false;
    }
    let (slots, _) = ring.as_chunks::<1024>();
    slots.iter().any(|slot| {
        let magic = slot.first_chunk::<8>().copied().unwrap_or_default();
        [u64::from_le_bytes(magic), u64::from_be_bytes(magic)].contains(&MAGIC)
    })
}

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The disk.
    pub disk: Disk,
    /// What is on it.
    pub contents: Contents,
    /// Where it, or a part of it, is mounted.
    pub mounted: Vec<String>,
    /// The machine config in force came from it, or the machine started from it.
    pub boot: bool,
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = &self.disk;
        write!(f, "{} {}", disk.name, human(disk.size))?;
        for (what, value) in [
            ("model", &disk.model),
            ("serial", &disk.serial),
            ("wwid", &disk.wwid),
        ] {
            if let Some(value) = value {
                write!(f, ", {what} {:?}", value.trim())?;
            }
        }
        Ok(())
    }
}

/// A size for people: `931.5 GiB`.
pub fn human(bytes: u64) -> String {
    let (unit, name) = [(40, "TiB"), (30, "GiB"), (20, "MiB")]
        .into_iter()
        .find(|(shift, _)| bytes >> shift > 0)
        .unwrap_or((10, "KiB"));
    let tenths = (u128::from(bytes) * 10) >> unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Why a disk is left alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It fails.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// The machine has started from it.
    #[error("the machine has started from it, or its config is on it")]
    Boot,
    /// It is a medium.
    #[error("it is an Axion boot medium")]
    Medium,
    /// It is in use.
    #[error("it is mounted on {0}")]
    Mounted(String),
    /// It cannot be written.
    #[error("it is write-protected")]
    ReadOnly,
    /// Its sectors.
    #[error("it has sectors of {0} bytes; 512 and 4096 are possible")]
    Sector(u64),
    /// It is too small.
    #[error("it has {found}, and {needed} are needed")]
    TooSmall {
        /// Its size.
        found: String,
        /// What is needed.
        needed: String,
    },
    /// It holds an installation.
    #[error("it holds Axion {0} already; `install.existing = \"replace\"` replaces it")]
    Installed(String),
    /// It holds a pool.
    #[error(
        "it holds a ZFS pool that does not lie where Axion's would; `install.pool = \"destroy\"` gives the pool up"
    )]
    Pool,
}

/// No disk, or not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The config says nothing.
    #[error("`install.disk` names no disk; this machine has:{}", list(.0))]
    Unnamed(Vec<String>),
    /// None fits.
    #[error("no disk fits `{key}`; this machine has:{}", list(disks))]
    None {
        /// The selector.
        key: &'static str,
        /// Disks that it may mean.
        disks: Vec<String>,
    },
    /// Several fit.
    #[error("more than one disk fits `{key}`:{}", list(disks))]
    Several {
        /// The selector.
        key: &'static str,
        /// Those that do.
        disks: Vec<String>,
    },
    /// The one that fits must not be written.
    #[error("{disk} is left alone: {reason}")]
    Unfit {
        /// The disk.
        disk: String,
        /// Why.
        reason: Unfit,
    },
}

fn list(disks: &[String]) -> String {
    if disks.is_empty() {
        return " none".to_owned();
    }
    disks.iter().map(|disk| format!("\n  {disk}")).collect()
}

/// Names of disks, for people.
fn names(disks: &[&Candidate]) -> Vec<String> {
    disks.iter().map(ToString::to_string).collect()
}

/// The disk that the config means and, where it wants two that hold the same, the other one.
///
/// # Errors
/// Not exactly one fits, or one that does must not be written.
pub fn select<'a>(
    disks: &'a [Candidate],
    install: &Install,
) -> Result<(&'a Candidate, Option<&'a Candidate>), SelectError> {
    let all: Vec<&Candidate> = disks.iter().collect();
    let selector: &DiskSelector = match &install.disk {
        Some(selector) if !selector.is_empty() => selector,
        _ => return Err(SelectError::Unnamed(names(&all))),
    };
    let disk = one(&all, selector, "install.disk", install)?;
    let Some(selector) = &install.mirror else {
        return Ok((disk, None));
    };
    // What is said of a model may be true of both.
    let others: Vec<&Candidate> = all
        .into_iter()
        .filter(|other| other.disk.name != disk.disk.name)
        .collect();
    Ok((disk, Some(one(&others, selector, "install.mirror", install)?)))
}

/// The disk that the config means, where it holds an installation that is not to be replaced.
pub fn installed<'a>(disks: &'a [Candidate], install: &Install) -> Option<&'a Candidate> {
    let selector = install.disk.as_ref().filter(|selector| !selector.is_empty())?;
    let mut fitting = disks.iter().filter(|candidate| selector.fits(&candidate.disk));
    let (Some(one), None) = (fitting.next(), fitting.next()) else {
        return None;
    };
    matches!(unfit(one, install), Some(Unfit::Installed(_))).then_some(one)
}

fn one<'a>(
    disks: &[&'a Candidate],
    selector: &DiskSelector,
    key: &'static str,
    install: &Install,
) -> Result<&'a Candidate, SelectError> {
    let fitting: Vec<&Candidate> = disks.iter().copied().filter(|c| selector.fits(&c.disk)).collect();
    match fitting.as_slice() {
        [] => Err(SelectError::None {
            key,
            disks: names(disks),
        }),
        &[one] => match unfit(one, install) {
            None => Ok(one),
            Some(reason) => Err(SelectError::Unfit {
                disk: one.to_string(),
                reason,
            }),
        },
        several => Err(SelectError::Several {
            key,
            disks: names(several),
        }),
    }
}

/// Why a disk must not be written, if so.
pub fn unfit(candidate: &Candidate, install: &Install) -> Option<Unfit> {
    let (disk, contents) = (&candidate.disk, &candidate.contents);
    let needed = plan::needed(disk.logical_sector.into());
    let ours = plan::kept(contents).is_some();
    if let Some(why) = &contents.unreadable {
        Some(Unfit::Unreadable(why.clone()))
    } else if candidate.boot && !ours {
        Some(Unfit::Boot)
    } else if contents.medium {
        Some(Unfit::Medium)
    } else if let Some(place) = candidate.mounted.first() {
        Some(Unfit::Mounted(place.clone()))
    } else if disk.read_only {
        Some(Unfit::ReadOnly)
    } else if ![512, 4096].contains(&disk.logical_sector) {
        Some(Unfit::Sector(disk.logical_sector.into()))
    } else if disk.size < needed {
        Some(Unfit::TooSmall {
            found: human(disk.size),
            needed: human(needed),
        })
    } else if let (Some(version), Existing::Refuse) = (&contents.installed, install.existing) {
        Some(Unfit::Installed(version.clone()))
    } else if !contents.pools.is_empty() && install.pool == PoolChoice::Keep && !ours {
        Some(Unfit::Pool)
    } else {
        None
    }
}

/// Mount points of `disk` and its partitions, by the text of `/proc/self/mounts` (proc(5)).
pub fn mounts(text: &str, disk: &str) -> Vec<String> {
    // A name that ends in a digit has a `p` before its partitions' numbers.
    let infix = if disk.ends_with(|c: char| c.is_ascii_digit()) {
        "p"
    } else {
        ""
    };
    let on_disk = |source: &str| {
        let rest = source.strip_prefix("/dev/")?.strip_prefix(disk)?;
        let number = rest.strip_prefix(infix).unwrap_or("x");
        let partition = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        (rest.is_empty() || partition).then_some(())
    };
    let mounts = text.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        on_disk(fields.next()?)?;
        fields.next().map(str::to_owned)
    });
    mounts.collect()
}

#[cfg(test)]
mod tests;
