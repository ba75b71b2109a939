//! An installed disk: how it comes about, what is on it, and machines that start from it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use axion_install::inspect;
use axion_install::slot::{IMAGES, Slot};
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Firmware, Image, Machine, Spec};

use crate::installed::stage_image;
pub use crate::installed::{look, open};
use crate::with_kexec;

/// The layout needs little more than 2 GiB.
const DISK_MIB: u64 = 3072;
/// Writing the image in emulation, the plan and the farewell.
pub const INSTALLATION: Duration = Duration::from_secs(240);
/// Three starts that fail, and one that does not.
pub const FALL_BACK: Duration = Duration::from_secs(280);

/// An empty disk.
///
/// # Errors
/// There is no room for the file.
pub fn blank(disk: &Path) -> Result<()> {
    Ok(File::create(disk)?.set_len(DISK_MIB << 20)?)
}

fn with(spec: Spec, firmware: Firmware) -> Spec {
    match firmware {
        Firmware::Bios => spec,
        Firmware::Uefi => spec.uefi(),
    }
}

/// A machine that runs the installer on `disk`; files of the test are in `dir`.
///
/// # Errors
/// It does not start.
pub fn installer(
    name: &str,
    firmware: Firmware,
    disk: impl Into<DiskContent>,
    dir: &Path,
    config: &str,
) -> Result<Machine> {
    installer_beside(name, firmware, disk, &[], dir, config)
}

/// The same, with other NVMe disks beside it.
///
/// # Errors
/// It does not start.
pub fn installer_beside(
    name: &str,
    firmware: Firmware,
    disk: impl Into<DiskContent>,
    others: &[PathBuf],
    dir: &Path,
    config: &str,
) -> Result<Machine> {
    let image = Image::find()?;
    let spec = with(Spec::new(name), firmware)
        .initramfs(with_kexec(dir)?)
        .kernel_arg("axion.mode=install")
        .config(config)
        .disk(DiskBus::Nvme, disk);
    let spec = others
        .iter()
        .fold(spec, |spec, disk| spec.disk(DiskBus::Nvme, disk));
    Ok(spec.start(&image)?)
}

/// A machine that starts from the disk.
///
/// # Errors
/// It does not start.
pub fn start(name: &str, firmware: Firmware, disk: impl Into<DiskContent>) -> Result<Machine> {
    start_with_second(name, firmware, disk, None)
}

/// The same with a second disk beside it.
///
/// # Errors
/// It does not start.
pub fn start_with_second(
    name: &str,
    firmware: Firmware,
    disk: impl Into<DiskContent>,
    second: Option<&Path>,
) -> Result<Machine> {
    let spec = with(Spec::new(name), firmware)
        .boot_from_disks()
        .disk(DiskBus::Nvme, disk);
    let spec = match second {
        Some(second) => spec.disk(DiskBus::Nvme, second),
        None => spec,
    };
    Ok(spec.start(&Image::find()?)?)
}

/// Presses the power button, and waits.
///
/// # Errors
/// The machine stays up.
pub fn down(machine: Machine) -> Result<()> {
    machine.power_button()?;
    machine.wait_exit()?;
    drop(machine);
    Ok(())
}

/// Kernel arguments of what is started next.
///
/// # Errors
/// Nothing is.
pub fn options(disk: &Path) -> Result<String> {
    let found = look(disk)?;
    let (named, _) = found.entries.first().context("no entry")?;
    Ok(named.entry.options.clone())
}

/// Writes the image of slot a to slot b, as another version and with other kernel arguments.
///
/// # Errors
/// It does not go there.
pub fn stage(disk: &Path, version: &str, options: &str) -> Result<()> {
    let opened = open(disk)?;
    let esp = inspect::open(&opened)?;
    let uki = esp
        .volume()
        .read(&format!("{IMAGES}/{}", Slot::A.image()), 1 << 30)?
        .context("slot a has no image")?;
    stage_image(disk, &uki, version, options)
}
