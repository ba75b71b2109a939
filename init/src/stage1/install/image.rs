//! The image that is installed, from the files of this initramfs and of the root.
//!
//! The UKI is put together as `xtask` does it for the media, of the same parts in the same order.

use std::io::{self, Write};
use std::path::Path;

use axion_install::bios::{self, OtherLayout};
use axion_install::uki::{self, Parts, UkiError};
use cpio::newc::{Builder, trailer};

use crate::stage1::{kexec, root};

/// Where the root is while the installer runs.
const ROOT: &str = "/newroot";
/// systemd-boot in the root.
const LOADER: &str = "usr/lib/axion/boot/systemd-bootx64.efi";
/// GRUB in the root: code of the first sector, and the rest.
const GRUB: [&str; 2] = [
    "usr/lib/axion/boot/grub-boot.img",
    "usr/lib/axion/boot/grub-core.img",
];
/// The stub of a UKI in the root.
const STUB: &str = "usr/lib/axion/boot/linuxx64.efi.stub";
const OS_RELEASE: &str = "etc/os-release";
/// What a UKI says to the kernel where its entry says nothing: as on the media.
const CMDLINE: &str = "console=tty0";
/// SOURCE_DATE_EPOCH, as the build has it.
const EPOCH: u32 = 1_767_225_600;
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;
/// Archives begin at multiples of this many bytes.
const BLOCK: usize = 512;

/// The image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file.
    #[error("cannot read {path}{}", hint(.path))]
    Read {
        /// File.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The initramfs.
    #[error("cannot put the initramfs together")]
    Initramfs(#[source] io::Error),
    /// The UKI.
    #[error("cannot put the image together")]
    Uki(#[from] UkiError),
    /// The loader for a BIOS.
    #[error("cannot use the loader for machines with a BIOS")]
    Grub(#[from] OtherLayout),
}

fn hint(path: &str) -> &'static str {
    if path == kexec::KERNEL {
        " in the initramfs: it was loaded without kexec.cpio, which brings the kernel (docs/media.md)"
    } else {
        ""
    }
}

/// The parts.
pub struct Image {
    kernel: Vec<u8>,
    init: Vec<u8>,
    erofs: Vec<u8>,
    loader: Vec<u8>,
    grub: [Vec<u8>; 2],
    stub: Vec<u8>,
    os_release: Vec<u8>,
}

impl Image {
    /// Reads the parts.
    ///
    /// # Errors
    /// One is not there.
    pub fn gather() -> Result<Self, ImageError> {
        let below = |path: &str| read(&Path::new(ROOT).join(path));
        let [grub_boot, grub_core] = GRUB;
        Ok(Self {
            kernel: read(Path::new(kexec::KERNEL))?,
            init: read(Path::new("/proc/self/exe"))?,
            erofs: read(Path::new(root::IMAGE))?,
            loader: below(LOADER)?,
            grub: [below(grub_boot)?, below(grub_core)?],
            stub: below(STUB)?,
            os_release: below(OS_RELEASE)?,
        })
    }

    /// systemd-boot.
    pub fn loader(&self) -> &[u8] {
        &self.loader
    }

    /// GRUB.
    ///
    /// # Errors
    /// It was made for another layout.
    pub fn grub(&self) -> Result<bios::Loader<'_>, ImageError> {
        let [boot_code, core] = &self.grub;
        Ok(bios::Loader::new(boot_code, core)?)
    }

    /// The UKI.
    ///
    /// # Errors
    /// A part is not what it should be.
    pub fn assemble(&self) -> Result<Vec<u8>, ImageError> {
        let initramfs = self.initramfs().map_err(ImageError::Initramfs)?;
        Ok(uki::assemble(
            &self.stub,
            &Parts {
                os_release: &self.os_release,
                cmdline: CMDLINE,
                kernel: &self.kernel,
                initramfs: &initramfs,
            },
        )?)
    }

    /// Two archives: what starts, and the kernel for a kexec.
    fn initramfs(&self) -> io::Result<Vec<u8>> {
        let mut bytes = archive(&[
            ("init", FILE | 0o755, &self.init),
            ("axion", DIRECTORY | 0o755, &[]),
            ("axion/root.erofs", FILE | 0o644, &self.erofs),
            ("axion/whole", FILE | 0o644, &[]),
        ])?;
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes.extend(archive(&[
            ("axion", DIRECTORY | 0o755, &[]),
            ("axion/vmlinuz", FILE | 0o644, &self.kernel),
        ])?);
        Ok(bytes)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ImageError> {
    std::fs::read(path).map_err(|source| ImageError::Read {
        path: path.display().to_string(),
        source,
    })
}

fn archive(entries: &[(&str, u32, &[u8])]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (inode, (name, mode, content)) in (1..).zip(entries) {
        let length = u32::try_from(content.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut file = Builder::new(name)
            .ino(inode)
            .mode(*mode)
            .mtime(EPOCH)
            .write(&mut bytes, length);
        file.write_all(content)?;
        file.finish()?;
    }
    trailer(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
