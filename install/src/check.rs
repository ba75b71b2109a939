//! What an update must be before anything of it is written: signed by a key that is trusted, whole, and of a version that may
//! follow the one that runs.
//!
//! An update is two files: a UKI, `axion.efi`, and its minisign signature, `axion.efi.minisig`. The UKI stays what firmware and
//! every tool know it as, and `minisign -Vm axion.efi` checks it on any computer. The signature comes first: of a file from
//! somebody unknown nothing is parsed. What is checked is read once from end to end, and its digest is what
//! [`crate::esp::Esp::stage`] holds the written bytes against, so that a file that changes in between is refused there.

mod version;

use std::io::{self, Read, Seek, SeekFrom};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use minisign_verify::{Error, PublicKey, Signature};
use object::LittleEndian as LE;
use object::pe::IMAGE_FILE_MACHINE_AMD64;
use object::read::ReadCache;
use object::read::pe::PeFile64;
use sha2::{Digest as _, Sha256};

use crate::{Digest, authenticode};
pub use version::{Version, VersionError};

/// Bytes of an image at most: three of them fit on an ESP of 1 GiB.
pub const LARGEST: u64 = 256 << 20;
/// Bytes of a signature at most; minisign's have some 300.
pub const LARGEST_SIGNATURE: usize = 4096;
/// What the signature of a file is called: the file's name with this behind it.
pub const SIGNATURE_SUFFIX: &str = ".minisig";
/// What a UKI's `.osrel` calls its version (os-release(5)).
const VERSION_KEY: &str = "VERSION_ID";
/// What a UKI of Axion is made of ([`crate::uki`]).
const SECTIONS: [&str; 5] = [".osrel", ".cmdline", ".uname", ".initrd", ".linux"];
/// Bytes that are read at once.
const CHUNK: usize = 1 << 18;
/// Bytes of `.osrel` at most.
const LARGEST_OSREL: u64 = 4096;
/// Bytes of a program's table of signatures that are looked at.
const LARGEST_TABLE: u64 = 1 << 20;
/// Bytes of a program's headers at most.
const LARGEST_HEADERS: u64 = 4096;

/// A key that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no public key of minisign; one is a line of 56 characters that begins with `RW`", .0.escape_debug())]
pub struct KeyError(String);

/// Why an update is not taken. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// Nobody is trusted.
    #[error(
        "this node trusts no key, so it takes no update; put the public key of whoever signs yours into `[update]` of its \
         machine config, `keys = [\"RW...\"]`, and restart it"
    )]
    NoKeys,
    /// It is no signature.
    #[error(
        "the signature is none of minisign's; it is in the file with `{SIGNATURE_SUFFIX}` behind the image's name"
    )]
    NoSignature,
    /// It is one of an old kind.
    #[error("the signature is of minisign's legacy kind; sign the image again with a present minisign")]
    Legacy,
    /// Nobody knows who signed it.
    #[error("the image is signed by the key {key}, which this node does not trust; it trusts {trusted}")]
    UnknownKey {
        /// Who signed it.
        key: String,
        /// Who may.
        trusted: String,
    },
    /// It was changed since.
    #[error("the image is not the one that the key {0} has signed: it was changed, or it is not whole")]
    Altered(String),
    /// It is too large.
    #[error("the image has {0} bytes, and {LARGEST} are allowed")]
    TooLarge(u64),
    /// It is something else.
    #[error("the image is signed, but it is no UKI of Axion for this machine: {0}")]
    NotWhole(String),
    /// It does not say which version it is.
    #[error("the image does not say which version it is: its `.osrel` has no `{VERSION_KEY}`")]
    NoVersion,
    /// It says so in a strange way.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// It is older.
    #[error(
        "the image is Axion {version}, and {running} runs; an older one is taken with `--allow-downgrade`"
    )]
    Older {
        /// Its version.
        version: String,
        /// What runs.
        running: String,
    },
    /// Firmware would not start it.
    #[error(
        "Secure Boot is on, and the image has no signature for firmware, which would not start it; sign it with \
         `cargo xtask media --secure-boot` and the keys that this machine has taken"
    )]
    NotForFirmware,
    /// Firmware would not start it, either.
    #[error(
        "Secure Boot is on, and the image is signed for firmware by a key that this machine's firmware does not know (`db`), so it would \
         not start it; sign it with the keys that this machine has taken"
    )]
    StrangeToFirmware,
    /// It cannot be read.
    #[error("the image cannot be read")]
    Read(#[from] io::Error),
}

/// Keys that may sign updates.
#[derive(Debug, Clone, Default)]
pub struct Keys(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    id: String,
    key: PublicKey,
}

impl Keys {
    /// Reads public keys, each as the line that `minisign` and `cargo xtask keys` print, or as the whole file that has it.
    ///
    /// # Errors
    /// One is none.
    pub fn read<'t>(texts: impl IntoIterator<Item = &'t str>) -> Result<Self, KeyError> {
        let keys = texts.into_iter().map(|text| {
            let line = text.trim().lines().next_back().unwrap_or_default();
            let bad = || KeyError(line.chars().take(80).collect());
            let key = PublicKey::from_base64(line).map_err(|_| bad())?;
            let id = id(line).ok_or_else(bad)?;
            Ok(Key { id, key })
        });
        let mut keys: Vec<Key> = keys.collect::<Result<_, KeyError>>()?;
        keys.dedup_by(|a, b| a.key == b.key);
        Ok(Self(keys))
    }

    /// What minisign calls them: 16 hex digits each.
    pub fn ids(&self) -> Vec<String> {
        self.0.iter().map(|key| key.id.clone()).collect()
    }
}

/// The key's number in a public key or a signature: behind two bytes for the algorithm, as minisign prints it.
fn id(line: &str) -> Option<String> {
    let bytes = STANDARD.decode(line.trim()).ok()?;
    let number = bytes.get(2..10)?.try_into().ok()?;
    Some(format!("{:016X}", u64::from_le_bytes(number)))
}

/// What is asked of an update.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Who may sign it.
    pub keys: &'a Keys,
    /// What runs.
    pub running: &'a Version,
    /// Take an older one, too.
    pub allow_downgrade: bool,
    /// Firmware starts nothing that is not signed for it.
    pub secure_boot: bool,
    /// Signature lists of whom firmware trusts; empty: it is not known.
    pub allowed: &'a [u8],
}

/// An update that may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Version.
    pub version: Version,
    /// Bytes.
    pub size: u64,
    /// Digest.
    pub digest: Digest,
    /// The key that signed it.
    pub key: String,
}

/// Checks an image with its signature; the image is left at its beginning.
///
/// # Errors
/// It must not be written.
pub fn check(
    image: &mut (impl Read + Seek),
    signature: &str,
    terms: &Terms<'_>,
) -> Result<Checked, Rejection> {
    if terms.keys.0.is_empty() {
        return Err(Rejection::NoKeys);
    }
    let size = image.seek(SeekFrom::End(0))?;
    if size > LARGEST {
        return Err(Rejection::TooLarge(size));
    }
    image.rewind()?;
    let (digest, key) = signed(image, signature, terms.keys)?;
    let version = uki_version(image, size)?;
    image.rewind()?;
    if terms.secure_boot {
        starts_under_secure_boot(image, terms.allowed)?;
        image.rewind()?;
    }
    if version < *terms.running && !terms.allow_downgrade {
        return Err(Rejection::Older {
            version: version.to_string(),
            running: terms.running.to_string(),
        });
    }
    Ok(Checked {
        version,
        size,
        digest,
        key,
    })
}

/// Whether firmware that trusts whom `allowed` names may start an image. One that it refuses ends its loader, and what comes then is up to
/// the firmware: the node might not come back by itself.
fn starts_under_secure_boot(image: &mut (impl Read + Seek), allowed: &[u8]) -> Result<(), Rejection> {
    let mut headers = Vec::new();
    image.by_ref().take(LARGEST_HEADERS).read_to_end(&mut headers)?;
    let (at, length) = authenticode::place_of_table(&headers).map_err(|_| Rejection::NotForFirmware)?;
    let certificates = authenticode::certificates(allowed);
    if certificates.is_empty() {
        return Ok(());
    }
    let mut table = Vec::new();
    image.seek(SeekFrom::Start(at))?;
    image
        .by_ref()
        .take(length.min(LARGEST_TABLE))
        .read_to_end(&mut table)?;
    if authenticode::names_one_of(&table, &certificates) {
        Ok(())
    } else {
        Err(Rejection::StrangeToFirmware)
    }
}

/// The digest of an image, and the trusted key that signed it.
fn signed(image: &mut impl Read, signature: &str, keys: &Keys) -> Result<(Digest, String), Rejection> {
    let text = signature;
    let signature = Signature::decode(text).map_err(|_| Rejection::NoSignature)?;
    let signer = text.lines().nth(1).and_then(id).ok_or(Rejection::NoSignature)?;
    let mut verifiers = Vec::new();
    for known in keys.0.iter().filter(|known| known.id == signer) {
        match known.key.verify_stream(&signature) {
            Ok(verifier) => verifiers.push(verifier),
            Err(Error::UnsupportedLegacyMode) => return Err(Rejection::Legacy),
            Err(_) => {}
        }
    }
    if verifiers.is_empty() {
        return Err(Rejection::UnknownKey {
            key: signer,
            trusted: keys.ids().join(", "),
        });
    }
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = image.read(&mut chunk)?;
        let Some(piece) = chunk.get(..read).filter(|piece| !piece.is_empty()) else {
            break;
        };
        hash.update(piece);
        verifiers.iter_mut().for_each(|verifier| verifier.update(piece));
    }
    if verifiers.iter_mut().any(|verifier| verifier.finalize().is_ok()) {
        Ok((hash.finalize().into(), signer))
    } else {
        Err(Rejection::Altered(signer))
    }
}

/// The version of a UKI all of whose sections are there.
fn uki_version(image: &mut (impl Read + Seek), size: u64) -> Result<Version, Rejection> {
    let not_whole = |what: &str| Rejection::NotWhole(what.to_owned());
    let cache = ReadCache::new(image);
    let file = PeFile64::parse(&cache).map_err(|_| not_whole("it is no PE32+ program"))?;
    if file.nt_headers().file_header.machine.get(LE) != IMAGE_FILE_MACHINE_AMD64 {
        return Err(not_whole("it is for another processor than x86-64"));
    }
    let mut osrel = None;
    for name in SECTIONS {
        let mut found = file
            .section_table()
            .iter()
            .filter(|section| section.raw_name() == name.as_bytes());
        let (Some(section), None) = (found.next(), found.next()) else {
            return Err(Rejection::NotWhole(format!("it has not one section {name}")));
        };
        let (offset, length) = section.pe_file_range();
        let (offset, length) = (u64::from(offset), u64::from(length));
        if length == 0 || offset + length > size {
            return Err(Rejection::NotWhole(format!("its section {name} is not whole")));
        }
        if name == ".osrel" {
            osrel = Some((offset, length.min(LARGEST_OSREL)));
        }
    }
    let (offset, length) = osrel.ok_or(Rejection::NoVersion)?;
    let text = object::ReadRef::read_bytes_at(&cache, offset, length);
    let text = text.map_err(|()| not_whole("its section .osrel cannot be read"))?;
    let text = String::from_utf8_lossy(text);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(VERSION_KEY)?.strip_prefix('='));
    let value = line.ok_or(Rejection::NoVersion)?.trim().trim_matches(['"', '\'']);
    Ok(value.parse()?)
}

#[cfg(test)]
mod tests;
