//! Starting the same kernel again with another command line.
//!
//! After a boot over the network, or from one UEFI file, the kernel and its initramfs are nowhere but in memory. A second archive
//! behind the initramfs carries a copy of the kernel for this, which is removed when it is not needed ([`boots_others`]); the next initramfs is made of the files of
//! this one, and of the config documents, so that the next kernel fetches nothing and hears the same.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::{BufReader, Write};
use std::os::fd::AsFd;
use std::path::Path;

use axion_core::cmdline::CommandLine;
use axion_core::config::resolve;
use axion_install::authenticode::{SIGNATURES, SIGNED_IMAGE};
use cpio::newc::{Builder, trailer};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::reboot::{RebootMode, reboot};

use super::extras::{self, Extra};
use super::root;
use crate::handover::{CARRIED, Handover};
use crate::secure_boot::{Guard, SecureBootError};
use crate::slot;
use crate::sys;

/// The kernel in the initramfs.
pub const KERNEL: &str = "/axion/vmlinuz";
/// What the kernel puts before every command line by itself (`CONFIG_CMDLINE`, kernel-config/host/core.config).
const BUILT_IN: &str = "rootfstype=ramfs ";
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
/// Bytes that are copied at once.
const CHUNK: usize = 1 << 20;

/// The kernel could not be started again.
#[derive(Debug, thiserror::Error)]
pub enum KexecError {
    /// A file of the initramfs.
    #[error("cannot read {path} in the initramfs (kexec.cpio brings the kernel: docs/profile.md)")]
    Read {
        /// File.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The next initramfs.
    #[error("cannot write the next initramfs into memory")]
    Write(#[source] std::io::Error),
    /// The documents.
    #[error("cannot write the config documents for the next kernel")]
    Documents(#[from] serde_json::Error),
    /// The command line.
    #[error("the kernel command line holds a NUL byte")]
    Nul,
    /// Loading.
    #[error("the kernel refuses to load its successor; its log says why")]
    Load(#[source] std::io::Error),
    /// Secure Boot.
    #[error("cannot keep to Secure Boot")]
    SecureBoot(#[from] SecureBootError),
    /// Starting.
    #[error("the kernel refuses to start its successor")]
    Start(#[source] std::io::Error),
}

/// Leaves this kernel for one with `command_line`. It comes back only with an error, and then nothing has happened.
///
/// # Errors
/// The initramfs is incomplete, memory is short, or the kernel refuses.
pub fn start_again(command_line: &str, handover: &Handover) -> Result<Infallible, KexecError> {
    let kernel = open(KERNEL)?;
    let documents = serde_json::to_vec(&handover.to_carry())?;
    let initramfs = File::from(
        memfd_create(c"initramfs", MFdFlags::MFD_CLOEXEC).map_err(|e| KexecError::Write(e.into()))?,
    );
    let file = |name: &str, mode: u32, path: &str| Extra {
        name: name.to_owned(),
        mode: FILE | mode,
        file: Some(path.into()),
    };
    // The CPU keeps its microcode.
    let mut files = extras::firmware(Path::new("/"));
    // No stub starts the next kernel.
    files.extend(extras::stub(Path::new("/")));
    files.extend([
        file("init", 0o755, "/proc/self/exe"),
        file(below(root::IMAGE), 0o644, root::IMAGE),
        file(below(root::LAST), 0o644, root::LAST),
    ]);
    if Path::new(SIGNATURES).exists() {
        files.push(file(below(SIGNATURES), 0o644, SIGNATURES));
    }
    if boots_others(&CommandLine::parse(command_line), handover) {
        files.extend(extras::microcode(Path::new("/")));
        files.push(file(below(KERNEL), 0o644, KERNEL));
        if Path::new(SIGNED_IMAGE).exists() {
            files.push(file(below(SIGNED_IMAGE), 0o644, SIGNED_IMAGE));
        }
    }
    write_initramfs(&initramfs, &files, &documents)?;
    let line = CString::new(own(command_line)).map_err(|_| KexecError::Nul)?;
    let kernel = match Guard::of_initramfs() {
        Some(guard) => {
            let signed = guard.kernel(&kernel)?;
            // From here on the kernel takes no successor that is not signed.
            guard.lock_down_early()?;
            signed
        }
        None => kernel,
    };
    sys::load_next_kernel(kernel.as_fd(), initramfs.as_fd(), &line).map_err(KexecError::Load)?;
    reboot(RebootMode::RB_KEXEC).map_err(|e| KexecError::Start(e.into()))
}

/// Whether the node boots other machines with what it was started from itself, which has to stay then. An installed node has its
/// image on the disk.
pub fn boots_others(cmdline: &CommandLine, handover: &Handover) -> bool {
    slot::running(cmdline).is_none() && resolve(&handover.documents()).config.netboot.interface.is_some()
}

/// Gives the memory of the kernel's copy back.
pub fn drop_kernel() {
    // An image without one does not start again, and says so when it should.
    let _ = std::fs::remove_file(KERNEL);
}

/// The command line without what the next kernel puts before it by itself.
fn own(command_line: &str) -> &str {
    command_line.strip_prefix(BUILT_IN).unwrap_or(command_line)
}

fn below(path: &'static str) -> &'static str {
    path.trim_start_matches('/')
}

fn open(path: impl AsRef<Path>) -> Result<File, KexecError> {
    let path = path.as_ref();
    File::open(path).map_err(|source| unread(path, source))
}

fn unread(path: &Path, source: std::io::Error) -> KexecError {
    KexecError::Read {
        path: path.display().to_string(),
        source,
    }
}

/// Writes a cpio archive (Documentation/driver-api/early-userspace/buffer-format.rst) of `/axion`, of `files` and of the documents. A file is never in memory as a whole beside its copy in the archive.
fn write_initramfs(mut archive: &File, files: &[Extra], documents: &[u8]) -> Result<(), KexecError> {
    let entry = |name: &str, number: u32, mode: u32| Builder::new(name).ino(number).mode(mode);
    entry("axion", 1, DIRECTORY | 0o755)
        .write(&mut archive, 0)
        .finish()
        .map_err(KexecError::Write)?;
    for (
        number,
        Extra {
            name,
            mode,
            file: path,
        },
    ) in (2..).zip(files)
    {
        let Some(path) = path else {
            let directory = entry(name, number, *mode).write(&mut archive, 0);
            directory.finish().map_err(KexecError::Write)?;
            continue;
        };
        let file = open(path)?;
        let length = file.metadata().map_err(|source| unread(path, source))?.len();
        let mut to = entry(name, number, *mode).write(&mut archive, short(length)?);
        std::io::copy(&mut BufReader::with_capacity(CHUNK, file), &mut to).map_err(KexecError::Write)?;
        to.finish().map_err(KexecError::Write)?;
    }
    let length = short(u64::try_from(documents.len()).unwrap_or(u64::MAX))?;
    let mut to = entry(below(CARRIED), 1 << 16, FILE | 0o600).write(&mut archive, length);
    to.write_all(documents).map_err(KexecError::Write)?;
    to.finish().map_err(KexecError::Write)?;
    trailer(&mut archive).map_err(KexecError::Write)?;
    Ok(())
}

/// The format has 32 bits for a length.
fn short(length: u64) -> Result<u32, KexecError> {
    u32::try_from(length).map_err(|_| KexecError::Write(std::io::ErrorKind::FileTooLarge.into()))
}

/// The config documents that an earlier kernel of this boot left for this one; they are removed, they are root's alone.
pub fn carried() -> Option<Handover> {
    let text = std::fs::read(Path::new(CARRIED)).ok()?;
    let _ = std::fs::remove_file(CARRIED);
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests;
