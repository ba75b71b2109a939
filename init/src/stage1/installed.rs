//! Starting the disk that is installed already, from the installer: a machine whose firmware prefers the network or a stick starts the
//! installer each time.
//!
//! ```text
//! UEFI   firmware starts the disk the next time ([`boot_next`]) ─ restart: its own loader, Secure Boot and measurements as always
//! BIOS   GRUB's count, as GRUB itself would ─ the slot's kernel and initramfs of its UKI ─ kexec
//! ```

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use axion_install::esp::EspError;
use axion_install::fat::FatError;
use axion_install::inspect::{self, NotBootable};
use axion_install::plan;
use axion_install::select::Candidate;
use axion_install::slot::{IMAGES, Slot};
use axion_install::storage;
use axion_install::uki::{Extent, HEADERS, places};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::reboot::{RebootMode, reboot};

use crate::boot_next::{self, BootNextError};
use crate::log::Log;
use crate::sys;

/// Bytes of an image, at most.
const MAX_IMAGE: usize = 512 << 20;

/// The disk cannot be started from here.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Firmware.
    #[error(transparent)]
    Firmware(#[from] BootNextError),
    /// The disk.
    #[error("cannot read the disk {0}")]
    Disk(String, #[source] std::io::Error),
    /// Its layout.
    #[error(transparent)]
    NotBootable(#[from] NotBootable),
    /// Its entries.
    #[error("the entries of the slots cannot be used")]
    Esp(#[from] EspError),
    /// Its volume.
    #[error("the EFI system partition cannot be used")]
    Volume(#[from] FatError),
    /// Nothing starts.
    #[error("no slot of the disk starts")]
    NoSlot,
    /// The image.
    #[error("the image of slot {0} is not whole")]
    Image(Slot),
    /// Memory.
    #[error("cannot write the kernel of slot {0} into memory")]
    Memory(Slot, #[source] std::io::Error),
    /// Loading.
    #[error("the kernel refuses to load that of slot {0}; its log says why")]
    Load(Slot, #[source] std::io::Error),
    /// Starting.
    #[error("the kernel refuses to start another one")]
    Start(#[source] nix::Error),
}

/// Has UEFI firmware start the disk the next time.
///
/// # Errors
/// It is not laid out as an installation, or firmware takes no variable.
pub fn next_time(candidate: &Candidate) -> Result<(), StartError> {
    let partitions = plan::kept(&candidate.contents).ok_or(StartError::NoSlot)?;
    let [_, esp, ..] = &partitions;
    Ok(boot_next::set(esp, candidate.disk.logical_sector)?)
}

/// Leaves this kernel for that of the slot that GRUB would start.
///
/// # Errors
/// No slot starts, the disk fails, or the kernel refuses.
pub fn by_kexec(candidate: &Candidate, log: &Log) -> Result<Infallible, StartError> {
    let disk = &candidate.disk;
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .open(Path::new("/dev").join(&disk.name))
        .and_then(|file| storage::Disk::new(file, disk.logical_sector.into()));
    let opened = opened.map_err(|e| StartError::Disk(candidate.to_string(), e))?;
    let esp = inspect::open(&opened)?;
    let slot = esp.count_start_of_grub()?.ok_or(StartError::NoSlot)?;
    let state = esp.state()?;
    let named = state.of(slot).ok_or(StartError::NoSlot)?;
    let image = esp
        .volume()
        .read(&format!("{IMAGES}/{}", slot.image()), MAX_IMAGE)?
        .ok_or(StartError::Image(slot))?;
    if inspect::digest(&image) != named.entry.digest {
        return Err(StartError::Image(slot));
    }
    let places = image
        .get(..HEADERS)
        .and_then(places)
        .ok_or(StartError::Image(slot))?;
    let part = |extent: Extent| {
        let start = usize::try_from(extent.start).ok()?;
        let length = usize::try_from(extent.length).ok()?;
        image.get(start..start.checked_add(length)?)
    };
    let in_memory = |extent: Extent| {
        let content = part(extent).ok_or(StartError::Image(slot))?;
        let written = memfd_create(c"next", MFdFlags::MFD_CLOEXEC).map_err(std::io::Error::from);
        let written = written.and_then(|memory| {
            let mut file = File::from(memory);
            file.write_all(content)?;
            Ok(file)
        });
        written.map_err(|e| StartError::Memory(slot, e))
    };
    let (kernel, initramfs) = (in_memory(places.kernel)?, in_memory(places.initramfs)?);
    let line = CString::new(named.entry.options.as_str()).map_err(|_| StartError::Image(slot))?;
    log.info(&format!(
        "starting slot {slot} of {candidate}, Axion {}",
        named.entry.version
    ));
    sys::load_next_kernel(kernel.as_fd(), initramfs.as_fd(), &line).map_err(|e| StartError::Load(slot, e))?;
    nix::unistd::sync();
    reboot(RebootMode::RB_KEXEC).map_err(StartError::Start)
}
