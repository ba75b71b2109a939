//! The image that is installed, from the files of this boot's initramfs and of the root.
//!
//! The UKI is put together as `xtask` does it for the media, of the same parts in the same order.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use axion_install::authenticode::{SIGNATURES, SIGNED_IMAGE, SignatureError, Signatures, SignedImage};
use axion_install::bios::{self, OtherLayout};
use axion_install::inspect;
use axion_install::medium::{self, MediumError};
use axion_install::storage::Disk;
use axion_install::uki::{self, Parts, UkiError};
use cpio::newc::{Builder, Reader, trailer};

use crate::stage1::extras::{self, Extra};
use crate::stage1::{kexec, root};

/// The initramfs on the running node.
pub const KEPT: &str = "/run/axion/installer/initramfs";
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
    /// The medium cannot be opened.
    #[error("cannot open the boot medium {0}")]
    Open(String, #[source] io::Error),
    /// The medium.
    #[error("cannot read the kernel from the boot medium {0}")]
    Medium(String, #[source] MediumError),
    /// The initramfs on it.
    #[error("the initramfs on the boot medium {0} has no kernel")]
    NoKernel(String),
    /// Another medium.
    #[error(
        "the boot medium {medium} has Linux {found}, and {running} runs: it is not the one that this node was started from"
    )]
    OtherMedium {
        /// The medium.
        medium: String,
        /// Release on it.
        found: String,
        /// Release that runs.
        running: String,
    },
    /// Parts of it stayed behind.
    #[error(
        "the kernel was started again for the boot profile, and not all of the image came along; set profile.mode = \"balanced\" \
         on the medium (the installed node may have another mode), or start with axion.mode=install"
    )]
    StartedAgain,
    /// There is no medium.
    #[error(
        "this start kept no kernel, and no boot medium has it; start with axion.mode=install on the kernel command line"
    )]
    NoOrigin,
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
    if path.ends_with(kexec::KERNEL) {
        " in the initramfs: it was loaded without kexec.cpio, which brings the kernel (docs/media.md)"
    } else {
        ""
    }
}

/// Where the files of this boot are.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The initramfs.
    initramfs: &'static str,
    /// The root file system.
    root: &'static str,
    /// Boot media, where a kernel that the initramfs has no more is looked for.
    media: Vec<PathBuf>,
}

impl Origin {
    /// Before the switch to the root file system.
    pub const fn stage1() -> Self {
        Self {
            initramfs: "/",
            root: "/newroot",
            media: Vec::new(),
        }
    }

    /// On the running node, with these boot media.
    ///
    /// # Errors
    /// The kernel is nowhere.
    pub fn running(media: Vec<PathBuf>) -> Result<Self, ImageError> {
        let origin = Self {
            initramfs: KEPT,
            root: "/",
            media,
        };
        if origin.media.is_empty() && !origin.file(kexec::KERNEL).exists() {
            return Err(ImageError::NoOrigin);
        }
        Ok(origin)
    }

    /// Whether it brings the signature of the image.
    pub fn is_signed(&self) -> bool {
        [SIGNATURES, SIGNED_IMAGE]
            .iter()
            .all(|path| self.file(path).exists())
    }

    /// Where a file of the initramfs is.
    fn file(&self, path: &str) -> PathBuf {
        Path::new(self.initramfs).join(path.trim_start_matches('/'))
    }

    /// The kernel of this boot.
    fn kernel(&self) -> Result<Vec<u8>, ImageError> {
        let kept = self.file(kexec::KERNEL);
        let mut last = match std::fs::read(&kept) {
            Ok(kernel) => return Ok(kernel),
            Err(source) => ImageError::Read {
                path: kept.display().to_string(),
                source,
            },
        };
        for medium in &self.media {
            match kernel_on(medium) {
                Ok(kernel) => return Ok(kernel),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The kernel on a boot medium, if it is the one that runs.
fn kernel_on(path: &Path) -> Result<Vec<u8>, ImageError> {
    let name = path.display().to_string();
    let open = |e| ImageError::Open(name.clone(), e);
    // Media count in sectors of 512 bytes, whatever drive they are in.
    let disk = Disk::new(File::open(path).map_err(open)?, 512).map_err(open)?;
    let initramfs = medium::initramfs(&disk).map_err(|e| ImageError::Medium(name.clone(), e))?;
    let kernel = in_archives(&initramfs, kexec::KERNEL.trim_start_matches('/'));
    let kernel = kernel.ok_or_else(|| ImageError::NoKernel(name.clone()))?;
    let running = nix::sys::utsname::uname().map_err(|e| open(e.into()))?;
    let running = running.release().to_string_lossy().into_owned();
    let found = uki::kernel_release(&kernel)?.to_owned();
    if found == running {
        return Ok(kernel);
    }
    Err(ImageError::OtherMedium {
        medium: name,
        found,
        running,
    })
}

/// A file in archives, one behind the other, with zeros between them.
fn in_archives(mut rest: &[u8], name: &str) -> Option<Vec<u8>> {
    loop {
        let zeros = rest.iter().take_while(|byte| **byte == 0).count();
        rest = rest.get(zeros..).filter(|rest| !rest.is_empty())?;
        let mut reader = Reader::new(rest).ok()?;
        if reader.entry().name().trim_start_matches('/') == name {
            let mut content = Vec::new();
            reader.read_to_end(&mut content).ok()?;
            return Some(content);
        }
        rest = reader.finish().ok()?;
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
    fn read(origin: &Origin) -> Result<Option<Self>, ImageError> {
        let read = |path| std::fs::read(origin.file(path));
        let (Ok(text), Ok(image)) = (read(SIGNATURES), read(SIGNED_IMAGE)) else {
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
    pub fn gather(origin: &Origin) -> Result<Self, ImageError> {
        let below = |path: &str| read(&Path::new(origin.root).join(path));
        let [grub_boot, grub_core] = GRUB;
        let signatures = Signed::read(origin)?;
        let loader = below(LOADER)?;
        let loader = match &signatures {
            Some(signed) => signed.sign_loader(&loader)?,
            None => loader,
        };
        Ok(Self {
            kernel: origin.kernel()?,
            init: read(Path::new("/proc/self/exe"))?,
            erofs: read(&origin.file(root::IMAGE))?,
            loader,
            grub: [below(grub_boot)?, below(grub_core)?],
            stub: below(STUB)?,
            os_release: below(OS_RELEASE)?,
            microcode: read_all(extras::microcode(Path::new(origin.initramfs)))?,
            firmware: read_all(extras::firmware(Path::new(origin.initramfs)))?,
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
                policy: self
                    .signatures
                    .as_ref()
                    .and_then(|signed| signed.image.policy.as_ref()),
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
