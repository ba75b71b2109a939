//! GRUB, the loader for machines that boot by BIOS: of the media, and of installed disks, whose installer has it in the root.
//!
//! `grub-mkimage` and its modules come from the same Debian release as everything else in the image, and so do the libraries
//! that it runs with: the loader does not depend on what the build machine has installed. All modules that the media need are
//! in the loader itself, so a medium has no module files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use axion_install::bios;
use axion_install::plan::BIOS_START;

use crate::debian::Package;
use crate::step::Step;

/// Path of the menu on a medium.
pub const MENU: &str = "boot/grub/grub.cfg";

/// What is on the media.
pub const LOADER: &str = "grub-pc-bin";
/// GRUB's modules, `grub-mkimage` and what that runs with.
pub const PACKAGES: [&str; 9] = [
    LOADER,
    "grub-common",
    "libc6",
    "libcap2",
    "libdevmapper1.02.1",
    "liblzma5",
    "libpcre2-8-0",
    "libselinux1",
    "libudev1",
];
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";
const MODULES: &str = "usr/lib/grub/i386-pc";

/// What the commands of an installed disk need ([`axion_install::bios::Menu`]).
const INSTALLED_MODULES: [&str; 9] = [
    "biosdisk", "part_gpt", "fat", "loadenv", "loopback", "test", "echo", "sleep", "reboot",
];

/// Bytes of a sector.
const SECTOR: usize = 512;
/// Offset in the boot sector of the sector number of what it loads (GRUB's include/grub/i386/pc/boot.h).
const KERNEL_SECTOR: usize = 0x5c;
/// Offset in the boot sector of the jump over the BIOS drive number's correction.
const DRIVE_CHECK: usize = 0x66;
/// Offset in the loader's first sector of the sector number of the rest (`struct grub_pc_bios_boot_blocklist`, the last one).
const FIRST_LIST: usize = SECTOR - 12;
/// Bytes of boot code in a master boot record.
const BOOT_CODE: usize = 440;

/// GRUB, unpacked.
pub struct Grub {
    loader: Package,
    root: PathBuf,
}

/// A loader for a disk.
pub struct DiskLoader {
    /// Code of the master boot record.
    pub boot_code: [u8; BOOT_CODE],
    /// Content of the BIOS boot partition.
    pub partition: Vec<u8>,
}

/// Unpacks GRUB below `root`, out of `packages`, which are those of [`PACKAGES`].
pub fn unpack(step: &Step, packages: &[Package], root: &Path) -> Result<Grub> {
    for package in packages {
        package.unpack(step, root)?;
    }
    let loader = packages.iter().find(|package| package.name == LOADER);
    Ok(Grub {
        loader: loader.context("GRUB's package is not among them")?.clone(),
        root: root.to_owned(),
    })
}

impl Grub {
    /// The package whose code is on the media.
    pub const fn loader(&self) -> &Package {
        &self.loader
    }

    /// The boot sector of a medium that is both a CD and a disk; xorriso fills in where the loader is.
    pub fn hybrid_boot_sector(&self) -> PathBuf {
        self.root.join(MODULES).join("boot_hybrid.img")
    }

    /// The loader for a CD (El Torito), which reads its menu from the CD.
    pub fn for_cd(&self, step: &Step) -> Result<Vec<u8>> {
        self.make(step, "i386-pc-eltorito", "/boot/grub", &["biosdisk", "iso9660"])
    }

    /// The loader for a disk whose BIOS boot partition starts at sector `first`; it reads its menu from the FAT file system of
    /// partition `menu`.
    pub fn for_disk(&self, step: &Step, first: u64, menu: u32) -> Result<DiskLoader> {
        let prefix = format!("(,gpt{menu})/boot/grub");
        let core = self.make(step, "i386-pc", &prefix, &["biosdisk", "part_gpt", "fat"])?;
        self.link(core, first)
    }

    /// The loader for installed disks, at the place that their layout has for it; it runs what the installer has written for it
    /// ([`axion_install::bios`]).
    pub fn for_installed_disk(&self, step: &Step) -> Result<DiskLoader> {
        let prefix = format!("(,gpt{})/{}", bios::MENU_PARTITION, bios::DIRECTORY);
        let core = self.make(step, "i386-pc", &prefix, &INSTALLED_MODULES)?;
        let loader = self.link(core, BIOS_START / SECTOR as u64)?;
        bios::Loader::new(&loader.boot_code, &loader.partition)?;
        Ok(loader)
    }

    fn link(&self, core: Vec<u8>, first: u64) -> Result<DiskLoader> {
        let boot = self.root.join(MODULES).join("boot.img");
        let boot = fs::read(&boot).with_context(|| format!("reading {}", boot.display()))?;
        place(&boot, core, first)
    }

    fn make(&self, step: &Step, format: &str, prefix: &str, modules: &[&str]) -> Result<Vec<u8>> {
        let out = self.root.join(format);
        let libraries = self.root.join(LIBRARIES);
        step.run(
            Command::new(libraries.join("ld-linux-x86-64.so.2"))
                .arg("--library-path")
                .arg(&libraries)
                .arg(self.root.join("usr/bin/grub-mkimage"))
                .args(["-O", format, "-p", prefix, "-d"])
                .arg(self.root.join(MODULES))
                .arg("-o")
                .arg(&out)
                .args(modules)
                .args(["normal", "linux"]),
        )?;
        fs::read(&out).with_context(|| format!("reading {}", out.display()))
    }
}

/// Tells the boot sector and the loader where the loader is, as `grub-bios-setup` does on a disk that is there.
fn place(boot: &[u8], mut core: Vec<u8>, first: u64) -> Result<DiskLoader> {
    ensure!(
        boot.len() == SECTOR && core.len() > SECTOR,
        "GRUB's boot.img or its loader is too short"
    );
    let mut boot_code = [0; BOOT_CODE];
    boot_code.copy_from_slice(&boot[..BOOT_CODE]);
    boot_code[KERNEL_SECTOR..KERNEL_SECTOR + 8].copy_from_slice(&first.to_le_bytes());
    // Two `nop`: some BIOSes hand a wrong drive number over, which the code behind the jump corrects.
    boot_code[DRIVE_CHECK..DRIVE_CHECK + 2].copy_from_slice(&[0x90, 0x90]);
    core[FIRST_LIST..FIRST_LIST + 8].copy_from_slice(&(first + 1).to_le_bytes());
    core.resize(core.len().next_multiple_of(SECTOR), 0);
    Ok(DiskLoader {
        boot_code,
        partition: core,
    })
}

#[cfg(test)]
mod tests;
