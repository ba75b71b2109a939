//! The ESP of the installed disk. Whoever does something to it has it alone: its tables are in memory meanwhile.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use axion_api::problem::{Kind, Problem};
use axion_core::topology::Topology;
use axion_install::check::{KeyError, Rejection};
use axion_install::esp::{Esp, EspError};
use axion_install::fat::{FatError, Volume};
use axion_install::plan::NAMES;
use axion_install::storage::{Disk, Part};
use axion_install::table::{self, Partition};

use crate::failure::chain;
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
    /// No disk, or more than one.
    #[error("{0} disks hold an installation, and one must")]
    Disks(usize),
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
            SlotError::NotInstalled | SlotError::NoEntry | SlotError::Disks(_) => Kind::Conflict,
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
    let on_disk = move || -> Result<T, SlotError> {
        let (_turn, disk, esp) = find()?;
        let volume = Volume::open(Part::new(&disk, esp.start, esp.length))?;
        work(&Esp::new(volume))
    };
    tokio::task::spawn_blocking(on_disk).await?
}

/// Whether these are the partitions of an installation.
pub fn is_installed(partitions: &[Partition]) -> bool {
    NAMES
        .iter()
        .all(|name| partitions.iter().any(|partition| partition.name == *name))
}

/// The installed disk and its ESP, for as long as the guard is held.
pub fn find() -> Result<(MutexGuard<'static, ()>, Disk, Partition), SlotError> {
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
        if is_installed(&partitions)
            && let Some(esp) = partitions.into_iter().find(|p| p.name == esp)
        {
            found.push((storage, esp));
        }
    }
    let count = found.len();
    match found.pop() {
        Some((disk, esp)) if count == 1 => Ok((turn, disk, esp)),
        _ => Err(SlotError::Disks(count)),
    }
}
