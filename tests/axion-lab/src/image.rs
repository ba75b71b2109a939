//! Where the appliance's boot files are.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Environment variable that names the directory of the image.
pub const IMAGE_DIR: &str = "AXION_IMAGE_DIR";

/// What a machine boots: a directory with `vmlinuz` and `initramfs.cpio`.
#[derive(Debug, Clone)]
pub struct Image {
    dir: PathBuf,
}

impl Image {
    /// The image in the directory that `AXION_IMAGE_DIR` names.
    ///
    /// # Errors
    /// [`Error::NoImage`] when the variable is unset or a file is missing.
    pub fn find() -> Result<Self> {
        let dir = std::env::var_os(IMAGE_DIR).ok_or_else(|| Error::NoImage {
            problem: format!("{IMAGE_DIR} is not set"),
            task: "image",
            variable: IMAGE_DIR,
        })?;
        Self::at(dir)
    }

    /// The image in `dir`.
    ///
    /// # Errors
    /// [`Error::NoImage`] when a file is missing.
    pub fn at(dir: impl Into<PathBuf>) -> Result<Self> {
        let image = Self { dir: dir.into() };
        image.file("vmlinuz")?;
        image.file("initramfs.cpio")?;
        Ok(image)
    }

    /// The host's kernel, a bzImage.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// The initramfs, with the root file system in it.
    pub fn initramfs(&self) -> PathBuf {
        self.dir.join("initramfs.cpio")
    }

    /// The kernel once more, as an archive behind the initramfs: what a node needs to start its kernel again.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn kexec(&self) -> Result<PathBuf> {
        self.file("kexec.cpio")
    }

    /// The loader that the installer writes to disks.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn loader(&self) -> Result<PathBuf> {
        self.file("systemd-bootx64.efi")
    }

    /// The loader that the installer writes for machines with a BIOS: code of the first sector, and the rest.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn grub(&self) -> Result<[PathBuf; 2]> {
        Ok([self.file("grub-boot.img")?, self.file("grub-core.img")?])
    }

    /// An initramfs whose init prints one line and powers off: the least that any system needs to boot.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn floor(&self) -> Result<PathBuf> {
        self.file("floor.cpio")
    }

    /// An initramfs whose init keeps CPUs busy and counts what hits them.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn busy(&self) -> Result<PathBuf> {
        self.file("busy.cpio")
    }

    /// The guest's kernel, the same file that the image carries.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn guest_kernel(&self) -> Result<PathBuf> {
        self.file("guest/vmlinux")
    }

    /// The guest's initrd, the same file that the image carries.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn guest_initrd(&self) -> Result<PathBuf> {
        self.file("guest/initrd")
    }

    /// The root disk of a Debian guest.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn debian_guest(&self) -> Result<PathBuf> {
        self.file("debian-guest.raw")
            .map_err(|error| built_by(error, "debian-guest"))
    }

    /// One of the boot media: `axion.iso`, `axion.img`, `axion.efi`, `axion.ipxe`.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn medium(&self, name: &str) -> Result<PathBuf> {
        self.file(&format!("media/{name}"))
            .map_err(|error| built_by(error, "media"))
    }

    /// One of the boot media that are signed for Secure Boot.
    ///
    /// # Errors
    /// [`Error::NoImage`] when it was not built.
    pub fn signed_medium(&self, name: &str) -> Result<PathBuf> {
        self.file(&format!("media-signed/{name}"))
    }

    fn file(&self, name: &str) -> Result<PathBuf> {
        existing(self.dir.join(name), IMAGE_DIR)
    }
}

/// The error of a file that is missing, which another task builds.
fn built_by(error: Error, task: &'static str) -> Error {
    match error {
        Error::NoImage {
            problem, variable, ..
        } => Error::NoImage {
            problem,
            task,
            variable,
        },
        other => other,
    }
}

/// `path` when a file is there; else a message that names `variable`.
pub(crate) fn existing(path: impl AsRef<Path>, variable: &'static str) -> Result<PathBuf> {
    let path = path.as_ref();
    if path.is_file() {
        return Ok(path.to_owned());
    }
    Err(Error::NoImage {
        problem: format!("there is no file {}", path.display()),
        task: "image",
        variable,
    })
}

#[cfg(test)]
mod tests;
