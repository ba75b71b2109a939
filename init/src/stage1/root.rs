//! The root file system: mounted from a file of the initramfs, made `/`, and entered.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::mount::{MsFlags, mount as mount_call};
use nix::unistd::{chdir, chroot, fexecve};

use crate::mounts::{Mount, MountError, STAGE1};

/// The root file system in the initramfs.
pub const IMAGE: &str = "/axion/root.erofs";
const NEW_ROOT: &str = "/newroot";

/// Where the EROFS super block is, what it begins with, and where in it the block size (as a power of two) and the number
/// of blocks are (Linux, fs/erofs/erofs_fs.h).
const SUPER_BLOCK: u64 = 1024;
const MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();
const BLOCK_BITS: usize = 12;
const BLOCKS: usize = 36;

/// The root file system cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// The file.
    #[error("cannot read {path} in the initramfs")]
    Read {
        /// File.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file's contents.
    #[error("{0} in the initramfs is no EROFS file system: its super block is missing")]
    NoErofs(String),
    /// The file's length.
    #[error("{path} in the initramfs is cut off: {length} of {wanted} bytes are there")]
    Short {
        /// File.
        path: String,
        /// Bytes that are there.
        length: u64,
        /// Bytes that the super block speaks of.
        wanted: u64,
    },
    /// The kernel does not take it.
    #[error("the kernel refuses the file system; the kernel log says what is wrong with it")]
    Mount(#[from] MountError),
    /// The switch.
    #[error("cannot switch to the root file system: {0} failed")]
    Switch(&'static str, #[source] std::io::Error),
    /// Stage 2.
    #[error("cannot start stage 2")]
    Run(#[source] std::io::Error),
}

/// Mounts the root file system from `image`.
///
/// # Errors
/// The file is missing, is no EROFS, or the kernel finds it damaged.
pub fn mount(image: &Path) -> Result<(), RootError> {
    check(image)?;
    let root = Mount {
        source: IMAGE,
        target: NEW_ROOT,
        kind: "erofs",
        flags: MsFlags::MS_RDONLY.union(MsFlags::MS_NODEV),
        options: "",
    };
    // EROFS reads a file of a ramfs where it lies, but not one of a tmpfs: the kernel's built-in arguments say
    // `rootfstype=ramfs`.
    Ok(root.perform_at(Path::new(NEW_ROOT), &image.to_string_lossy())?)
}

/// Tells a missing, a foreign and a cut-off file apart, which mount(2) does not; the kernel notices the last one only
/// when a program that runs misses a page.
fn check(image: &Path) -> Result<(), RootError> {
    let path = image.display().to_string();
    let failed = |source| RootError::Read {
        path: path.clone(),
        source,
    };
    let file = File::open(image).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut block = [0; BLOCKS + 4];
    let read = file.read_exact_at(&mut block, SUPER_BLOCK);
    let wanted = read
        .ok()
        .and_then(|()| size(&block))
        .ok_or_else(|| RootError::NoErofs(path.clone()))?;
    if length < wanted {
        return Err(RootError::Short { path, length, wanted });
    }
    Ok(())
}

/// Bytes of the file system, by its super block.
fn size(block: &[u8; BLOCKS + 4]) -> Option<u64> {
    let bits = u32::from(*block.get(BLOCK_BITS)?);
    let blocks = u32::from_le_bytes(block.get(BLOCKS..)?.try_into().ok()?);
    let known = block.starts_with(&MAGIC) && (9..=16).contains(&bits);
    known.then(|| u64::from(blocks) << bits)
}

/// Takes the mounts along, makes the new root `/`, and becomes stage 2.
///
/// Stage 2 is this same program: what it needs of the file is in memory already, while a copy in the root would have to be
/// read and decompressed.
///
/// # Errors
/// The kernel refuses a step.
pub fn switch_and_run() -> Result<Infallible, RootError> {
    let failed = |step| move |e: nix::Error| RootError::Switch(step, e.into());
    let program = File::open("/proc/self/exe").map_err(RootError::Run)?;
    for mounted in STAGE1 {
        let target = format!("{NEW_ROOT}{}", mounted.target);
        mount_call(
            Some(mounted.target),
            target.as_str(),
            None::<&str>,
            MsFlags::MS_MOVE,
            None::<&str>,
        )
        .map_err(failed("moving a mount"))?;
    }
    chdir(NEW_ROOT).map_err(failed("chdir"))?;
    mount_call(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(failed("moving the root"))?;
    chroot(".").map_err(failed("chroot"))?;
    chdir("/").map_err(failed("chdir"))?;
    let none: [&CStr; 0] = [];
    fexecve(&program, &[c"axion-init", c"--stage2"], &none).map_err(|e| RootError::Run(e.into()))
}

#[cfg(test)]
mod tests;
