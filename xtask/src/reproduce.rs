//! Reproducible to the byte: everything is built twice, in different directories, and compared.
//!
//! ```text
//! cargo xtask test                 root, image and media once more, of copies of the programs and of the sources     ─┐
//! cargo xtask reproduce            the programs, too: in a clone of the checkout, with a target directory of its own  ├─> compare
//! cargo xtask reproduce --kernels  the kernels and OpenZFS's modules: in an empty cache, without a compiler's cache  ─┘
//! ```
//! Products are compared in the order in which they are made, so that the first one that differs is where the difference comes
//! from. Only `--kernels` builds kernels: the others take them from the cache ([`crate::cache`]).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sha2::{Digest, Sha256};

use crate::kernel::{GUEST, HOST};
use crate::rootfs::Inputs;
use crate::step::{Step, output};
use crate::{image, layout, media, programs, zfs};

/// Products of the image, in the order in which they are made.
const IMAGE: [&str; 13] = [
    "systemd-bootx64.efi",
    "grub-boot.img",
    "grub-core.img",
    "guest/initrd",
    "sbom.spdx.json",
    "root-without-zfs.erofs",
    "root.erofs",
    "initramfs.cpio",
    "kexec.cpio",
    "floor.cpio",
    "busy.cpio",
    "vmlinuz",
    "sizes.json",
];
/// Products of the media that the others are made of; the rest is compared behind them.
const MEDIA_FIRST: [&str; 2] = ["loaders.spdx.json", "axion.efi"];

/// Options of `reproduce`.
#[derive(Args)]
pub struct Options {
    /// Leave out compiling: build root, image and media once more, of the same programs
    #[arg(long)]
    quick: bool,
    /// Build the kernels and OpenZFS's modules once more instead, in an empty cache (half an hour or more)
    #[arg(long, conflicts_with = "quick")]
    kernels: bool,
}

/// Builds twice, and compares.
pub fn reproduce(options: &Options) -> Result<()> {
    if options.kernels {
        return kernels();
    }
    image::build()?;
    media::media(&media::Options::default())?;
    if options.quick { elsewhere() } else { in_a_clone() }
}

/// Builds root, image and media once more, of copies in another directory, and compares them with those that are there.
pub fn elsewhere() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let inputs = Inputs::build()?.copied(&dir.path().join("copies"))?;
    let image = image::build_of(
        &inputs,
        dir.path().join("image"),
        &image::Options::default(),
        None,
    )?;
    media::media(&media::Options::of(&image.dir, &dir.path().join("media")))?;
    let step = Step::start("comparing two builds")?;
    let products = layout::products();
    let count = compare(&products, &image.dir, &IMAGE)?
        + compare(
            &products.join("media"),
            &dir.path().join("media"),
            &media_products(),
        )?;
    step.done();
    eprintln!("  {count} products are the same, byte for byte, in two builds");
    Ok(())
}

/// Builds everything once more in a clone, and compares.
fn in_a_clone() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // Another length of path, and another depth.
    let clone = dir.path().join("another/place/for/a/checkout");
    let step = Step::start("clone")?;
    copy_checkout(&clone)?;
    let xtask = |task: &str| {
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(&clone)
            .args(["run", "--quiet", "--locked", "--package", "xtask", "--", task])
            .env("CARGO_TARGET_DIR", dir.path().join("target"));
        cargo
    };
    step.run(&mut xtask("image"))?;
    step.run(&mut xtask("media"))?;
    step.done();
    let (first, second) = (layout::products(), dir.path().join("target/axion"));
    let (mine, other) = (
        programs::directory(),
        dir.path().join("target").join(programs::BELOW),
    );
    let count = compare(&mine, &other, &programs::IN_IMAGE)?
        + compare(&first, &second, &IMAGE)?
        + compare(&first.join("media"), &second.join("media"), &media_products())?;
    println!("{count} products are the same, byte for byte, in two builds");
    Ok(())
}

/// Builds the kernels and OpenZFS's modules once more in an empty cache, and compares every file of them.
fn kernels() -> Result<()> {
    let here = layout::cache();
    let products = [
        GUEST.build()?.dir,
        HOST.build()?.dir,
        zfs::build(&HOST.build()?)?.dir,
    ];
    let dir = tempfile::tempdir()?;
    // Another length of path, and another depth.
    let there = dir.path().join("another/place/for/a/cache");
    let step = Step::start("kernels in an empty cache")?;
    for task in ["guest-kernel", "zfs-modules"] {
        let xtask = std::env::current_exe().context("finding this program")?;
        step.run(Command::new(xtask).arg(task).env("AXION_CACHE", &there))?;
    }
    step.done();
    let mut count = 0;
    for product in products {
        let name = product
            .strip_prefix(&here)
            .with_context(|| format!("{} is not in the cache", product.display()))?;
        let (files, again) = (files(&product)?, files(&there.join(name))?);
        ensure!(
            files == again,
            "{}: two builds have not the same files: {files:?}, {again:?}",
            name.display()
        );
        count += compare(&product, &there.join(name), &files)?;
    }
    println!("{count} files of kernels and modules are the same, byte for byte, in two builds");
    Ok(())
}

/// Files below a directory, by name.
fn files(dir: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
        let entry = entry.with_context(|| format!("reading {}", dir.display()))?;
        if entry.file_type().is_file() {
            names.push(entry.path().strip_prefix(dir)?.display().to_string());
        }
    }
    Ok(names)
}

/// Copies what is under version control, as it is in the working directory.
fn copy_checkout(to: &Path) -> Result<()> {
    let root = layout::root();
    let list = output(Command::new("git").current_dir(&root).args(["ls-files", "-z"]))?;
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        let (from, to) = (root.join(name), to.join(name));
        if let Some(dir) = to.parent() {
            fs::create_dir_all(dir)?;
        }
        // With its mode.
        fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}

fn media_products() -> Vec<&'static str> {
    let rest = media::PRODUCTS
        .into_iter()
        .filter(|name| !MEDIA_FIRST.contains(name));
    MEDIA_FIRST
        .into_iter()
        .chain(rest)
        .chain(["SHA256SUMS"])
        .collect()
}

/// Compares files of two directories; gives how many.
fn compare<N: AsRef<str>>(first: &Path, second: &Path, files: &[N]) -> Result<usize> {
    for name in files.iter().map(AsRef::as_ref) {
        let read = |dir: &Path| {
            let path = dir.join(name);
            fs::read(&path).with_context(|| format!("reading {}", path.display()))
        };
        let (one, other) = (read(first)?, read(second)?);
        if one != other {
            let same = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
            let digest = |content: &[u8]| hex::encode(Sha256::digest(content));
            bail!(
                "{name} differs between two builds from byte {same} on:\n  {} {} bytes in {}\n  {} {} bytes in {}",
                digest(&one),
                one.len(),
                first.display(),
                digest(&other),
                other.len(),
                second.display()
            );
        }
    }
    ensure!(!files.is_empty(), "nothing was compared");
    Ok(files.len())
}

#[cfg(test)]
mod tests;
