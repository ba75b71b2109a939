//! The bootable image: `vmlinuz` and `initramfs.cpio`, the same pair for every medium.
//!
//! The initramfs is an uncompressed cpio of `/init` and the root as EROFS, which is compressed itself and is
//! read where it lies, so that a boot decompresses only what it uses. `kexec.cpio` is the kernel once more, for a machine whose
//! boot profile needs the kernel started again: by then, what the loader read is nowhere to be had. Loaders put it behind
//! the initramfs; the kernel unpacks one after the other.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use cpio::newc::Builder;
use serde::Serialize;

use crate::rootfs::{self, Inputs};
use crate::step::Step;
use crate::{firmware, layout};

/// Where the image is.
pub struct Image {
    /// Directory with `vmlinuz`, `initramfs.cpio`, `kexec.cpio`, `floor.cpio`, `busy.cpio`, `guest/`.
    pub dir: PathBuf,
}

/// Bytes of each part of the image.
#[derive(Debug, Clone, Serialize)]
struct Sizes {
    vmlinuz: u64,
    initramfs: u64,
    zfs: u64,
    root_erofs: u64,
    init: u64,
    agent: u64,
    console: u64,
    vmm: u64,
    guest_kernel: u64,
    guest_initrd: u64,
}

/// What is in the image besides what always is.
#[derive(Args, Debug, Clone, Copy, Default)]
#[group(id = "contents")]
pub struct Options {
    /// Firmware that built-in drivers declare, and CPU microcode: Debian's non-free-firmware, not free software
    #[arg(long)]
    with_firmware: bool,
}

/// Builds the image, or finds that nothing has changed.
pub fn build() -> Result<Image> {
    build_with(&Options::default(), None)
}

/// The same with more in it, of an image that takes updates that the public key `update_key` has signed.
pub fn build_with(options: &Options, update_key: Option<&str>) -> Result<Image> {
    build_of(&Inputs::build()?, layout::products(), options, update_key)
}

/// Builds the image of `inputs` in the directory `dir`.
pub fn build_of(inputs: &Inputs, dir: PathBuf, options: &Options, update_key: Option<&str>) -> Result<Image> {
    let root = rootfs::build(inputs, &dir, update_key)?;
    let firmware = if options.with_firmware {
        Some(firmware::build(&inputs.kernel)?)
    } else {
        None
    };
    let program = |name: &str| inputs.programs.join(name);
    let step = Step::start("image")?;
    let staging = dir.join("staging-initramfs");
    drop(fs::remove_dir_all(&staging));
    fs::create_dir_all(staging.join("axion"))?;
    fs::copy(program("axion-init"), staging.join("init"))?;
    fs::hard_link(&root.erofs, staging.join("axion/root.erofs"))?;
    // The last name: an archive that has it is whole.
    fs::write(staging.join("axion/whole"), "")?;
    let mut initramfs = cpio(&staging)?;
    drop(fs::remove_file(dir.join("firmware.spdx.json")));
    if let Some(firmware) = &firmware {
        fs::write(dir.join("firmware.spdx.json"), &firmware.sbom)?;
        initramfs = [firmware.microcode.as_slice(), &initramfs].concat();
        initramfs.resize(initramfs.len().next_multiple_of(512), 0);
        initramfs.extend(&firmware.files);
    }
    fs::write(dir.join("initramfs.cpio"), initramfs)?;
    fs::remove_dir_all(&staging)?;
    fs::create_dir_all(staging.join("axion"))?;
    fs::copy(inputs.kernel.dir.join("vmlinuz"), staging.join("axion/vmlinuz"))?;
    fs::write(dir.join("kexec.cpio"), cpio(&staging)?)?;
    fs::remove_dir_all(&staging)?;
    for (program, archive) in [("axion-floor", "floor.cpio"), ("axion-busy", "busy.cpio")] {
        fs::create_dir_all(&staging)?;
        fs::copy(inputs.programs.join(program), staging.join("init"))?;
        fs::write(dir.join(archive), cpio(&staging)?)?;
        fs::remove_dir_all(&staging)?;
    }
    fs::copy(inputs.kernel.dir.join("vmlinuz"), dir.join("vmlinuz"))?;
    step.done();

    let size = |path: &Path| {
        fs::metadata(path)
            .map(|m| m.len())
            .with_context(|| path.display().to_string())
    };
    let sizes = Sizes {
        vmlinuz: size(&dir.join("vmlinuz"))?,
        initramfs: size(&dir.join("initramfs.cpio"))?,
        zfs: size(&root.erofs)?.saturating_sub(size(&root.erofs_without_zfs)?),
        root_erofs: size(&root.erofs)?,
        init: size(&program("axion-init"))?,
        agent: size(&program("axion-agent"))?,
        console: size(&program("axion-console"))?,
        vmm: size(&program("axion-vmm"))?,
        guest_kernel: size(&inputs.guest_kernel.dir.join("vmlinux"))?,
        guest_initrd: size(&root.guest_initrd)?,
    };
    fs::write(dir.join("sizes.json"), serde_json::to_string_pretty(&sizes)?)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    eprintln!(
        "  image: {:.1} MiB, {:.1} without ZFS, at most 40 (kernel {:.1}, initramfs {:.1}) in {}",
        mib(sizes.vmlinuz + sizes.initramfs),
        mib(sizes.vmlinuz + sizes.initramfs - sizes.zfs),
        mib(sizes.vmlinuz),
        mib(sizes.initramfs),
        dir.display()
    );
    Ok(Image { dir })
}

/// A directory as a cpio archive in the kernel's "newc" format (Documentation/driver-api/early-userspace), owned by root,
/// with one time stamp, sorted; directories and regular files. Files come before directories: of an archive that arrives cut
/// off, `/init` is there to say so.
pub fn cpio(dir: &Path) -> Result<Vec<u8>> {
    let mut archive = Vec::new();
    for (inode, entry) in walkdir::WalkDir::new(dir)
        .min_depth(1)
        .sort_by(|a, b| {
            let key = |e: &walkdir::DirEntry| (e.file_type().is_dir(), e.file_name().to_owned());
            key(a).cmp(&key(b))
        })
        .into_iter()
        .enumerate()
    {
        let entry = entry?;
        let name = entry.path().strip_prefix(dir)?.to_string_lossy().into_owned();
        let (mode, content) = if entry.file_type().is_dir() {
            (0o40_755, Vec::new())
        } else {
            let mode = 0o100_000 | (entry.metadata()?.permissions().mode() & 0o755);
            (
                mode,
                fs::read(entry.path()).with_context(|| entry.path().display().to_string())?,
            )
        };
        let mut file = Builder::new(&name)
            .ino(u32::try_from(inode)? + 1)
            .mode(mode)
            .mtime(layout::SOURCE_DATE_EPOCH)
            .write(&mut archive, u32::try_from(content.len())?);
        file.write_all(&content)?;
        file.finish()?;
    }
    cpio::newc::trailer(&mut archive)?;
    Ok(archive)
}
