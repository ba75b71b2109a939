//! The root file system: mounted from a file of the initramfs, made `/`, and entered.

use std::convert::Infallible;
use std::ffi::CStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::mount::{MsFlags, mount as mount_call};
use nix::unistd::{chdir, chroot, fexecve};

use crate::files::{self, Access, FileError};
use crate::install::KEPT;
use crate::mounts::{Mount, MountError, STAGE1};

/// The root file system in the initramfs.
pub const IMAGE: &str = "/axion/root.erofs";
/// The last file of the initramfs, beside the image. The kernel unpacks an archive that breaks off without a word, and
/// gives the file that it broke off in its full length, of zeros.
pub const LAST: &str = "/axion/whole";
const NEW_ROOT: &str = "/newroot";

/// Where the EROFS super block is, and what it begins with (Linux, fs/erofs/erofs_fs.h).
const SUPER_BLOCK: u64 = 1024;
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
    /// Files are missing.
    #[error("the initramfs is cut off: it ends before its last file, {0}")]
    CutOff(String),
    /// The kernel does not take it.
    #[error("the kernel refuses the file system; the kernel log says what is wrong with it")]
    Mount(#[from] MountError),
    /// The switch.
    #[error("cannot switch to the root file system: {0} failed")]
    Switch(&'static str, #[source] std::io::Error),
    /// The initramfs.
    #[error("cannot keep the initramfs in sight")]
    Keep(#[source] std::io::Error),
    /// A directory.
    #[error(transparent)]
    Directory(#[from] FileError),
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
    let mut magic = [0; MAGIC.len()];
    if file.read_exact_at(&mut magic, SUPER_BLOCK).is_err() || magic != MAGIC {
        return Err(RootError::NoErofs(path));
    }
    let last = Path::new(LAST).file_name().map(|name| image.with_file_name(name));
    let last = last.unwrap_or_else(|| LAST.into());
    if last.exists() {
        Ok(())
    } else {
        Err(RootError::CutOff(last.display().to_string()))
    }
}

/// Keeps the initramfs in sight of root alone, as it may hold the documents of a config: what is in it is in memory all the same.
///
/// # Errors
/// The kernel refuses.
pub fn keep_initramfs() -> Result<(), RootError> {
    let failed = |e: nix::Error| RootError::Keep(e.into());
    let root_only = Access {
        uid: 0,
        gid: 0,
        mode: 0o700,
    };
    let above = Path::new(KEPT).parent().unwrap_or(Path::new(KEPT));
    files::directory(above, root_only).map_err(RootError::Directory)?;
    std::fs::create_dir_all(KEPT).map_err(RootError::Keep)?;
    let bind = |flags: MsFlags| {
        let flags = MsFlags::MS_BIND.union(flags);
        mount_call(Some("/"), KEPT, None::<&str>, flags, None::<&str>).map_err(failed)
    };
    bind(MsFlags::empty())?;
    // A bind mount gets flags of its own only in a second step (mount(2)).
    let read_only = MsFlags::MS_REMOUNT.union(MsFlags::MS_RDONLY);
    bind(
        read_only
            .union(MsFlags::MS_NODEV)
            .union(MsFlags::MS_NOSUID)
            .union(MsFlags::MS_NOEXEC),
    )
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
