//! A disk as firmware and loaders see it: what would start, and whether that is whole. Nothing is written.

use sha2::{Digest as _, Sha256};

use crate::Digest;
use crate::bios::{self, Choice};
use crate::esp::{Esp, EspError};
use crate::fat::{Volume, join};
use crate::slot::{IMAGES, Named, Slot, State};
use crate::storage::{Part, Storage};
use crate::table::{self, Kind, Partition};
use crate::uki;

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
    /// The same for a BIOS, where the disk has a loader for it.
    pub bios: Option<OnBios>,
}

/// A disk as a BIOS and GRUB see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnBios {
    /// Digest of GRUB.
    pub loader: Digest,
    /// What GRUB starts next, and whether it is whole.
    pub next: Option<(Choice, bool)>,
}

impl OnBios {
    /// The slot that starts; `None`: none does, or it is not whole.
    pub fn starts(&self) -> Option<&Named> {
        let (choice, whole) = self.next.as_ref()?;
        whole.then_some(&choice.named)
    }
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
    let images = [Slot::A, Slot::B].map(|slot| (slot, esp.volume().digest(&join(IMAGES, &slot.image()))));
    let image = |slot: Slot| {
        images
            .iter()
            .find(|(own, _)| *own == slot)
            .map(|(_, image)| image)
    };
    let is_whole = |named: &Named, image: &(u64, Digest)| *image == (named.entry.size, named.entry.digest);
    let state = esp.state()?;
    let mut entries = Vec::new();
    for named in state.in_order() {
        // A file that is damaged is there for the loader, and does not start.
        match image(named.name.slot) {
            None | Some(Ok(None)) => {}
            Some(Ok(Some(found))) => entries.push((named.clone(), is_whole(named, found))),
            Some(Err(_)) => entries.push((named.clone(), false)),
        }
    }
    if entries.is_empty() {
        return Err(NotBootable::NoEntry);
    }
    let bios = match bios::find_loader(disk) {
        None => None,
        Some(loader) => Some(OnBios {
            loader,
            next: on_bios(&esp, |named| match image(named.name.slot) {
                Some(Ok(Some(found))) => is_whole(named, found),
                _ => false,
            })?,
        }),
    };
    Ok(Inspection {
        loader,
        entries,
        bios,
    })
}

/// What GRUB starts next, and whether it is whole: the image, and the places that the menu says its parts have.
fn on_bios<S: Storage>(
    esp: &Esp<S>,
    is_whole: impl Fn(&Named) -> bool,
) -> Result<Option<(Choice, bool)>, NotBootable> {
    let (menu, count) = (esp.menu()?.unwrap_or_default(), esp.count()?);
    let Some((choice, _)) = menu.next(count.as_ref()) else {
        return Ok(None);
    };
    let image = join(IMAGES, &choice.named.name.slot.image());
    let head = esp.volume().head(&image, uki::HEADERS).ok().flatten();
    let places = head.and_then(|head| uki::places(&head));
    let whole = is_whole(&choice.named) && places == Some(choice.places);
    Ok(Some((choice.clone(), whole)))
}

/// Digest of bytes in memory.
pub fn digest(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}
