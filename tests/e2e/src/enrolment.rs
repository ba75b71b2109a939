//! Firmware with the keys that the build has signed the media with: enrolled once, as a person does it, in the menu of a medium.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use axion_lab::{Drive, Firmware, Image, Spec};
use tempfile::TempDir;

/// Firmware, and its look at 70 MiB that are signed.
pub const FIRMWARE: Duration = Duration::from_secs(120);
/// A drive that OVMF reads fast.
pub const DRIVE: Drive = Drive::Virtio;

/// Boot variables of firmware that has taken the owner's keys, in a directory of the test's own.
///
/// # Errors
/// The menu does not come, or there are no signed media.
pub fn enrolled() -> Result<(TempDir, PathBuf)> {
    static VARIABLES: Mutex<Vec<u8>> = Mutex::new(Vec::new());
    let mut known = VARIABLES.lock().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("variables.fd");
    if known.is_empty() {
        // The menu waits for a key for seconds alone, which a busy computer can miss.
        if enrol(&file).is_err() {
            fs::remove_file(&file)?;
            enrol(&file)?;
        }
        *known = fs::read(&file)?;
    } else {
        fs::write(&file, known.as_slice())?;
    }
    Ok((dir, file))
}

/// Chooses the keys in the menu of a medium, as firmware in setup mode shows it.
fn enrol(variables: &Path) -> Result<()> {
    let image = Image::find()?;
    let medium = image.signed_medium("axion.img")?;
    let spec = Spec::new("secure-boot-enrol")
        .boot_from(Firmware::Uefi, DRIVE, medium)
        .secure_boot(variables)
        .exit_on_reboot();
    let machine = spec.start(&image)?;
    machine
        .screen()
        .wait_for("Enroll Secure Boot keys: axion", FIRMWARE)?;
    machine.screen().press("\x1b[B")?;
    machine.screen().press("\r")?;
    machine.wait_exit()?;
    Ok(())
}
