//! The initramfs on a boot medium, with the kernel in it: a node that was started from one has its kernel nowhere else.
//!
//! Every medium with a partition table has a UKI where UEFI looks for it, a medium that a BIOS starts too.

use std::io::{self, Read};

use fatfs::{FileSystem, FsOptions};

use crate::inspect::LOADER;
use crate::storage::{Part, Storage, Stream};
use crate::table::{self, Kind, TableError};
use crate::uki::{self, UkiError};

/// Bytes of a UKI.
const LONGEST: u64 = 1 << 30;

/// A medium has no image.
#[derive(Debug, thiserror::Error)]
pub enum MediumError {
    /// It has no table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It has no ESP.
    #[error("there is no EFI system partition on it")]
    NoEsp,
    /// Its file.
    #[error("cannot read {LOADER} on it")]
    Read(#[source] io::Error),
    /// What is in the file.
    #[error("{LOADER} on it is not what Axion's media have")]
    Uki(#[from] UkiError),
}

/// The initramfs on a medium.
///
/// # Errors
/// It cannot be read.
pub fn initramfs(medium: &impl Storage) -> Result<Vec<u8>, MediumError> {
    let partitions = table::read(medium)?;
    let esp = partitions
        .iter()
        .find(|partition| partition.kind == Kind::Esp)
        .ok_or(MediumError::NoEsp)?;
    let volume = Stream::new(Part::new(medium, esp.start, esp.length));
    let volume = FileSystem::new(volume, FsOptions::new()).map_err(MediumError::Read)?;
    let file = volume.root_dir().open_file(LOADER).map_err(MediumError::Read)?;
    let mut uki = Vec::new();
    file.take(LONGEST)
        .read_to_end(&mut uki)
        .map_err(MediumError::Read)?;
    Ok(uki::initramfs(&uki)?.to_vec())
}

#[cfg(test)]
mod tests;
