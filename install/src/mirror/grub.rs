//! The loader of a BIOS on a disk that follows.

use crate::bios;
use crate::perform::write_grub;
use crate::storage::{Part, Storage};
use crate::table::{self, Kind};

use super::{MirrorError, Side};

/// Gives the disk `to` the loader for a BIOS that `from` has, where a BIOS could start it.
///
/// # Errors
/// One of them fails; a BIOS then starts what it did, or nothing, from `to`.
pub fn follow_loader<D: Storage, T: Storage>(
    from: &impl Storage,
    to: &D,
    side: &Side<T>,
) -> Result<(), MirrorError> {
    let Some((boot_code, core)) = bios::read_loader(from) else {
        return Ok(());
    };
    let partitions = table::read(to).unwrap_or_default();
    let place = partitions.iter().find(|partition| partition.kind == Kind::Bios);
    let Some(place) = place.filter(|_| to.sector() == bios::SECTOR) else {
        return Ok(());
    };
    let loader = bios::Loader {
        boot_code: &boot_code,
        core: &core,
    };
    write_grub(to, &Part::new(to, place.start, place.length), &loader, true).map_err(MirrorError::Bios)?;
    if !side.esp.has_grub()? {
        side.esp.add_grub()?;
    }
    Ok(())
}
