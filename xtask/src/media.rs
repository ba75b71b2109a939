//! Boot media: the image's kernel and initramfs as what machines boot from.
//!
//! ```text
//! vmlinuz, initramfs.cpio ─┬─> axion.efi   UKI: UEFI boots it as it is                       (axion_install::uki)
//!                          ├─> axion.ipxe  script beside the two files, for PXE
//!               iPXE ──────┼─> undionly.kpxe, snponly.efi: what firmware loads to run a script, for BIOS and UEFI
//! axion.efi, GRUB ─────────┼─> axion.iso   CD or USB stick: El Torito, MBR, ESP              (media/iso.rs)
//!                          └─> axion.img   disk: AXION-CFG, ESP, BIOS boot partition         (media/disk.rs)
//!                              SHA256SUMS, and minisign signatures of it and of axion.efi,
//!                              which updates a node, if there is a key                       (media/sums.rs)
//! ```
//! UEFI starts the UKI itself, without a loader in between; only BIOS needs one (`media/grub.rs`), and firmware that is to be
//! given the keys of Secure Boot (`media/secure_boot.rs`). Nothing here needs root, and the same inputs give the same bytes: times,
//! identifiers and the order of files are fixed. Signatures alone differ: minisign's have a random part, Secure Boot's the time.

mod disk;
pub mod fat;
pub mod grub;
mod iso;
mod secure_boot;
mod sums;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use axion_core::cmdline::loader;
use axion_install::bios;
use axion_install::uki::{self, PcrPolicy};
use clap::Args;

use crate::step::Step;
use crate::{debian, image, layout, programs, sbom, setup};

use secure_boot::Owner;
pub use sums::Key;

/// Directory of kernel and initramfs on the ISO and on the ESP, where GRUB finds them.
const BOOT_FILES: &str = "axion";
/// Where UEFI looks on a medium that its boot variables do not name (UEFI 2.10 §3.5.1.1).
const REMOVABLE_PATH: &str = "EFI/BOOT/BOOTX64.EFI";
/// What is handed out, besides the sums.
pub const PRODUCTS: [&str; 9] = [
    "axion.efi",
    "axion.img",
    "axion.ipxe",
    "axion.iso",
    "initramfs.cpio",
    "loaders.spdx.json",
    "snponly.efi",
    "undionly.kpxe",
    "vmlinuz",
];
/// What of it updates a node, and is signed by itself for that.
const UPDATE: [&str; 1] = ["axion.efi"];
/// The list of firmware, where there is any.
const FIRMWARE: &str = "firmware.spdx.json";
const STUB_PACKAGE: &str = "systemd-boot-efi";
const IPXE_PACKAGE: &str = "ipxe";
/// Programs of iPXE that use the firmware's own network driver, and so work with whatever card the firmware boots by.
const IPXE: [&str; 2] = ["snponly.efi", "undionly.kpxe"];
const IPXE_DIR: &str = "usr/lib/ipxe";
const STUB: &str = "usr/lib/systemd/boot/efi/linuxx64.efi.stub";

/// Options of `media`.
#[derive(Args, Default)]
pub struct Options {
    /// Secret key (minisign) that signs SHA256SUMS and axion.efi, and that nodes with this image take updates from;
    /// `cargo xtask keys` makes one
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Directory with the keys of Secure Boot that sign what machines start; `cargo xtask keys --secure-boot DIR` makes one
    #[arg(long, value_name = "DIR")]
    secure_boot: Option<PathBuf>,
    /// What the media tell the kernel besides `console=tty0`: axion.config=URL, axion.mode=install. Under Secure Boot
    /// nothing else can say it
    #[arg(long, value_name = "TEXT", default_value = "")]
    arguments: String,
    /// Directory with the vmlinuz and initramfs.cpio to take, instead of building them
    #[arg(long, value_name = "DIR", conflicts_with = "with_firmware")]
    image: Option<PathBuf>,
    #[command(flatten)]
    contents: image::Options,
    /// Directory to write to, instead of target/axion/media
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

impl Options {
    /// Media of the image in `image`.
    pub fn of(image: &Path, to: &Path) -> Self {
        Self {
            image: Some(image.to_owned()),
            to: Some(to.to_owned()),
            ..Self::default()
        }
    }

    /// Media of the image in `image`, signed with the keys in `keys`.
    pub fn signed(image: &Path, keys: &Path, to: &Path) -> Self {
        Self {
            secure_boot: Some(keys.to_owned()),
            ..Self::of(image, to)
        }
    }
}

/// Builds the media.
pub fn media(options: &Options) -> Result<()> {
    loader::check(&options.arguments).context("--arguments")?;
    // A key that cannot be used, or a password that is not known, should not cost a build.
    let key = options.key.as_deref().map(Key::read).transpose()?;
    let owner = options.secure_boot.as_deref().map(Owner::open).transpose()?;
    setup::install(&setup::Options::default())?;
    let image = match &options.image {
        Some(dir) => dir.clone(),
        None => {
            let trusted = key.as_ref().map(Key::public).transpose()?;
            image::build_with(&options.contents, trusted.as_deref())?.dir
        }
    };
    let to = options.to.clone();
    let to = to.unwrap_or_else(|| layout::products().join("media"));
    let signers = Signers { key, owner };
    build(&image, &to, &options.arguments, &signers)
}

/// What to type next, for whoever has built the media.
pub fn say_next(options: &Options) {
    let axctl = programs::path("axctl");
    // Whoever brings an image may have built nothing here.
    if axctl.exists() {
        let to = options.to.clone();
        let to = to.unwrap_or_else(|| layout::products().join("media"));
        println!("{}", next(&axctl, &to));
    }
}

fn next(axctl: &Path, media: &Path) -> String {
    let (program, media) = (axctl.display(), media.display());
    format!(
        "  axctl: {program}\n    \
         sudo install -m 755 {program} /usr/local/bin/\n  \
         a stick:\n    \
         axctl media disks\n    \
         sudo axctl media write {media}/axion.img --disk ID\n  \
         over the network:\n    \
         sudo axctl netboot serve {media}"
    )
}

/// Who signs, if anybody.
#[derive(Default)]
struct Signers {
    /// For people.
    key: Option<Key>,
    /// For firmware.
    owner: Option<Owner>,
}

/// Archives one behind the other: an initramfs.
struct Archives(Vec<u8>);

impl Archives {
    /// Where an archive begins, as the installer has it.
    const BLOCK: usize = 512;

    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn push(&mut self, archive: &[u8]) {
        self.0.resize(self.0.len().next_multiple_of(Self::BLOCK), 0);
        self.0.extend_from_slice(archive);
    }
}

/// Builds the media of the kernel and initramfs in `image` into the directory `to`.
fn build(image: &Path, to: &Path, arguments: &str, signers: &Signers) -> Result<()> {
    let step = Step::start("media")?;
    let to = std::path::absolute(to)?;
    let staging = to.join("staging");
    drop(fs::remove_dir_all(&staging));
    fs::create_dir_all(&staging)?;
    let mut packages = debian::fetch_all(
        &step,
        &[&[STUB_PACKAGE, IPXE_PACKAGE], &grub::PACKAGES[..]].concat(),
    )?;
    let stub = packages.remove(0);
    stub.unpack(&step, &staging.join("stub"))?;
    let ipxe = packages.remove(0);
    ipxe.unpack(&step, &staging.join("ipxe"))?;
    let grub = grub::unpack(&step, &packages, &staging.join("grub"))?;

    let base = read_text("cmdline")?.trim().to_owned();
    let cmdline = format!("{base} {arguments}").trim_end().to_owned();
    let kernel = read(&image.join("vmlinuz"))?;
    // Media are for any boot profile.
    let mut archives = Archives(read(&image.join("initramfs.cpio"))?);
    archives.push(&read(&image.join("kexec.cpio"))?);
    let efi_stub = read(&staging.join("stub").join(STUB))?;
    let os_release = read(&layout::root().join("rootfs/root/etc/os-release"))?;
    let assemble = |cmdline: &str, archives: &Archives, policy: Option<&PcrPolicy>| -> Result<Vec<u8>> {
        let parts = uki::Parts {
            os_release: &os_release,
            cmdline,
            kernel: &kernel,
            initramfs: archives.bytes(),
            policy,
        };
        Ok(uki::assemble(&efi_stub, &parts)?)
    };
    // What an installer puts together tells the kernel nothing but this.
    let of_slot = |archives: &Archives, policy: Option<&PcrPolicy>| assemble(&base, archives, policy);
    let loader = match &signers.owner {
        Some(owner) => owner.sign_image(&step, &kernel, &mut archives, of_slot, &staging)?,
        None => Vec::new(),
    };
    let sign = |program: Vec<u8>| match &signers.owner {
        Some(owner) => Ok(owner.sign(&step, &program)?.attach(&program)?),
        None => Ok::<_, anyhow::Error>(program),
    };
    let of_medium = |policy: Option<&PcrPolicy>| assemble(&cmdline, &archives, policy);
    let efi = sign(match &signers.owner {
        Some(owner) => owner.vouched(&step, of_medium)?.0,
        None => of_medium(None)?,
    })?;
    let initramfs = archives.0;
    let menu = menu(&cmdline)?;

    write(&to.join("vmlinuz"), &kernel)?;
    write(&to.join("initramfs.cpio"), &initramfs)?;
    write(&to.join("axion.efi"), &efi)?;
    let script = script(&cmdline, signers.owner.is_some())?;
    write(&to.join("axion.ipxe"), script.as_bytes())?;
    for program in IPXE {
        let mut content = read(&staging.join("ipxe").join(IPXE_DIR).join(program))?;
        if program.ends_with(".efi") {
            content = sign(content)?;
        }
        write(&to.join(program), &content)?;
    }

    let bios = [
        (format!("{BOOT_FILES}/vmlinuz"), kernel.as_slice()),
        (format!("{BOOT_FILES}/initramfs.cpio"), &initramfs),
        (grub::MENU.to_owned(), menu.as_bytes()),
    ];
    let loader_config = read_text("loader.conf")?;
    let uefi = match &signers.owner {
        Some(owner) => owner.esp(&loader, &efi, &loader_config),
        None => vec![(REMOVABLE_PATH.to_owned(), efi.as_slice())],
    };
    iso::build(
        &step,
        &grub,
        &bios,
        &uefi,
        &staging.join("iso"),
        &to.join("axion.iso"),
    )?;
    let config = read_text("axion.toml")?;
    let template = [("axion.toml".to_owned(), config.as_bytes())];
    let esp = [&uefi[..], &bios[..]].concat();
    disk::build(&step, &grub, &template, &esp, &to.join("axion.img"))?;

    let loaders = [
        (&stub, staging.join("stub")),
        (&ipxe, staging.join("ipxe")),
        (grub.loader(), staging.join("grub")),
    ];
    let list = sbom::write_packages(
        "axion-media",
        &loaders.each_ref().map(|(deb, files)| (*deb, files.as_path())),
    )?;
    write(&to.join("loaders.spdx.json"), list.as_bytes())?;
    fs::remove_dir_all(&staging)?;
    let mut products = PRODUCTS.to_vec();
    drop(fs::remove_file(to.join(FIRMWARE)));
    if image.join(FIRMWARE).exists() {
        write(&to.join(FIRMWARE), &read(&image.join(FIRMWARE))?)?;
        products.insert(5, FIRMWARE);
    }
    sums::write(&to, &products, &UPDATE, signers.key.as_ref())?;
    step.done();
    eprintln!(
        "  media: axion.efi {:.1} MiB (at most 64) in {}",
        efi.len() as f64 / f64::from(1 << 20),
        to.display()
    );
    Ok(())
}

/// GRUB's menu: it would fill in variables of its own.
fn menu(cmdline: &str) -> Result<String> {
    let words = bios::arguments(cmdline);
    Ok(read_text("grub.cfg")?.replace("@CMDLINE@", words.trim_start()))
}

/// iPXE's script; `signed`: UEFI is led to what firmware checks.
fn script(cmdline: &str, signed: bool) -> Result<String> {
    let mut script = read_text("axion.ipxe")?;
    if signed {
        script = script.replacen("\nkernel ", &secure_boot::ipxe_kernel(), 1);
    }
    Ok(script.replace("@CMDLINE@", &loader::for_ipxe(cmdline)))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}

/// A file of the room `image/`.
fn read_text(name: &str) -> Result<String> {
    let path = layout::root().join("image").join(name);
    fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
}

/// Writes a product. One that is replaced gets a new inode: a machine may still have the old one open.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    drop(fs::remove_file(path));
    fs::write(path, content).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests;
