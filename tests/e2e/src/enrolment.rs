//! Firmware with the keys that the build has signed the media with: enrolled once, as a person does it, in the menu of a medium.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use axion_install::authenticode::{attach, table};
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

/// The keys that the build has signed the media with.
///
/// # Errors
/// There is no image.
pub fn owner_keys() -> Result<PathBuf> {
    Ok(Image::find()?.kernel().with_file_name("secure-boot-keys"))
}

/// Keys that no firmware has taken.
///
/// # Errors
/// openssl fails.
pub fn foreign_keys(dir: &Path) -> Result<PathBuf> {
    let keys = dir.join("foreign");
    fs::create_dir(&keys)?;
    let made = Command::new("openssl")
        .args([
            "req",
            "-new",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-noenc",
            "-subj",
            "/CN=Somebody else",
        ])
        .arg("-keyout")
        .arg(keys.join("db.key"))
        .arg("-out")
        .arg(keys.join("db.crt"))
        .output()?;
    ensure!(made.status.success(), "{made:?}");
    Ok(keys)
}

/// A program, signed for firmware as the media are.
///
/// # Errors
/// It is signed already, or sbsign fails.
pub fn sign(program: &[u8], keys: &Path, dir: &Path) -> Result<Vec<u8>> {
    let (from, to) = (dir.join("unsigned.efi"), dir.join("signed.efi"));
    fs::write(&from, program)?;
    let signed = Command::new("sbsign")
        .arg("--key")
        .arg(keys.join("db.key"))
        .arg("--cert")
        .arg(keys.join("db.crt"))
        .arg("--output")
        .arg(&to)
        .arg(&from)
        .output()?;
    ensure!(signed.status.success(), "{signed:?}");
    // As the media are signed: nothing but the table is another.
    Ok(attach(program, table(&fs::read(&to)?)?)?)
}
