//! Signatures of EFI programs, and what of an image is signed for Secure Boot.
//!
//! A signature (Microsoft, "Windows Authenticode Portable Executable Signature Format") stands behind the program, in a table
//! that the program's header names. It covers everything but that table, its place in the header, and the checksum: so it can be taken off
//! on one machine and put behind the same program on another. That is how an installed disk gets a signed image: the
//! installer puts the UKI together from its own initramfs, byte by byte what was signed, and the initramfs brings the signature.
//!
//! ```text
//! initramfs of a medium:  init, root ─ kernel ─ Signatures: loader, kernel, modules ─ SignedImage
//!           of a slot:    init, root ─ kernel ─ Signatures                              └─ its UKI's signature
//! ```
//! **The kernel is signed for kexec and for nothing else.** A kernel of its own takes any initramfs and any arguments, and one
//! that firmware may start would be a way around everything that Secure Boot promises. So what is signed is the kernel with
//! its subsystem changed from "EFI application" to "unknown" ([`for_kexec`]): firmware and its loaders do not start that, and
//! the kernel's own check for kexec does not ask. Within the UKI it is as it was built; there the UKI's signature covers it.

use std::collections::BTreeMap;

use object::pe::{
    IMAGE_DIRECTORY_ENTRY_SECURITY, IMAGE_SUBSYSTEM_EFI_APPLICATION, IMAGE_SUBSYSTEM_UNKNOWN,
    ImageDataDirectory, ImageNtHeaders64,
};
use object::read::pe::PeFile64;
use object::{LittleEndian as LE, pod};
use serde::{Deserialize, Serialize};

use crate::uki::PcrPolicy;

/// Where an initramfs has its [`Signatures`].
pub const SIGNATURES: &str = "/axion/signatures.json";
/// Where an initramfs has its [`SignedImage`].
pub const SIGNED_IMAGE: &str = "/axion/signed-image.json";
/// Tables begin, and end, at multiples of this many bytes.
const ALIGNMENT: usize = 8;
/// What a signed module ends with (Documentation/admin-guide/module-signing.rst).
const MODULE_MAGIC: &[u8] = b"~Module signature appended~\n";
/// `PKEY_ID_PKCS7` (include/linux/module_signature.h).
const PKCS7: u8 = 2;

/// A signature that is not there, or has nothing to stand behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The program.
    #[error("it is no EFI program whose headers are whole and have a place for a signature")]
    Program,
    /// Nobody has signed it.
    #[error("it is not signed")]
    Unsigned,
    /// Somebody has.
    #[error("it is signed already")]
    Signed,
    /// The kernel.
    #[error("the kernel is no EFI application")]
    Kernel,
    /// The text of a signature.
    #[error("a signature is not in hexadecimal")]
    Text,
}

type Result<T> = std::result::Result<T, SignatureError>;

/// A signature in hexadecimal: of an EFI program, its table; of a module, what stands behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signature(String);

impl Signature {
    /// Of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(hex::encode(bytes))
    }

    /// The bytes.
    ///
    /// # Errors
    /// The text is no signature.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        hex::decode(&self.0).map_err(|_| SignatureError::Text)
    }

    /// `program`, signed.
    ///
    /// # Errors
    /// It is no program, or is signed already.
    pub fn attach(&self, program: &[u8]) -> Result<Vec<u8>> {
        attach(program, &self.bytes()?)
    }
}

/// Signatures that an image brings along.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signatures {
    /// Of systemd-boot in the root.
    pub loader: Signature,
    /// Of [`for_kexec`] of the kernel.
    pub kernel: Signature,
    /// Of each module, by its name: `kvm`.
    pub modules: BTreeMap<String, Signature>,
}

/// The signature of what an installer puts together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedImage {
    /// SHA-256 of the UKI without its signature, in hexadecimal.
    pub digest: String,
    /// Its signature.
    pub signature: Signature,
    /// Who vouches for what of it is measured, if anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PcrPolicy>,
}

/// Where things are in the headers of a program.
struct Places {
    /// Offset of the PE signature.
    headers: usize,
    /// Offset of the directory entry of the signatures.
    entry: usize,
}

impl Places {
    fn of(program: &[u8]) -> Result<Self> {
        let file = PeFile64::parse(program).map_err(|_| SignatureError::Program)?;
        let headers = usize::try_from(file.dos_header().nt_headers_offset()).unwrap_or(usize::MAX);
        let directories = file.nt_headers().optional_header.number_of_rva_and_sizes.get(LE);
        let number = IMAGE_DIRECTORY_ENTRY_SECURITY;
        if usize::try_from(directories).unwrap_or(0) <= number {
            return Err(SignatureError::Program);
        }
        let entry = headers
            .checked_add(size_of::<ImageNtHeaders64>())
            .and_then(|at| at.checked_add(number * size_of::<ImageDataDirectory>()));
        Ok(Self {
            headers,
            entry: entry.ok_or(SignatureError::Program)?,
        })
    }
}

/// The table of a program: where it is, and how long.
fn table_of(program: &[u8], entry: usize) -> Result<(u32, u32)> {
    let place = program.get(entry..).ok_or(SignatureError::Program)?;
    let (entry, _) = pod::from_bytes::<ImageDataDirectory>(place).map_err(|()| SignatureError::Program)?;
    Ok((entry.virtual_address.get(LE), entry.size.get(LE)))
}

/// Whether a program says that it is signed; its headers are enough. What the signature is worth, firmware knows.
pub fn is_signed(program: &[u8]) -> bool {
    let table = Places::of(program).and_then(|places| table_of(program, places.entry));
    table.is_ok_and(|(at, length)| at != 0 && length != 0)
}

/// The X.509 certificates (DER) in signature lists (UEFI 2.10 §32.4.1), as firmware keeps them of whom it trusts. A list that is not
/// whole ends them.
pub fn certificates(mut lists: &[u8]) -> Vec<&[u8]> {
    /// `EFI_CERT_X509_GUID`.
    const X509: [u8; 16] = [
        0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a, 0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
    ];
    /// Type, and three lengths: of the list, of a header behind this one, of an entry.
    const HEADER: usize = 28;
    /// Whoever brought an entry.
    const OWNER: usize = 16;
    let length = |list: &[u8], at: usize| {
        let bytes = list.get(at..)?.first_chunk::<4>()?;
        usize::try_from(u32::from_le_bytes(*bytes)).ok()
    };
    let mut found = Vec::new();
    while let (Some(whole), Some(header), Some(entry)) =
        (length(lists, 16), length(lists, 20), length(lists, 24))
    {
        let (Some(list), true) = (lists.get(..whole), whole >= HEADER && entry > OWNER) else {
            break;
        };
        if list.starts_with(&X509) {
            let entries = list.get(HEADER.saturating_add(header)..).unwrap_or_default();
            found.extend(entries.chunks_exact(entry).filter_map(|entry| entry.get(OWNER..)));
        }
        lists = lists.get(whole..).unwrap_or_default();
    }
    found
}

/// Whether a signature brings one of these certificates along. Whether it is right, firmware finds out.
pub fn names_one_of(table: &[u8], certificates: &[&[u8]]) -> bool {
    let brings = |certificate: &&[u8]| table.windows(certificate.len()).any(|part| part == *certificate);
    certificates.iter().filter(|c| !c.is_empty()).any(brings)
}

/// Where the table of a program is, and how long, by its headers.
///
/// # Errors
/// It has none.
pub fn place_of_table(headers: &[u8]) -> Result<(u64, u64)> {
    match table_of(headers, Places::of(headers)?.entry)? {
        (0, _) | (_, 0) => Err(SignatureError::Unsigned),
        (at, length) => Ok((at.into(), length.into())),
    }
}

/// The table of a signed program.
///
/// # Errors
/// It has none.
pub fn table(signed: &[u8]) -> Result<&[u8]> {
    let (at, length) = table_of(signed, Places::of(signed)?.entry)?;
    let range = usize::try_from(at)
        .ok()
        .zip(usize::try_from(length).ok())
        .filter(|(at, length)| *at != 0 && *length != 0)
        .and_then(|(at, length)| Some(at..at.checked_add(length)?));
    range
        .and_then(|range| signed.get(range))
        .ok_or(SignatureError::Unsigned)
}

/// A program with a table behind it.
///
/// # Errors
/// It is no program, or has a table already.
pub fn attach(program: &[u8], table: &[u8]) -> Result<Vec<u8>> {
    let places = Places::of(program)?;
    if table_of(program, places.entry)? != (0, 0) {
        return Err(SignatureError::Signed);
    }
    let mut signed = program.to_vec();
    signed.resize(signed.len().next_multiple_of(ALIGNMENT), 0);
    let at = u32::try_from(signed.len()).map_err(|_| SignatureError::Program)?;
    signed.extend_from_slice(table);
    signed.resize(signed.len().next_multiple_of(ALIGNMENT), 0);
    let length = u32::try_from(signed.len())
        .ok()
        .and_then(|end| end.checked_sub(at))
        .ok_or(SignatureError::Program)?;
    let place = signed.get_mut(places.entry..).ok_or(SignatureError::Program)?;
    let (entry, _) =
        pod::from_bytes_mut::<ImageDataDirectory>(place).map_err(|()| SignatureError::Program)?;
    entry.virtual_address.set(LE, at);
    entry.size.set(LE, length);
    Ok(signed)
}

/// A kernel that only a kernel starts.
///
/// # Errors
/// It is no EFI application.
pub fn for_kexec(kernel: &[u8]) -> Result<Vec<u8>> {
    let places = Places::of(kernel)?;
    let mut changed = kernel.to_vec();
    let place = changed.get_mut(places.headers..).ok_or(SignatureError::Program)?;
    let (headers, _) =
        pod::from_bytes_mut::<ImageNtHeaders64>(place).map_err(|()| SignatureError::Program)?;
    let subsystem = &mut headers.optional_header.subsystem;
    if subsystem.get(LE) != IMAGE_SUBSYSTEM_EFI_APPLICATION {
        return Err(SignatureError::Kernel);
    }
    subsystem.set(LE, IMAGE_SUBSYSTEM_UNKNOWN);
    Ok(changed)
}

/// What stands behind a module that is signed: the signature (PKCS#7, detached), and `struct module_signature`.
pub fn behind_module(pkcs7: &[u8]) -> Vec<u8> {
    let length = u32::try_from(pkcs7.len()).unwrap_or(u32::MAX);
    let mut bytes = pkcs7.to_vec();
    // algo, hash, id_type, signer_len, key_id_len, three bytes of nothing: PKCS#7 says all of it itself.
    bytes.extend([0, 0, PKCS7, 0, 0, 0, 0, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(MODULE_MAGIC);
    bytes
}

#[cfg(test)]
pub mod samples;
#[cfg(test)]
mod tests;
