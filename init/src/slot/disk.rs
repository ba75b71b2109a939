//! The ESP of the installed disk. Whoever does something to it has it alone: its tables are in memory meanwhile.
//!
//! A disk that hangs may keep whoever has the turn for minutes: the other disk of a mirror is written under it, as what is copied
//! must not change. So nobody waits for it for long, a call waits without a thread, and its work has a thread of its own: those
//! that open volumes and give pools back are others.

use std::fs::OpenOptions;
use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant};

use axion_api::problem::{Kind, Problem};
use axion_core::cmdline::CommandLine;
use axion_core::config::DiskChoice;
use axion_core::topology::Topology;
use axion_install::check::{KeyError, Rejection};
use axion_install::esp::{Esp, EspError};
use axion_install::fat::{FatError, Volume};
use axion_install::mirror::{self, MirrorError, Record, Side};
use axion_install::plan::NAMES;
use axion_install::started::{ARGUMENT, Found, Hint, Unclear, choose};
use axion_install::storage::{Disk, Part};
use axion_install::table::{self, Partition};
use tokio::sync::{Mutex, MutexGuard};

use super::mirror::Refused;
use crate::failure::chain;
use crate::loader;
use crate::storage::on_own_thread;
use crate::sys;

/// Held while something is done to the ESP.
static TURN: Mutex<()> = Mutex::const_new(());
/// How long it is waited for: a copy of an image to a disk that works takes less.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often a thread looks.
const STEP: Duration = Duration::from_millis(20);

/// Something cannot be done to the slots.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The node was not started from a slot.
    #[error(
        "this node was not started from an installed disk, so there is nothing to update: it runs what its medium or the \
         network gives it. Start it from another image, or install it (axion.mode=install)"
    )]
    NotInstalled,
    /// The slot that runs has no entry.
    #[error("the slot that runs has no entry on the disk, so it is not known what to keep")]
    NoEntry,
    /// It is not known which disk was started from.
    #[error(transparent)]
    Unclear(#[from] Unclear),
    /// The image is not taken.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// A key is none.
    #[error("a key that updates are checked with cannot be used")]
    Key(#[from] KeyError),
    /// The image may change while it is checked.
    #[error("the image is no memory file that is sealed against changes")]
    NotSealed,
    /// It cannot be written.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// The volume.
    #[error("the EFI system partition cannot be used")]
    Fat(#[from] FatError),
    /// The other disk.
    #[error(transparent)]
    Mirror(#[from] MirrorError),
    /// A disk that is to be the other one.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It is not one's turn.
    #[error(
        "the system disk is busy: an update, its mirror or the machine config was still being written after {} s. Where a disk \
         hangs, that ends when the kernel gives the disk up; try again then",
        PATIENCE.as_secs()
    )]
    Busy,
    /// The thread ended.
    #[error("it was not finished")]
    Thread(#[source] std::io::Error),
}

impl From<SlotError> for Problem {
    fn from(error: SlotError) -> Self {
        let kind = match &error {
            SlotError::NotInstalled | SlotError::NoEntry | SlotError::Unclear(_) => Kind::Conflict,
            SlotError::Rejected(rejection) => match rejection {
                Rejection::NoKeys | Rejection::Older { .. } => Kind::Conflict,
                Rejection::TooLarge(_) => Kind::TooLarge,
                Rejection::Read(_) => Kind::Internal,
                Rejection::NoSignature
                | Rejection::UnknownKey { .. }
                | Rejection::Legacy
                | Rejection::Altered(_)
                | Rejection::NotWhole(_)
                | Rejection::NotForFirmware
                | Rejection::StrangeToFirmware
                | Rejection::NoVersion
                | Rejection::Version(_) => Kind::Invalid,
            },
            SlotError::NotSealed => Kind::Malformed,
            SlotError::Refused(refused) => refused.kind(),
            SlotError::Busy => Kind::Unavailable,
            SlotError::Esp(EspError::Refused(_) | EspError::Damaged(_) | EspError::OnlyGood { .. }) => {
                Kind::Conflict
            }
            SlotError::Esp(EspError::Fat(FatError::Full { .. })) => Kind::InsufficientCapacity,
            SlotError::Key(_)
            | SlotError::Esp(_)
            | SlotError::Fat(_)
            | SlotError::Mirror(_)
            | SlotError::Thread(_) => Kind::Internal,
        };
        Self::new(kind, chain(&error))
    }
}

/// Does something to the ESP of the installed disk, on a thread.
pub async fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&Esp<Part<&Disk>>) -> Result<T, SlotError> + Send + 'static,
) -> Result<T, SlotError> {
    on_installed(move |installed| work(&Esp::new(installed.esp()?))).await
}

/// The right to do something to the system disk, which one has at a time.
pub struct Turn {
    _held: MutexGuard<'static, ()>,
}

impl Turn {
    /// Waits for it, and holds no thread up meanwhile.
    async fn take(patience: Duration) -> Result<Self, SlotError> {
        let turn = tokio::time::timeout(patience, TURN.lock()).await;
        turn.map(|held| Self { _held: held }).map_err(|_| SlotError::Busy)
    }

    /// The same for a thread.
    fn wait(patience: Duration) -> Result<Self, SlotError> {
        let end = Instant::now() + patience;
        loop {
            match TURN.try_lock() {
                Ok(held) => return Ok(Self { _held: held }),
                Err(_) if Instant::now() < end => sys::pause(STEP),
                Err(_) => return Err(SlotError::Busy),
            }
        }
    }

    /// The disk that the node was started from, for as long as it is held.
    pub fn find(self) -> Result<Installed, SlotError> {
        let mut found = installations();
        let hint = hint();
        let is_there = found.iter().any(|(disk, _)| Some(disk.esp) == hint.guid());
        if hint.guid().is_some() && !is_there {
            for (found, disk) in &mut found {
                found.other = disk.record().ok().flatten().map(|record| record.other);
            }
        }
        let choices: Vec<Found> = found.iter().map(|(found, _)| found.clone()).collect();
        let at = choose(&choices, hint)?;
        let (_, own) = found.swap_remove(at);
        Ok(Installed {
            own,
            others: found.into_iter().map(|(_, other)| other).collect(),
            _turn: self,
        })
    }
}

/// Does something on a thread of its own while nobody else does anything to the system disk.
pub async fn alone<T: Send + 'static, E: From<SlotError> + Send + 'static>(
    work: impl FnOnce(Turn) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let turn = Turn::take(PATIENCE).await?;
    let done = on_own_thread("slots", move || work(turn)).await;
    done.map_err(SlotError::Thread)?
}

/// Does something to the installed disk, on a thread.
pub async fn on_installed<T: Send + 'static, E: From<SlotError> + Send + 'static>(
    work: impl FnOnce(&Installed) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    alone(move |turn| work(&turn.find()?)).await
}

/// Whether these are the partitions of an installation.
pub fn is_installed(partitions: &[Partition]) -> bool {
    NAMES
        .iter()
        .all(|name| partitions.iter().any(|partition| partition.name == *name))
}

/// A disk with an installation.
pub struct SystemDisk {
    /// Its name in `/dev`.
    pub name: String,
    /// What it is called for good, where it has such a name: `serial:…`.
    pub id: Option<DiskChoice>,
    /// The disk itself.
    pub storage: Disk,
    partitions: Vec<Partition>,
}

impl SystemDisk {
    /// The volume with the slots.
    pub fn esp(&self) -> Result<Volume<Part<&Disk>>, FatError> {
        let [_, esp, ..] = NAMES;
        self.volume(esp)
    }

    /// The volume with the machine config.
    pub fn config(&self) -> Result<Volume<Part<&Disk>>, FatError> {
        let [config, ..] = NAMES;
        self.volume(config)
    }

    /// GUID of the partition with the slots.
    pub fn guid(&self) -> u128 {
        let [_, esp, ..] = NAMES;
        self.partition(esp).map_or(0, |esp| esp.guid)
    }

    /// Its volumes.
    pub fn side(&self) -> Result<Side<Part<&Disk>>, FatError> {
        Ok(Side {
            esp: Esp::new(self.esp()?),
            config: self.config()?,
            guid: self.guid(),
        })
    }

    /// What people know it by: `nvme0n1, serial:S4EVNX0R123456`.
    pub fn title(&self) -> String {
        let id = self.id.as_ref().map(|id| format!(", {id}"));
        format!("{}{}", self.name, id.unwrap_or_default())
    }

    /// The same without a name that another boot gives to another disk, where there is one that stays.
    pub fn lasting_name(&self) -> String {
        let id = self.id.as_ref().map(ToString::to_string);
        id.unwrap_or_else(|| self.name.clone())
    }

    /// What the disk knows of the other one of its mirror; `None`: it is no part of one.
    pub fn record(&self) -> Result<Option<Record>, FatError> {
        let record = mirror::read(&self.esp()?)?;
        Ok(record.filter(|record| record.own == self.guid()))
    }

    fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    fn volume(&self, name: &str) -> Result<Volume<Part<&Disk>>, FatError> {
        // Every name is there, or the disk would not have been found.
        let (start, length) = self.partition(name).map_or((0, 0), |p| (p.start, p.length));
        Volume::open(Part::new(&self.storage, start, length))
    }
}

/// The disk that the node was started from, held.
pub struct Installed {
    own: SystemDisk,
    /// Other disks with an installation: the other one of a mirror, or one that does not run.
    pub others: Vec<SystemDisk>,
    _turn: Turn,
}

impl Deref for Installed {
    type Target = SystemDisk;

    fn deref(&self) -> &SystemDisk {
        &self.own
    }
}

impl Installed {
    /// Names of the disks that the node starts from: one, or the two of a mirror.
    pub fn names(&self) -> Vec<String> {
        let record = self.record().ok().flatten();
        let partner = record.and_then(|record| self.partner(&record));
        let own = std::iter::once(&self.own);
        own.chain(partner).map(|disk| disk.name.clone()).collect()
    }

    /// The other disk of a mirror, where it is there.
    pub fn partner(&self, record: &Record) -> Option<&SystemDisk> {
        self.others.iter().find(|disk| disk.guid() == record.other)
    }
}

/// What is known of the partition that the node was started from.
fn hint() -> Hint {
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let line = CommandLine::parse(&line);
    Hint::of(loader::partition(), line.get(ARGUMENT))
}

/// Whether the very disk that the node was started from can be read already, as far as anything says which one that is.
pub fn is_up() -> bool {
    let named = hint().guid();
    named.is_none_or(|guid| find().is_ok_and(|installed| installed.guid() == guid))
}

/// Whether other disks with an installation are there and the one that the node was started from is not, or not yet.
pub fn is_missing() -> bool {
    matches!(find(), Err(SlotError::Unclear(Unclear::Gone { .. })))
}

/// The disk that the node was started from, for as long as it is held.
pub fn find() -> Result<Installed, SlotError> {
    Turn::wait(PATIENCE)?.find()
}

/// Disks with an installation.
fn installations() -> Vec<(Found, SystemDisk)> {
    let mut found = Vec::new();
    for disk in Topology::read(Path::new("/")).disks {
        let path = Path::new("/dev").join(&disk.name);
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else {
            continue;
        };
        let Ok(storage) = Disk::new(file, disk.logical_sector.into()) else {
            continue;
        };
        let [_, esp, ..] = NAMES;
        let partitions = table::read(&storage).unwrap_or_default();
        let esp = partitions.iter().find(|p| p.name == esp).map(|esp| esp.guid);
        if is_installed(&partitions)
            && let Some(esp) = esp
        {
            let found_disk = Found {
                name: disk.name.clone(),
                esp,
                other: None,
            };
            let system = SystemDisk {
                id: DiskChoice::of(&disk),
                name: disk.name,
                storage,
                partitions,
            };
            found.push((found_disk, system));
        }
    }
    found
}

#[cfg(test)]
mod tests;
