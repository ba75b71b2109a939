//! A root directory with nothing in it but what the process still needs.
//!
//! Without it, a mount namespace of the process's own would keep every file system of the host mounted for as long as the
//! guest runs: a pool could not be exported, a dataset not destroyed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::{Mode, umask};
use nix::unistd::pivot_root;

/// Where the host's root is, for a moment.
const OLD: &str = "old";

/// Replaces the root directory by an empty, read-only one that has `kept` at their places. The process needs a mount
/// namespace of its own, and `run_dir`, which has no symbolic link in it, for a mount point.
pub fn replace(run_dir: &Path, kept: &[&Path]) -> io::Result<()> {
    // The process's own would let nobody enter a directory.
    let own = umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let replaced = turn(run_dir, kept);
    umask(own);
    replaced
}

fn turn(run_dir: &Path, kept: &[&Path]) -> io::Result<()> {
    let safe = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    // Nothing that is done here reaches the host.
    attach(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_SLAVE)?;
    mount(
        Some("tmpfs"),
        run_dir,
        Some("tmpfs"),
        safe,
        Some("mode=0755,size=64k"),
    )?;
    let old = run_dir.join(OLD);
    let turned = fs::create_dir(&old).and_then(|()| Ok(pivot_root(run_dir, &old)?));
    if let Err(error) = turned {
        umount2(run_dir, MntFlags::MNT_DETACH)?;
        return Err(error);
    }
    std::env::set_current_dir("/")?;
    let old = Path::new("/").join(OLD);
    for path in kept {
        let source: PathBuf = path
            .strip_prefix("/")
            .map_or_else(|_| old.join(path), |path| old.join(path));
        // What the host does not have is not missed.
        if source.exists() {
            fs::create_dir_all(path)?;
            attach(Some(&source), path, MsFlags::MS_BIND)?;
        }
    }
    umount2(&old, MntFlags::MNT_DETACH)?;
    fs::remove_dir(&old)?;
    let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    attach(None, Path::new("/"), read_only | safe)
}

fn attach(source: Option<&Path>, target: &Path, flags: MsFlags) -> io::Result<()> {
    const NONE: Option<&str> = None;
    Ok(mount(source, target, NONE, flags, NONE)?)
}
