//! The image that is installed, from the files of this initramfs and of the root.
//!
//! The UKI is put together as `xtask` does it for the media, of the same parts in the same order.

use std::io::{self, Write};
use std::path::Path;

use axion_install::authenticode::{SIGNATURES, SIGNED_IMAGE, SignatureError, Signatures, SignedImage};
use axion_install::bios::{self, OtherLayout};
use axion_install::inspect;
use axion_install::uki::{self, Parts, UkiError};
use cpio::newc::{Builder, trailer};

use crate::stage1::extras::{self, Extra};
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
    /// The text of signatures.
    #[error("{0} in the initramfs is not what this version of axion-init reads")]
    Malformed(&'static str, #[source] serde_json::Error),
    /// A signature.
    #[error("the signature that the initramfs brings does not fit")]
    Signature(#[from] SignatureError),
    /// Signed was another one.
    #[error(
        "the image put together here is not the one that was signed: its digest is {found}, and {signed} was signed"
    )]
    NotSigned {
        /// Digest of what is here.
        found: String,
        /// Digest of what was signed.
        signed: String,
    },
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
    /// What an image with firmware has: each is an archive of its own, microcode in the first of all.
    microcode: Vec<Entry>,
    firmware: Vec<Entry>,
    signatures: Option<Signed>,
}

/// A part of an archive: name, kind and mode, content.
type Entry = (String, u32, Vec<u8>);

fn read_all(extras: Vec<Extra>) -> Result<Vec<Entry>, ImageError> {
    let entry = |extra: Extra| {
        let content = extra.file.as_deref().map_or_else(|| Ok(Vec::new()), read)?;
        Ok((extra.name, extra.mode, content))
    };
    extras.into_iter().map(entry).collect()
}

/// What makes the image start under Secure Boot.
struct Signed {
    /// The text of the signatures that the installed image has in its initramfs, as it was signed.
    text: Vec<u8>,
    image: SignedImage,
}

impl Signed {
    /// `None`: nobody has signed this image.
    fn read() -> Result<Option<Self>, ImageError> {
        let (Ok(text), Ok(image)) = (std::fs::read(SIGNATURES), std::fs::read(SIGNED_IMAGE)) else {
            return Ok(None);
        };
        let image = serde_json::from_slice(&image).map_err(|e| ImageError::Malformed(SIGNED_IMAGE, e))?;
        Ok(Some(Self { text, image }))
    }

    /// The image, signed.
    fn sign(&self, uki: &[u8]) -> Result<Vec<u8>, ImageError> {
        let found = hex::encode(inspect::digest(uki));
        if found != self.image.digest {
            return Err(ImageError::NotSigned {
                found,
                signed: self.image.digest.clone(),
            });
        }
        Ok(self.image.signature.attach(uki)?)
    }

    fn sign_loader(&self, loader: &[u8]) -> Result<Vec<u8>, ImageError> {
        let signatures: Signatures =
            serde_json::from_slice(&self.text).map_err(|e| ImageError::Malformed(SIGNATURES, e))?;
        Ok(signatures.loader.attach(loader)?)
    }
}

impl Image {
    /// Reads the parts.
    ///
    /// # Errors
    /// One is not there.
    pub fn gather() -> Result<Self, ImageError> {
        let below = |path: &str| read(&Path::new(ROOT).join(path));
        let [grub_boot, grub_core] = GRUB;
        let signatures = Signed::read()?;
        let loader = below(LOADER)?;
        let loader = match &signatures {
            Some(signed) => signed.sign_loader(&loader)?,
            None => loader,
        };
        Ok(Self {
            kernel: read(Path::new(kexec::KERNEL))?,
            init: read(Path::new("/proc/self/exe"))?,
            erofs: read(Path::new(root::IMAGE))?,
            loader,
            grub: [below(grub_boot)?, below(grub_core)?],
            stub: below(STUB)?,
            os_release: below(OS_RELEASE)?,
            microcode: read_all(extras::microcode())?,
            firmware: read_all(extras::firmware())?,
            signatures,
        })
    }

    /// Whether firmware starts it under Secure Boot, given the right keys.
    pub const fn is_signed(&self) -> bool {
        self.signatures.is_some()
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
        let uki = uki::assemble(
            &self.stub,
            &Parts {
                os_release: &self.os_release,
                cmdline: CMDLINE,
                kernel: &self.kernel,
                initramfs: &initramfs,
            },
        )?;
        match &self.signatures {
            Some(signed) => signed.sign(&uki),
            None => Ok(uki),
        }
    }

    /// Archives: what starts, the kernel for a kexec, and the signatures of an image that is signed. With firmware there are two
    /// more: the kernel reads microcode from the first one before it unpacks any.
    fn initramfs(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let begin = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        let borrowed = |entries: &[Entry]| -> io::Result<Vec<u8>> {
            let entries: Vec<(&str, u32, &[u8])> = entries
                .iter()
                .map(|(name, mode, content)| (name.as_str(), *mode, content.as_slice()))
                .collect();
            archive(&entries)
        };
        if !self.microcode.is_empty() {
            bytes.extend(borrowed(&self.microcode)?);
            begin(&mut bytes);
        }
        bytes.extend(archive(&[
            ("init", FILE | 0o755, &self.init),
            ("axion", DIRECTORY | 0o755, &[]),
            ("axion/root.erofs", FILE | 0o644, &self.erofs),
            ("axion/whole", FILE | 0o644, &[]),
        ])?);
        begin(&mut bytes);
        if !self.firmware.is_empty() {
            bytes.extend(borrowed(&self.firmware)?);
            begin(&mut bytes);
        }
        bytes.extend(archive(&[
            ("axion", DIRECTORY | 0o755, &[]),
            ("axion/vmlinuz", FILE | 0o644, &self.kernel),
        ])?);
        if let Some(signed) = &self.signatures {
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
            bytes.extend(archive(&[
                ("axion", DIRECTORY | 0o755, &[]),
                (SIGNATURES.trim_start_matches('/'), FILE | 0o644, &signed.text),
            ])?);
        }
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
