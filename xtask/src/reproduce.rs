//! Reproducible to the byte: everything but the kernels is built twice, in different directories, and compared.
//!
//! ```text
//! cargo xtask test       root, image and media once more, of copies of the programs and of the sources  ─┐
//! cargo xtask reproduce  the programs, too: in a clone of the checkout, with a target directory of its own ┴─> compare
//! ```
//! Products are compared in the order in which they are made, so that the first one that differs is where the difference comes
//! from. The kernels are taken from the cache: they are built in one place ([`crate::cache`]).

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use sha2::{Digest, Sha256};

use crate::rootfs::Inputs;
use crate::step::{Step, output};
use crate::{image, layout, media, programs};

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
}

/// Builds twice, and compares.
pub fn reproduce(options: &Options) -> Result<()> {
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
fn compare(first: &Path, second: &Path, files: &[&str]) -> Result<usize> {
    for name in files {
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
