//! A disk as firmware and loader see it: what would start, and whether that is whole. Nothing is written.

use sha2::{Digest as _, Sha256};

use crate::Digest;
use crate::esp::{Esp, EspError};
use crate::fat::{Volume, join};
use crate::slot::{IMAGES, Named, Slot, State};
use crate::storage::{Part, Storage};
use crate::table::{self, Kind, Partition};

/// Where UEFI looks on a disk that its boot variables do not name (UEFI 2.10 §3.5.1.1).
pub const LOADER: &str = "EFI/BOOT/BOOTX64.EFI";

/// What a disk holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// Digest of the loader.
    pub loader: Digest,
    /// The entries that the loader lists, in its order, each with whether its UKI is whole; those whose UKI is not there are
    /// left out, as the loader leaves them out.
    pub entries: Vec<(Named, bool)>,
}

impl Inspection {
    /// The slot that starts; `None`: none does, or it is not whole.
    pub fn starts(&self) -> Option<&Named> {
        let first = self.entries.first()?;
        first.1.then_some(&first.0)
    }

    /// The last confirmed slot that is whole.
    pub fn good(&self) -> Option<Slot> {
        let whole = self.entries.iter().filter(|(_, whole)| *whole);
        let state = State(whole.map(|(named, _)| named.clone()).collect());
        state.good().map(|named| named.name.slot)
    }
}

/// Why nothing on a disk starts.
#[derive(Debug, thiserror::Error)]
pub enum NotBootable {
    /// It has no table.
    #[error("the disk has no partition table")]
    NoTable(#[source] table::TableError),
    /// It has no ESP.
    #[error("the disk has no EFI system partition")]
    NoEsp,
    /// The ESP.
    #[error("the EFI system partition cannot be read")]
    Esp(#[from] EspError),
    /// There is no loader.
    #[error("the EFI system partition has no {LOADER}")]
    NoLoader,
    /// Nothing to start.
    #[error("the loader finds nothing to start")]
    NoEntry,
}

/// The ESP of a disk.
///
/// # Errors
/// It has none.
pub fn esp(disk: &impl Storage) -> Result<Partition, NotBootable> {
    let partitions = table::read(disk).map_err(NotBootable::NoTable)?;
    let esp = partitions
        .into_iter()
        .find(|partition| partition.kind == Kind::Esp);
    esp.ok_or(NotBootable::NoEsp)
}

/// Opens the ESP of a disk.
///
/// # Errors
/// It has none that can be read.
pub fn open(disk: &impl Storage) -> Result<Esp<Part<&impl Storage>>, NotBootable> {
    let esp = esp(disk)?;
    let volume = Volume::open(Part::new(disk, esp.start, esp.length));
    Ok(Esp::new(volume.map_err(EspError::Fat)?))
}

/// Looks at a disk.
///
/// # Errors
/// Nothing on it would start.
pub fn inspect(disk: &impl Storage) -> Result<Inspection, NotBootable> {
    let esp = open(disk)?;
    let loader = esp.volume().digest(LOADER).map_err(EspError::Fat)?;
    let (_, loader) = loader.ok_or(NotBootable::NoLoader)?;
    let state = esp.state()?;
    let mut entries = Vec::new();
    for named in state.in_order() {
        // A file that is damaged is there for the loader, and does not start.
        match esp.volume().digest(&join(IMAGES, &named.name.slot.image())) {
            Ok(None) => {}
            Ok(Some(found)) => {
                let whole = found == (named.entry.size, named.entry.digest);
                entries.push((named.clone(), whole));
            }
            Err(_) => entries.push((named.clone(), false)),
        }
    }
    if entries.is_empty() {
        return Err(NotBootable::NoEntry);
    }
    Ok(Inspection { loader, entries })
}

/// Digest of bytes in memory.
pub fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}
