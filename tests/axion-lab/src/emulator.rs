//! Where QEMU and its firmware are.
//!
//! `cargo xtask setup` keeps a QEMU of its own in the cache, whatever this computer runs: before 10.0.13, a processor that runs guests
//! by emulated SVM resets itself or the whole machine (docs/adr/0009-emulator.md). Without one, what is installed is taken.

use std::env;
use std::path::{Path, PathBuf};

/// The release that the tests were last seen to pass with.
pub const MINIMUM: (u32, u32, u32) = (11, 1, 0);

/// QEMU's program, and the directory of UEFI's firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emulator {
    /// `qemu-system-x86_64`.
    pub program: PathBuf,
    /// Directory with `OVMF_CODE_4M.fd` and `OVMF_VARS_4M.fd`.
    pub firmware: PathBuf,
}

impl Emulator {
    /// That of the cache, else the installed one.
    pub fn find() -> Self {
        Self::of(&directory())
    }

    /// That below `directory`, else the installed one.
    pub fn of(directory: &Path) -> Self {
        let program = directory.join(PROGRAM);
        if program.exists() {
            let firmware = directory.join(ROOT).join("usr/share/OVMF");
            return Self { program, firmware };
        }
        Self {
            program: PathBuf::from(PROGRAM),
            firmware: PathBuf::from("/usr/share/OVMF"),
        }
    }
}

/// Name of the program below [`directory`].
pub const PROGRAM: &str = "qemu-system-x86_64";
/// Name of the directory below [`directory`] into which its packages are unpacked.
pub const ROOT: &str = "root";

/// Where `cargo xtask setup` puts it.
pub fn directory() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let cache = env::var_os("AXION_CACHE").map_or_else(|| home().join(".cache/axion"), PathBuf::from);
    cache.join("qemu")
}

#[cfg(test)]
mod tests;
