//! The root as EROFS, packed by trixie's `mkfs.erofs`: the host's may know no zstd.
//!
//! What the API waits for is packed by lz4, which costs next to nothing to read. What is read late or on few nodes (the console, the VMM, the
//! guest's kernel, ZFS, the list of packages) is packed by zstd and smaller.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::step::Step;
use crate::{debian, layout};

/// Largest piece that is packed by itself, bytes.
const CLUSTER: u32 = 65_536;

/// Files that zstd packs, as regular expressions of their paths.
const LATE: [&str; 8] = [
    "^usr/lib/axion/axion-console$",
    "^usr/lib/axion/axion-vmm$",
    "^usr/lib/axion/boot/",
    "^usr/share/axion/guest/",
    "^usr/share/axion/sbom.spdx.json$",
    "^usr/lib/x86_64-linux-gnu/",
    "^usr/lib/modules/.*/(spl|zfs).ko$",
    "^usr/sbin/",
];

/// Packs `root` into the file `erofs`.
pub fn make(step: &Step, root: &Path, erofs: &Path) -> Result<()> {
    drop(fs::remove_file(erofs));
    let mut hints = tempfile::NamedTempFile::new()?;
    for pattern in LATE {
        // The second of the algorithms below.
        std::io::Write::write_fmt(&mut hints, format_args!("{CLUSTER} 1 {pattern}\n"))?;
    }
    step.run(
        program(step, "mkfs.erofs")?
            .args(["-zlz4hc,12:zstd,level=22", "--all-root", "-Enoinline_data"])
            .arg(format!("-C{CLUSTER}"))
            .arg(format!("--compress-hints={}", hints.path().display()))
            .arg(format!("-T{}", layout::SOURCE_DATE_EPOCH))
            // A fixed UUID: two builds of the same inputs give the same bytes.
            .args(["-U", "6178696f-6e00-4000-8000-726f6f740000"])
            .arg(erofs)
            .arg(root),
    )
}

/// Packs `root` into the file `erofs` as it is, for a machine that lives for a measurement.
pub fn make_plain(step: &Step, root: &Path, erofs: &Path) -> Result<()> {
    drop(fs::remove_file(erofs));
    step.run(
        program(step, "mkfs.erofs")?
            .arg("--all-root")
            .arg(erofs)
            .arg(root),
    )
}

/// Unpacks the file `erofs` into the directory `root`, which is made.
pub fn unpack(step: &Step, erofs: &Path, root: &Path) -> Result<()> {
    let mut extract = OsString::from("--extract=");
    extract.push(root);
    step.run(
        program(step, "fsck.erofs")?
            .arg(extract)
            .arg("--no-preserve")
            .arg(erofs),
    )
}

/// A program of the package.
fn program(step: &Step, name: &str) -> Result<Command> {
    let programs = programs(step)?;
    let mut command = Command::new(programs.join("usr/lib64/ld-linux-x86-64.so.2"));
    command
        .arg("--library-path")
        .arg(programs.join("usr/lib/x86_64-linux-gnu"))
        .arg(programs.join("usr/bin").join(name));
    Ok(command)
}

/// Where `mkfs.erofs` is with all that it is linked with; it is fetched once.
fn programs(step: &Step) -> Result<PathBuf> {
    let directory = layout::cache().join("erofs-utils");
    if directory.join("usr/bin/mkfs.erofs").exists() {
        return Ok(directory);
    }
    let parent = directory.parent().context("the cache has no parent directory")?;
    fs::create_dir_all(parent)?;
    let new = tempfile::tempdir_in(parent)?;
    debian::unpack_closure(step, debian::FREE, &["erofs-utils"], new.path())?;
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::rename(new.keep(), &directory)?;
    Ok(directory)
}
