//! Writing an installation.
//!
//! ```text
//! no table ─ ESP and config volume unmade ─ config volume ─ ESP: loader, UKI, entry, read back ─ GRUB ─ ESP's boot sector ─ table
//! ```
//! A cut on the way leaves a disk that starts nothing: the medium, or the network, starts the installer again. With a table that
//! stays, the ESP's boot sector is what comes last.

use std::io::Read;

use crate::Digest;
use crate::bios;
use crate::esp::{Esp, EspError, Update};
use crate::fat::{FatError, Volume};
use crate::inspect::{self, Inspection, LOADER, NotBootable};
use crate::mirror::{self, MirrorError, Record};
use crate::plan::Plan;
use crate::slot::{ENTRIES, IMAGES, Name, Slot};
use crate::storage::{Part, Storage};
use crate::table::{self, ALIGNMENT, TableError};

/// The config on its volume.
pub const CONFIG: &str = "axion.toml";

/// An installation was not finished. The disk starts nothing.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// A volume.
    #[error(transparent)]
    Fat(#[from] FatError),
    /// The slot.
    #[error(transparent)]
    Esp(#[from] EspError),
    /// The pool's partition.
    #[error("cannot clear the partition of the pool")]
    Pool(#[source] std::io::Error),
    /// The content of the other disk.
    #[error("cannot copy what the other disk holds")]
    Mirror(#[from] MirrorError),
    /// The loader of a BIOS.
    #[error("cannot write the loader for a BIOS")]
    Bios(#[source] std::io::Error),
    /// What was written does not start.
    #[error("what was written is not what is read back")]
    NotBootable(#[from] NotBootable),
    /// What was written is not whole.
    #[error("what was written is not whole when it is read back: the disk is failing")]
    NotWhole,
}

/// What is installed.
#[derive(Debug)]
pub struct Installation<'a> {
    /// systemd-boot.
    pub loader: &'a [u8],
    /// GRUB; a disk whose sectors no BIOS reads does not get it.
    pub bios: bios::Loader<'a>,
    /// Version, size, digest and kernel command line of the image.
    pub image: &'a Update,
    /// `axion.toml`.
    pub config: &'a str,
    /// What the disk knows of the other one, where two hold the same.
    pub mirror: Option<Record>,
    /// Bytes that are written at once.
    pub chunk: usize,
}

/// A step, for whoever watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Another part begins.
    Step(&'static str),
    /// So many bytes more of the image are written.
    Bytes(u64),
}

/// Installs.
///
/// # Errors
/// The disk fails, or the image is not what its digest says.
pub fn install(
    disk: &impl Storage,
    plan: &Plan,
    what: &Installation<'_>,
    image: &mut dyn Read,
    progress: &mut dyn FnMut(Progress),
) -> Result<Inspection, InstallError> {
    let [.., bios_at] = &plan.partitions;
    let bios = (disk.sector() == bios::SECTOR).then_some(&what.bios);
    let part = |at: &table::Partition| Part::new(disk, at.start, at.length);
    let [mut config, esp] = make_volumes(disk, plan, what.chunk, progress)?;
    put(&config, CONFIG, what.config.as_bytes())?;
    config.finish()?;

    put(&esp, LOADER, what.loader)?;
    if let Some(record) = &what.mirror {
        mirror::write(&esp, record)?;
    }
    progress(Progress::Step("writing the image"));
    let esp = Esp::new(esp);
    esp.write_slot(Name::confirmed(Slot::A), 1, what.image, image, &mut |bytes| {
        progress(Progress::Bytes(bytes));
    })?;
    progress(Progress::Step("making it bootable"));
    if let Some(grub) = bios {
        esp.add_grub()?;
        write_grub(disk, &part(bios_at), grub, plan.keep).map_err(InstallError::Bios)?;
    }
    let boot_code = bios.map(|grub| grub.boot_code);
    let mut esp = esp.into_volume();
    esp.finish()?;
    if !plan.keep {
        table::write(disk, plan.guid, &plan.partitions, boot_code)?;
    }
    progress(Progress::Step("reading it back"));
    disk.forget().map_err(|e| TableError::Io("read back", e))?;
    let found = inspect::inspect(disk)?;
    let on_bios = found.bios.as_ref().filter(|on_bios| on_bios.starts().is_some());
    let whole = found.starts().is_some()
        && found.loader == inspect::digest(what.loader)
        && on_bios.map(|on_bios| on_bios.loader) == bios.map(bios::Loader::digest);
    whole.then_some(found).ok_or(InstallError::NotWhole)
}

/// Makes the volumes of the config and of the slots, with the directories of the latter, where nothing is to be found any more.
/// They are none for anybody else before each is finished.
pub(crate) fn make_volumes<'d, D: Storage>(
    disk: &'d D,
    plan: &Plan,
    chunk: usize,
    progress: &mut dyn FnMut(Progress),
) -> Result<[Volume<Part<&'d D>>; 2], InstallError> {
    let [config_at, esp_at, pool_at, _] = &plan.partitions;
    let part = |at: &table::Partition| Part::new(disk, at.start, at.length);
    if !plan.keep {
        progress(Progress::Step("removing the old partition table"));
        table::wipe(disk)?;
        clear_ends(&part(pool_at)).map_err(InstallError::Pool)?;
    }
    progress(Progress::Step("making the volumes"));
    let esp = Volume::format(part(esp_at), &plan.esp_format())?.with_chunk(chunk);
    let config = Volume::format(part(config_at), &plan.config_format(disk.sector()))?.with_chunk(chunk);
    for directory in ["EFI", "EFI/BOOT", IMAGES, "loader", ENTRIES] {
        esp.make_directory(directory)?;
    }
    Ok([config, esp])
}

fn put(volume: &Volume<impl Storage>, path: &str, content: &[u8]) -> Result<Digest, FatError> {
    let length = u64::try_from(content.len()).unwrap_or(0);
    volume.write(path, &mut &*content, length, &mut |_| {})
}

/// Writes the loader of a BIOS; beside a table that stays, with its boot code. A BIOS never finds boot code that leads to half of
/// a loader.
pub(crate) fn write_grub(
    disk: &impl Storage,
    part: &impl Storage,
    grub: &bios::Loader<'_>,
    beside_table: bool,
) -> std::io::Result<()> {
    if bios::find_loader(disk) == Some(grub.digest()) {
        return Ok(());
    }
    if beside_table {
        write_boot_code(disk, &[0; bios::BOOT_CODE])?;
    }
    part.write_at(0, grub.core)?;
    part.flush()?;
    if beside_table {
        write_boot_code(disk, grub.boot_code)?;
    }
    Ok(())
}

/// Writes boot code beside a table that stays.
fn write_boot_code(disk: &impl Storage, code: &[u8; bios::BOOT_CODE]) -> std::io::Result<()> {
    let mut sector = [0; 512];
    disk.read_at(0, &mut sector)?;
    if let Some(to) = sector.first_chunk_mut() {
        *to = *code;
    }
    disk.write_at(0, &sector)?;
    disk.flush()
}

/// A pool's labels are at both ends.
fn clear_ends(part: &impl Storage) -> std::io::Result<()> {
    let zeros = vec![0; usize::try_from(ALIGNMENT.min(part.size())).unwrap_or(0)];
    let last = part.size().saturating_sub(ALIGNMENT);
    part.write_at(0, &zeros)?;
    part.write_at(last, &zeros)?;
    part.flush()
}

#[cfg(test)]
mod tests;
