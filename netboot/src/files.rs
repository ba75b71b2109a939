//! The files that are served: checked once, then held open.
//!
//! A file that is replaced while the server runs does not matter: the open one is served. One that is written over is noticed
//! by its time and length, and is not served any more.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use axion_core::cmdline::{CommandLine, loader};
use minisign::{PublicKeyBox, SignatureBox};
use sha2::{Digest, Sha256};

use crate::Error;
use crate::boot::{BIOS_LOADER, UEFI_LOADER, UKI};

/// Linux, and the root file system.
pub const KERNEL: &str = "vmlinuz";
/// See [`KERNEL`].
pub const INITRAMFS: &str = "initramfs.cpio";
/// The media's own script, which says what the kernel is told.
pub const SCRIPT: &str = "axion.ipxe";
const SUMS: &str = "SHA256SUMS";
const SIGNATURE: &str = "SHA256SUMS.minisig";
/// Bytes that are hashed at once.
const CHUNK: usize = 1 << 20;

/// What is served and why it is needed.
const MEDIA: [(&str, &str); 4] = [
    (KERNEL, "the kernel"),
    (INITRAMFS, "the root file system"),
    (UKI, "both in one, for UEFI"),
    (SCRIPT, "the PXE script"),
];
const LOADERS: [(&str, &str); 2] = [(BIOS_LOADER, "iPXE for BIOS"), (UEFI_LOADER, "iPXE for UEFI")];
const SIGNATURES: [(&str, &str); 2] = [
    ("vmlinuz.sig", "the kernel's signature"),
    ("initramfs.cpio.sig", "the initramfs's signature"),
];

/// Where the files are, and how they are to be trusted.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Directory of the media.
    pub media: PathBuf,
    /// Directory of iPXE programs instead of the media's. They are the operator's own: no list has their sums.
    pub ipxe: Option<PathBuf>,
    /// Public key (minisign) that has to have signed the sums.
    pub key: Option<PathBuf>,
    /// Serve the signatures that iPXE checks.
    pub imgverify: bool,
}

/// Bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The first one.
    pub start: u64,
    /// How many.
    pub length: u64,
}

/// An image that holds kernel and initramfs, which are served out of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The UEFI program.
    pub image: PathBuf,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// The kernel in it.
    pub kernel: Part,
    /// The initramfs in it.
    pub initramfs: Part,
    /// What the kernel is told.
    pub cmdline: String,
    /// Directory of the iPXE programs, with `SHA256SUMS`.
    pub ipxe: PathBuf,
}

/// Where what is served comes from.
#[derive(Debug, Clone)]
pub enum Content {
    /// A directory of boot media.
    Media(Sources),
    /// One image.
    Held(Held),
}

/// What is known of a file that is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub name: &'static str,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256, as it was found when the server started.
    pub sha256: [u8; 32],
}

/// One file, or a part of one.
#[derive(Debug)]
pub struct Served {
    /// Bytes.
    pub size: u64,
    /// Its SHA-256.
    sha256: [u8; 32],
    /// The open file.
    file: Arc<File>,
    /// Where in the file it begins.
    start: u64,
    path: PathBuf,
    /// Bytes of the file.
    whole: u64,
    modified: SystemTime,
}

impl Served {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let file = File::open(&path).map_err(Error::file("open", &path))?;
        let facts = file.metadata().map_err(Error::file("look at", &path))?;
        let modified = facts.modified().map_err(Error::file("look at", &path))?;
        let served = Self {
            size: facts.len(),
            sha256: [0; 32],
            file: Arc::new(file),
            start: 0,
            path,
            whole: facts.len(),
            modified,
        };
        served.summed()
    }

    /// A part of it, as a file of its own.
    fn part(&self, part: Part) -> Result<Self, Error> {
        if part
            .start
            .checked_add(part.length)
            .is_none_or(|end| end > self.whole)
        {
            return Err(Error::Sum(self.path.clone()));
        }
        let served = Self {
            size: part.length,
            sha256: [0; 32],
            file: Arc::clone(&self.file),
            start: part.start,
            path: self.path.clone(),
            whole: self.whole,
            modified: self.modified,
        };
        served.summed()
    }

    /// Fills `buffer` with its bytes from `from` on.
    ///
    /// # Errors
    /// It cannot be read, or has not so many bytes.
    pub fn read(&self, buffer: &mut [u8], from: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, self.start.saturating_add(from))
    }

    /// Why it must not be served, if so: somebody has written to it since it was checked.
    pub fn problem(&self) -> Option<String> {
        let facts = self.file.metadata();
        let same = facts.is_ok_and(|facts| {
            facts.len() == self.whole && facts.modified().is_ok_and(|time| time == self.modified)
        });
        (!same).then(|| format!("{} was changed after it had been checked", self.path.display()))
    }

    fn summed(mut self) -> Result<Self, Error> {
        let (mut hash, mut chunk) = (Sha256::new(), vec![0; CHUNK]);
        let mut from = 0;
        while from < self.size {
            let length = usize::try_from(self.size - from).unwrap_or(CHUNK).min(CHUNK);
            let bytes = chunk.get_mut(..length).unwrap_or_default();
            self.read(bytes, from).map_err(Error::file("read", &self.path))?;
            hash.update(bytes);
            from += u64::try_from(length).unwrap_or(u64::MAX);
        }
        self.sha256 = hash.finalize().into();
        Ok(self)
    }

    fn check(self, sums: &BTreeMap<String, [u8; 32]>, name: &str) -> Result<Self, Error> {
        match sums.get(name) {
            None => Err(Error::NoSum(self.path)),
            Some(sum) if *sum != self.sha256 => Err(Error::Sum(self.path)),
            Some(_) => Ok(self),
        }
    }
}

/// All files, by name.
#[derive(Debug)]
pub struct Files {
    files: BTreeMap<&'static str, Arc<Served>>,
    /// What the media tell the kernel, as iPXE reads it.
    pub cmdline: String,
    /// UEFI machines are led from iPXE to the UKI, as media that are signed for Secure Boot have it. They bring an iPXE that is
    /// signed as well, which a node does not.
    pub signed: bool,
}

impl Files {
    /// Opens and checks all of them.
    ///
    /// # Errors
    /// One is missing, or is not what the list of sums or its signature says.
    pub fn open(sources: &Sources) -> Result<Self, Error> {
        let loaders = sources.ipxe.as_deref().unwrap_or(&sources.media);
        let signatures: &[(&str, &str)] = if sources.imgverify { &SIGNATURES } else { &[] };
        missing(
            &sources.media,
            &[&MEDIA, signatures, &[(SUMS, "what the files are checked by")]].concat(),
        )?;
        missing(loaders, &LOADERS)?;
        let sums = sums(&sources.media, sources.key.as_deref())?;
        let mut files = BTreeMap::new();
        let listed = MEDIA
            .iter()
            .map(|(name, _)| (*name, sources.media.as_path(), true));
        let listed = listed.chain(LOADERS.map(|(name, _)| (name, loaders, sources.ipxe.is_none())));
        // A signature proves itself to iPXE.
        for (name, dir, check) in listed.chain(
            signatures
                .iter()
                .map(|(n, _)| (*n, sources.media.as_path(), false)),
        ) {
            let mut served = Served::open(dir.join(name))?;
            if check {
                served = served.check(&sums, name)?;
            }
            files.insert(name, Arc::new(served));
        }
        let script = sources.media.join(SCRIPT);
        let text = std::fs::read_to_string(&script).map_err(Error::file("read", &script))?;
        let cmdline = cmdline(&text).ok_or(Error::Script(script))?;
        files.remove(SCRIPT);
        Ok(Self {
            files,
            cmdline,
            signed: text.lines().any(|line| line.starts_with(loader::IPXE_CHAIN)),
        })
    }

    /// Opens an image and checks it, and the iPXE programs.
    ///
    /// # Errors
    /// Something is missing, or is not what its sum says.
    pub fn hold(held: &Held) -> Result<Self, Error> {
        missing(&held.ipxe, &LOADERS)?;
        let image = Served::open(held.image.clone())?;
        if image.sha256 != held.sha256 {
            return Err(Error::Sum(image.path));
        }
        let sums = sums(&held.ipxe, None)?;
        let mut files = BTreeMap::from([
            (KERNEL, Arc::new(image.part(held.kernel)?)),
            (INITRAMFS, Arc::new(image.part(held.initramfs)?)),
        ]);
        files.insert(UKI, Arc::new(image));
        for (name, _) in LOADERS {
            let served = Served::open(held.ipxe.join(name))?.check(&sums, name)?;
            files.insert(name, Arc::new(served));
        }
        Ok(Self {
            files,
            cmdline: loader::for_ipxe(&held.cmdline),
            signed: false,
        })
    }

    /// Whether the UKI itself names a config: a machine with Secure Boot is told of none by anything else.
    pub fn names_config(&self) -> bool {
        CommandLine::parse(&self.cmdline).contains("axion.config")
    }

    /// What is known of all of them.
    pub fn facts(&self) -> Vec<Facts> {
        let facts = self.files.iter().map(|(name, served)| Facts {
            name,
            size: served.size,
            sha256: served.sha256,
        });
        facts.collect()
    }

    /// The file that a machine calls `name`.
    pub fn get(&self, name: &str) -> Option<(&'static str, Arc<Served>)> {
        let (name, served) = self.files.get_key_value(name)?;
        Some((name, Arc::clone(served)))
    }
}

/// Checks the medium `path` against the list of sums beside it, and that against its signature where there is a key; `false`: there
/// is no list beside it and no key that wants one.
///
/// # Errors
/// The medium is not what the list says, or the list is not signed by the key.
pub fn check_medium(path: &Path, key: Option<&Path>) -> Result<bool, Error> {
    let absolute = std::path::absolute(path).map_err(Error::file("find", path))?;
    let dir = absolute.parent().unwrap_or(Path::new("/"));
    if key.is_none() && !dir.join(SUMS).exists() {
        return Ok(false);
    }
    let sums = sums(dir, key)?;
    let name = absolute
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    Served::open(path.to_owned())?.check(&sums, name)?;
    Ok(true)
}

fn missing(dir: &Path, wanted: &[(&str, &str)]) -> Result<(), Error> {
    let missing = wanted.iter().filter(|(name, _)| !dir.join(name).is_file());
    let files: Vec<_> = missing.map(|(name, what)| format!("{name} ({what})")).collect();
    if files.is_empty() {
        return Ok(());
    }
    Err(Error::Missing {
        dir: dir.to_owned(),
        files,
    })
}

/// The list of sums, its signature checked where there is a key.
fn sums(dir: &Path, key: Option<&Path>) -> Result<BTreeMap<String, [u8; 32]>, Error> {
    let path = dir.join(SUMS);
    let text = std::fs::read_to_string(&path).map_err(Error::file("read", &path))?;
    if let Some(key) = key {
        verify(key, &dir.join(SIGNATURE), &text)?;
    }
    parse(&text).map_err(|line| Error::Sums { path, line })
}

fn verify(key: &Path, signature: &Path, text: &str) -> Result<(), Error> {
    let refuse = |path: &Path, what: &str| {
        let (path, what) = (path.to_owned(), what.to_owned());
        move |error: minisign::PError| Error::Signature {
            path,
            detail: format!("{what}: {error}"),
        }
    };
    let read = |path: &Path| std::fs::read_to_string(path).map_err(Error::file("read", path));
    let public = PublicKeyBox::from_string(&read(key)?)
        .and_then(PublicKeyBox::into_public_key)
        .map_err(refuse(key, "no public key of minisign"))?;
    let parsed = SignatureBox::from_string(&read(signature)?)
        .map_err(refuse(signature, "no signature of minisign"))?;
    minisign::verify(&public, &parsed, Cursor::new(text), true, false, false)
        .map_err(refuse(signature, "SHA256SUMS is not signed by that key"))
}

/// Lines as `sha256sum` writes them; the number of a line that is none.
fn parse(text: &str) -> Result<BTreeMap<String, [u8; 32]>, usize> {
    let line = |(n, line): (usize, &str)| {
        let (sum, name) = line.split_once("  ").ok_or(n + 1)?;
        let mut bytes = [0; 32];
        hex::decode_to_slice(sum, &mut bytes).map_err(|_| n + 1)?;
        Ok((name.to_owned(), bytes))
    };
    text.lines().enumerate().map(line).collect()
}

/// What the script tells the kernel, without the initramfs, which is the script's own affair.
fn cmdline(script: &str) -> Option<String> {
    let line = script
        .lines()
        .find_map(|line| line.trim().strip_prefix("kernel vmlinuz "))?;
    let (arguments, _) = line.rsplit_once("initrd=")?;
    Some(arguments.trim().to_owned())
}

#[cfg(test)]
mod tests;
