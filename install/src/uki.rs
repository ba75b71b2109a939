//! A unified kernel image: systemd's EFI stub with the kernel, its command line and the initramfs as further sections
//! (UAPI.5, <https://uapi-group.org/specifications/specs/unified_kernel_image/>).
//!
//! Sections are appended to the stub as the PE/COFF specification has it: a header into the free room behind the stub's own
//! ones, the content at the end of the file, an address behind the last section. The kernel comes last, with as much address
//! space as it needs once it runs, because the stub may run it where it lies.

use object::pe::{
    IMAGE_SCN_CNT_CODE, IMAGE_SCN_CNT_INITIALIZED_DATA, IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_READ,
    IMAGE_SIZEOF_SECTION_HEADER, ImageNtHeaders64, ImageSectionHeader,
};
use object::read::pe::PeFile64;
use object::{LittleEndian as LE, pod};
use serde::{Deserialize, Serialize};

mod measured;

pub use measured::measured;

/// A UKI cannot be put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UkiError {
    /// The stub.
    #[error("the EFI stub is no PE32+ program whose headers are whole")]
    Stub,
    /// The kernel.
    #[error("vmlinuz is no bzImage with a version in its header")]
    Kernel,
    /// The kernel's EFI part.
    #[error("vmlinuz is no EFI program: its kernel was built without CONFIG_EFI_STUB")]
    NoEfi,
    /// Its headers are full.
    #[error("the EFI stub has no room for the header of section {0}")]
    NoRoom(&'static str),
    /// It is none.
    #[error("it is no UKI with an initramfs")]
    NoUki,
    /// It is too long.
    #[error("the image would be longer than 4 GiB")]
    TooLong,
}

type Result<T> = std::result::Result<T, UkiError>;

/// What the stub is given.
pub struct Parts<'a> {
    /// `os-release`, which boot menus take the name from.
    pub os_release: &'a [u8],
    /// Kernel command line.
    pub cmdline: &'a str,
    /// bzImage.
    pub kernel: &'a [u8],
    /// Initramfs.
    pub initramfs: &'a [u8],
    /// Who vouches for what of it is measured, if anybody.
    pub policy: Option<&'a PcrPolicy>,
}

/// Who vouches for what the stub measures of an image ([`measured`]): the stub leaves both to the kernel, in the initramfs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PcrPolicy {
    /// Public key as PEM: `.pcrpkey`.
    pub key: String,
    /// Signatures by it as JSON: `.pcrsig`. The only section that is not measured, as it is about the others; empty while there are none.
    pub signatures: String,
}

/// The stub with the parts.
///
/// # Errors
/// A part is not what it should be, or the stub has no room.
pub fn assemble(stub: &[u8], parts: &Parts<'_>) -> Result<Vec<u8>> {
    let release = kernel_release(parts.kernel)?;
    let running = PeFile64::parse(parts.kernel)
        .map_err(|_| UkiError::NoEfi)?
        .nt_headers()
        .optional_header
        .size_of_image
        .get(LE);
    let data = IMAGE_SCN_CNT_INITIALIZED_DATA | IMAGE_SCN_MEM_READ;
    let code = IMAGE_SCN_CNT_CODE | IMAGE_SCN_MEM_EXECUTE | IMAGE_SCN_MEM_READ;
    let mut image = Image::new(stub)?;
    image.append(".osrel", parts.os_release, 0, data)?;
    image.append(".cmdline", parts.cmdline.as_bytes(), 0, data)?;
    image.append(".uname", release.as_bytes(), 0, data)?;
    image.append(".initrd", parts.initramfs, 0, data)?;
    if let Some(policy) = parts.policy {
        image.append(".pcrpkey", policy.key.as_bytes(), 0, data)?;
        if !policy.signatures.is_empty() {
            image.append(".pcrsig", policy.signatures.as_bytes(), 0, data)?;
        }
    }
    image.append(".linux", parts.kernel, running, code)?;
    Ok(image.bytes)
}

/// Bytes of a UKI that hold its headers.
pub const HEADERS: usize = 4096;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub start: u64,
    /// Bytes.
    pub length: u64,
}

/// Where the parts of a UKI are that start without UEFI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// bzImage.
    pub kernel: Extent,
    /// Initramfs.
    pub initramfs: Extent,
}

/// Where the parts of a UKI are, by the [`HEADERS`] at its beginning; `None`: it is none, or its parts are not in whole sectors.
pub fn places(headers: &[u8]) -> Option<Places> {
    let file = PeFile64::parse(headers).ok()?;
    let find = |name: &[u8]| {
        let mut sections = file.section_table().iter();
        let section = sections.find(|section| section.raw_name() == name)?;
        let extent = Extent {
            start: section.pointer_to_raw_data.get(LE).into(),
            length: section.size_of_raw_data.get(LE).into(),
        };
        let whole = extent.start.is_multiple_of(512) && extent.length.is_multiple_of(512);
        (whole && extent.length > 0).then_some(extent)
    };
    Some(Places {
        kernel: find(b".linux")?,
        initramfs: find(b".initrd")?,
    })
}

/// Headers of a program with a kernel of `sectors` sectors and an initramfs of one behind it, for images that are looked at and
/// never run.
pub(crate) fn example(sectors: u32) -> Vec<u8> {
    const HEADERS_AT: usize = 0x40;
    // The optional header without data directories is 112 bytes, and 24 come before it.
    const SECTIONS_AT: usize = HEADERS_AT + 24 + 112;
    let mut bytes = vec![0; 512];
    let mut put = |at: usize, value: &[u8]| {
        if let Some(to) = bytes.get_mut(at..at + value.len()) {
            to.copy_from_slice(value);
        }
    };
    put(0, b"MZ");
    put(0x3c, &[0x40]);
    put(HEADERS_AT, b"PE");
    // x86-64, two sections, bytes of the optional header, PE32+.
    put(HEADERS_AT + 4, &[0x64, 0x86, 2]);
    put(HEADERS_AT + 20, &[112]);
    put(HEADERS_AT + 24, &[0x0b, 0x02]);
    let places = [
        (b".linux".as_slice(), 512, sectors),
        (b".initrd", 512 * (sectors + 1), 1),
    ];
    for (at, (name, start, length)) in (SECTIONS_AT..).step_by(IMAGE_SIZEOF_SECTION_HEADER).zip(places) {
        put(at, name);
        put(at + 16, &(length * 512).to_le_bytes());
        put(at + 20, &start.to_le_bytes());
    }
    bytes
}

/// A PE32+ program that grows.
struct Image {
    bytes: Vec<u8>,
    /// Offset of the PE signature.
    headers_at: usize,
    /// Offset of the first section header.
    sections_at: usize,
}

impl Image {
    fn new(stub: &[u8]) -> Result<Self> {
        let file = PeFile64::parse(stub).map_err(|_| UkiError::Stub)?;
        let headers_at = position(file.dos_header().nt_headers_offset())?;
        let optional = usize::from(file.nt_headers().file_header.size_of_optional_header.get(LE));
        // Signature and file header are 4 and 20 bytes.
        let sections_at = headers_at + 24 + optional;
        let alignment = position(file.nt_headers().optional_header.file_alignment.get(LE))?;
        if !alignment.is_power_of_two() {
            return Err(UkiError::Stub);
        }
        let mut bytes = stub.to_vec();
        bytes.resize(bytes.len().next_multiple_of(alignment), 0);
        Ok(Self {
            bytes,
            headers_at,
            sections_at,
        })
    }

    /// Appends a section whose place in memory is at least `memory` bytes.
    fn append(
        &mut self,
        name: &'static str,
        content: &[u8],
        memory: u32,
        characteristics: u32,
    ) -> Result<()> {
        let raw_at = u32::try_from(self.bytes.len()).map_err(|_| UkiError::TooLong)?;
        let length = u32::try_from(content.len()).map_err(|_| UkiError::TooLong)?;
        let sections_at = self.sections_at;
        let headers = self.headers()?;
        let count = headers.file_header.number_of_sections.get(LE);
        let file_alignment = headers.optional_header.file_alignment.get(LE);
        let alignment = headers.optional_header.section_alignment.get(LE);
        let room = position(headers.optional_header.size_of_headers.get(LE))?;
        let raw = length
            .checked_next_multiple_of(file_alignment)
            .ok_or(UkiError::TooLong)?;
        let virtual_size = length.max(memory);
        let address = headers.optional_header.size_of_image.get(LE);
        let end = address
            .checked_add(virtual_size)
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .ok_or(UkiError::TooLong)?;
        let at = sections_at + usize::from(count) * IMAGE_SIZEOF_SECTION_HEADER;
        if at + IMAGE_SIZEOF_SECTION_HEADER > room {
            return Err(UkiError::NoRoom(name));
        }

        headers.file_header.number_of_sections.set(LE, count + 1);
        headers.optional_header.size_of_image.set(LE, end);
        let initialized = headers.optional_header.size_of_initialized_data.get(LE);
        headers
            .optional_header
            .size_of_initialized_data
            .set(LE, initialized.saturating_add(raw));

        let place = self.bytes.get_mut(at..).ok_or(UkiError::Stub)?;
        let (header, _) = pod::from_bytes_mut::<ImageSectionHeader>(place).map_err(|()| UkiError::Stub)?;
        header.name = [0; 8];
        for (to, letter) in header.name.iter_mut().zip(name.bytes()) {
            *to = letter;
        }
        header.virtual_size.set(LE, virtual_size);
        header.virtual_address.set(LE, address);
        header.size_of_raw_data.set(LE, raw);
        header.pointer_to_raw_data.set(LE, raw_at);
        header.characteristics.set(LE, characteristics);

        self.bytes.extend_from_slice(content);
        let end = raw_at.checked_add(raw).ok_or(UkiError::TooLong)?;
        self.bytes.resize(position(end)?, 0);
        Ok(())
    }

    fn headers(&mut self) -> Result<&mut ImageNtHeaders64> {
        let place = self.bytes.get_mut(self.headers_at..).ok_or(UkiError::Stub)?;
        pod::from_bytes_mut(place)
            .map(|(headers, _)| headers)
            .map_err(|()| UkiError::Stub)
    }
}

/// The initramfs in a UKI.
///
/// # Errors
/// It is no UKI.
pub fn initramfs(uki: &[u8]) -> Result<&[u8]> {
    section(uki, b".initrd")
}

/// What a UKI says to its kernel where nobody else says anything.
///
/// # Errors
/// It is no UKI, or what it says is no text.
pub fn command_line(uki: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(section(uki, b".cmdline")?).map_err(|_| UkiError::NoUki)?;
    Ok(text.trim_end_matches(['\0', '\n', ' ']))
}

fn section<'a>(uki: &'a [u8], name: &[u8]) -> Result<&'a [u8]> {
    let file = PeFile64::parse(uki).map_err(|_| UkiError::NoUki)?;
    let mut sections = file.section_table().iter();
    let section = sections.find(|section| section.raw_name() == name);
    let section = section.ok_or(UkiError::NoUki)?;
    let start = position(section.pointer_to_raw_data.get(LE))?;
    // Its size in the file is rounded up.
    let length = position(section.virtual_size.get(LE))?;
    let bytes = uki.get(start..).and_then(|rest| rest.get(..length));
    bytes.ok_or(UkiError::NoUki)
}

fn position(offset: u32) -> Result<usize> {
    usize::try_from(offset).map_err(|_| UkiError::TooLong)
}

/// Release of a kernel, from its bzImage (Documentation/arch/x86/boot.rst, `kernel_version`).
///
/// # Errors
/// It is no bzImage.
pub fn kernel_release(kernel: &[u8]) -> Result<&str> {
    let field = kernel.get(0x20e..0x210).and_then(|field| field.try_into().ok());
    let magic = kernel.get(0x202..0x206) == Some(b"HdrS".as_slice());
    let text = field
        .filter(|_| magic)
        .and_then(|field| kernel.get(usize::from(u16::from_le_bytes(field)) + 0x200..));
    let word = text.and_then(|t| t.split(|b| *b == b' ' || *b == 0).next());
    match word.and_then(|w| std::str::from_utf8(w).ok()) {
        Some(release) if !release.is_empty() => Ok(release),
        _ => Err(UkiError::Kernel),
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
