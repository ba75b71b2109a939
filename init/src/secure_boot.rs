//! Secure Boot inside the node: what firmware has checked stays checked.
//!
//! ```text
//! firmware ── the UKI, with everything in it ──> stage 1 ── kexec? lockdown, kernel signed for kexec ──> stage 1 ──> stage 2
//! stage 2: modules signed, settings in debugfs ── lockdown integrity ── before anything from outside runs
//! ```
//! The image brings signatures of its kernel and of its modules ([`Signatures`]); the kernel checks them against the keys of
//! firmware's `db`, which it reads at each start. Without signatures the lockdown is not raised, because nothing would load any
//! more: the boot is degraded and says so, and attestation too.
//!
//! Under the lockdown debugfs cannot be written to, and a part of the boot profile is set there: hence the moment.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use axion_core::secure_boot::{LOCKDOWN, Lockdown, SecureBoot};
use axion_install::authenticode::{SIGNATURES, SignatureError, Signatures, for_kexec};
use nix::mount::{MntFlags, MsFlags, umount2};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::files::{self, FileError, PUBLIC};
use crate::mounts::{Mount, MountError};

/// Where stage 1 leaves the signatures to stage 2.
const KEPT: &str = "/run/axion/signatures.json";
const ROOT: &str = "/";
const SECURITYFS: Mount = Mount {
    source: "securityfs",
    target: "/sys/kernel/security",
    kind: "securityfs",
    flags: MsFlags::MS_NOSUID,
    options: "",
};

/// What is not as Secure Boot wants it.
#[derive(Debug, thiserror::Error)]
pub enum SecureBootError {
    /// A signature has nothing to stand behind.
    #[error("the signature that the image brings does not fit")]
    Signature(#[from] SignatureError),
    /// A file that is to be signed.
    #[error("cannot put a signed file together in memory")]
    File(#[source] io::Error),
    /// The kernel's file system.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The kernel.
    #[error("the kernel does not let itself be locked down")]
    Lockdown(#[source] FileError),
    /// What the image brings.
    #[error(
        "Secure Boot is on, and this image brings no signatures of its modules: the kernel is not locked down"
    )]
    NoSignatures,
}

type Result<T> = std::result::Result<T, SecureBootError>;

/// Signatures, on a machine that wants them.
#[derive(Debug)]
pub struct Guard(Signatures);

impl Guard {
    /// In stage 1.
    pub fn of_initramfs() -> Option<Self> {
        Self::read(Path::new(SIGNATURES))
    }

    /// In stage 2.
    pub fn kept() -> Option<Self> {
        Self::read(Path::new(KEPT))
    }

    fn read(file: &Path) -> Option<Self> {
        if !SecureBoot::read(Path::new(ROOT)).is_on() {
            return None;
        }
        let text = std::fs::read(file).ok()?;
        serde_json::from_slice(&text).ok().map(Self)
    }

    /// The kernel, signed for kexec.
    ///
    /// # Errors
    /// The signature does not fit, or memory is short.
    pub fn kernel(&self, kernel: &File) -> Result<File> {
        let kernel = for_kexec(&content(kernel).map_err(SecureBootError::File)?)?;
        in_memory(&self.0.kernel.attach(&kernel)?).map_err(SecureBootError::File)
    }

    /// A module, signed; `None`: nobody has signed it.
    ///
    /// # Errors
    /// Memory is short.
    pub fn module(&self, name: &str, module: &File) -> Result<Option<File>> {
        let Some(signature) = self.0.modules.get(name) else {
            return Ok(None);
        };
        let mut signed = content(module).map_err(SecureBootError::File)?;
        signed.extend(signature.bytes()?);
        in_memory(&signed).map(Some).map_err(SecureBootError::File)
    }

    /// Locks the kernel down: there is no way back but another kernel.
    ///
    /// # Errors
    /// The kernel refuses, or has no lockdown.
    pub fn lock_down(&self) -> Result<()> {
        if SecureBoot::read(Path::new(ROOT)).lockdown != Lockdown::None {
            return Ok(());
        }
        let level = Lockdown::Integrity.to_string();
        files::set(Path::new(LOCKDOWN), &level).map_err(SecureBootError::Lockdown)
    }

    /// The same in stage 1, where the kernel's file system is not mounted.
    ///
    /// # Errors
    /// As [`Guard::lock_down`].
    pub fn lock_down_early(&self) -> Result<()> {
        SECURITYFS.perform()?;
        let done = self.lock_down();
        // Stage 2 mounts it for good.
        let _ = umount2(SECURITYFS.target, MntFlags::empty());
        done
    }
}

/// Leaves the signatures to stage 2, which does not see the initramfs any more.
///
/// # Errors
/// `/run` cannot be written to.
pub fn keep_signatures() -> std::result::Result<(), FileError> {
    match std::fs::read(SIGNATURES) {
        Ok(text) => files::replace(Path::new(KEPT), &text, PUBLIC),
        // An image that nobody signed.
        Err(_) => Ok(()),
    }
}

/// Locks the kernel down where Secure Boot is on.
///
/// # Errors
/// The image brings no signatures, or the kernel refuses.
pub fn keep_promise() -> Result<()> {
    if !SecureBoot::read(Path::new(ROOT)).is_on() {
        return Ok(());
    }
    Guard::kept().ok_or(SecureBootError::NoSignatures)?.lock_down()
}

fn content(mut file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn in_memory(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"signed", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests;
