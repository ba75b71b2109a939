//! The root file system: mounted from a file of the initramfs, made `/`, and entered.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use axion_core::paths;
use nix::mount::{MsFlags, mount as mount_call};
use nix::unistd::{chdir, chroot, execv};

use crate::mounts::{Mount, MountError, STAGE1};

/// The root file system in the initramfs.
pub const IMAGE: &str = "/axion/root.erofs";
const NEW_ROOT: &str = "/newroot";

/// Where the EROFS super block is, and what it begins with (Documentation/filesystems/erofs.rst).
const SUPER_BLOCK: usize = 1024;
const MAGIC: [u8; 4] = 0xe0f5_e1e2_u32.to_le_bytes();

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
    /// The kernel does not take it.
    #[error("the kernel refuses the file system; the kernel log says what is wrong with it")]
    Mount(#[from] MountError),
    /// The switch.
    #[error("cannot switch to the root file system: {0} failed")]
    Switch(&'static str, #[source] std::io::Error),
    /// Stage 2.
    #[error("cannot run {init} from the root file system", init = paths::INIT)]
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
    Ok(root.perform_at(Path::new(NEW_ROOT), &image.to_string_lossy())?)
}

/// Tells a missing or foreign file from a damaged one, which mount(2) does not.
fn check(image: &Path) -> Result<(), RootError> {
    let name = || image.display().to_string();
    let failed = |source| RootError::Read { path: name(), source };
    let mut start = Vec::new();
    let limit = (SUPER_BLOCK + MAGIC.len()).try_into().unwrap_or(u64::MAX);
    File::open(image)
        .map_err(failed)?
        .take(limit)
        .read_to_end(&mut start)
        .map_err(failed)?;
    if start.get(SUPER_BLOCK..) == Some(MAGIC.as_slice()) {
        Ok(())
    } else {
        Err(RootError::NoErofs(name()))
    }
}

/// Takes the mounts along, makes the new root `/`, and becomes stage 2.
///
/// # Errors
/// The kernel refuses a step, or stage 2 is not there.
pub fn switch_and_run() -> Result<Infallible, RootError> {
    let failed = |step| move |e: nix::Error| RootError::Switch(step, e.into());
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
    // Its memory is free once stage 2 runs; the root's file has to stay.
    let _ = std::fs::remove_file("/init");
    chdir(NEW_ROOT).map_err(failed("chdir"))?;
    mount_call(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)
        .map_err(failed("moving the root"))?;
    chroot(".").map_err(failed("chroot"))?;
    chdir("/").map_err(failed("chdir"))?;
    let argument = |text: &str| CString::new(text).map_err(|e| RootError::Run(e.into()));
    let program = argument(paths::INIT)?;
    execv(&program, &[program.clone(), argument("--stage2")?]).map_err(|e| RootError::Run(e.into()))
}

#[cfg(test)]
mod tests;
