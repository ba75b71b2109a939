//! The ESP of the installed disk. Whoever does something to it has it alone: its tables are in memory meanwhile.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use axion_api::problem::{Kind, Problem};
use axion_core::cmdline::CommandLine;
use axion_core::topology::Topology;
use axion_install::check::{KeyError, Rejection};
use axion_install::esp::{Esp, EspError};
use axion_install::fat::{FatError, Volume};
use axion_install::plan::NAMES;
use axion_install::started::{ARGUMENT, Found, Hint, Unclear, choose};
use axion_install::storage::{Disk, Part};
use axion_install::table::{self, Partition};

use crate::failure::chain;
use crate::loader;
use crate::sync::lock;

/// Held while something is done to the ESP.
static TURN: Mutex<()> = Mutex::new(());

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
    /// The thread ended.
    #[error("it was not finished")]
    Thread(#[from] tokio::task::JoinError),
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
                | Rejection::NoVersion
                | Rejection::Version(_) => Kind::Invalid,
            },
            SlotError::NotSealed => Kind::Malformed,
            SlotError::Esp(EspError::Refused(_)) => Kind::Conflict,
            SlotError::Esp(EspError::Fat(FatError::Full { .. })) => Kind::InsufficientCapacity,
            SlotError::Key(_) | SlotError::Esp(_) | SlotError::Fat(_) | SlotError::Thread(_) => {
                Kind::Internal
            }
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

/// Does something to the installed disk, on a thread.
pub async fn on_installed<T: Send + 'static, E: From<SlotError> + Send + 'static>(
    work: impl FnOnce(&Installed) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let done = tokio::task::spawn_blocking(move || work(&find()?));
    done.await.map_err(SlotError::from)?
}

/// Whether these are the partitions of an installation.
pub fn is_installed(partitions: &[Partition]) -> bool {
    NAMES
        .iter()
        .all(|name| partitions.iter().any(|partition| partition.name == *name))
}

/// The disk that the node was started from, held.
pub struct Installed {
    disk: Disk,
    partitions: Vec<Partition>,
    /// Its name in `/dev`.
    pub name: String,
    /// Names of other disks with an installation, which is not the one that runs.
    pub others: Vec<String>,
    _turn: MutexGuard<'static, ()>,
}

impl Installed {
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

    fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    fn volume(&self, name: &str) -> Result<Volume<Part<&Disk>>, FatError> {
        // Every name is there, or the disk would not have been found.
        let (start, length) = self.partition(name).map_or((0, 0), |p| (p.start, p.length));
        Volume::open(Part::new(&self.disk, start, length))
    }
}

/// The disk that the node was started from, for as long as it is held.
pub fn find() -> Result<Installed, SlotError> {
    let turn = lock(&TURN);
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
            let name = disk.name;
            found.push((Found { name, esp }, storage, partitions));
        }
    }
    let line = std::fs::read_to_string("/proc/cmdline").unwrap_or_default();
    let line = CommandLine::parse(&line);
    let hint = Hint::of(loader::partition(), line.get(ARGUMENT));
    let choices: Vec<Found> = found.iter().map(|(found, ..)| found.clone()).collect();
    let at = choose(&choices, hint)?;
    let (own, disk, partitions) = found.swap_remove(at);
    let others = found.into_iter().map(|(found, ..)| found.name);
    Ok(Installed {
        disk,
        partitions,
        name: own.name,
        others: others.collect(),
        _turn: turn,
    })
}
