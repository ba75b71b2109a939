//! A unified kernel image: systemd's EFI stub with the kernel, its command line and the initramfs as further sections
//! (UAPI.5, <https://uapi-group.org/specifications/specs/unified_kernel_image/>).
//!
//! Sections are appended to the stub as the PE/COFF specification has it: a header into the free room behind the stub's own
//! ones, the content at the end of the file, an address behind the last section. The kernel comes last, with as much address
//! space as it needs once it runs, because the stub may run it where it lies.

use anyhow::{Context, Result, anyhow, ensure};
use object::pe::{
    IMAGE_SCN_CNT_CODE, IMAGE_SCN_CNT_INITIALIZED_DATA, IMAGE_SCN_MEM_EXECUTE, IMAGE_SCN_MEM_READ,
    IMAGE_SIZEOF_SECTION_HEADER, ImageNtHeaders64, ImageSectionHeader,
};
use object::read::pe::PeFile64;
use object::{LittleEndian as LE, pod};

use super::kernel_release;

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
}

/// The stub with the parts.
pub fn assemble(stub: &[u8], parts: &Parts<'_>) -> Result<Vec<u8>> {
    let release = kernel_release(parts.kernel)?;
    let running = PeFile64::parse(parts.kernel)
        .context("vmlinuz is no EFI program: its kernel was built without CONFIG_EFI_STUB")?
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
    image.append(".linux", parts.kernel, running, code)?;
    Ok(image.bytes)
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
        let file = PeFile64::parse(stub).context("the EFI stub is no PE32+ program")?;
        let headers_at = usize::try_from(file.dos_header().nt_headers_offset())?;
        let optional = usize::from(file.nt_headers().file_header.size_of_optional_header.get(LE));
        // Signature and file header are 4 and 20 bytes.
        let sections_at = headers_at + 24 + optional;
        let alignment = usize::try_from(file.nt_headers().optional_header.file_alignment.get(LE))?;
        ensure!(
            alignment.is_power_of_two(),
            "the EFI stub has the file alignment {alignment}, which is no power of two"
        );
        let mut bytes = stub.to_vec();
        bytes.resize(bytes.len().next_multiple_of(alignment), 0);
        Ok(Self {
            bytes,
            headers_at,
            sections_at,
        })
    }

    /// Appends a section whose place in memory is at least `memory` bytes.
    fn append(&mut self, name: &str, content: &[u8], memory: u32, characteristics: u32) -> Result<()> {
        let raw_at = u32::try_from(self.bytes.len())?;
        let length = u32::try_from(content.len())?;
        let sections_at = self.sections_at;
        let headers = self.headers()?;
        let count = headers.file_header.number_of_sections.get(LE);
        let file_alignment = headers.optional_header.file_alignment.get(LE);
        let alignment = headers.optional_header.section_alignment.get(LE);
        let room = usize::try_from(headers.optional_header.size_of_headers.get(LE))?;
        let raw = length
            .checked_next_multiple_of(file_alignment)
            .context("a section is too long")?;
        let virtual_size = length.max(memory);
        let address = headers.optional_header.size_of_image.get(LE);
        let end = address
            .checked_add(virtual_size)
            .and_then(|end| end.checked_next_multiple_of(alignment))
            .context("the image is longer than 4 GiB")?;
        let at = sections_at + usize::from(count) * IMAGE_SIZEOF_SECTION_HEADER;
        ensure!(
            at + IMAGE_SIZEOF_SECTION_HEADER <= room,
            "the EFI stub has no room for the header of section {name}"
        );

        headers.file_header.number_of_sections.set(LE, count + 1);
        headers.optional_header.size_of_image.set(LE, end);
        let initialized = headers.optional_header.size_of_initialized_data.get(LE);
        headers
            .optional_header
            .size_of_initialized_data
            .set(LE, initialized.saturating_add(raw));

        let (header, _) = pod::from_bytes_mut::<ImageSectionHeader>(&mut self.bytes[at..])
            .map_err(|()| anyhow!("the EFI stub ends in its headers"))?;
        header.name = [0; 8];
        header.name[..name.len()].copy_from_slice(name.as_bytes());
        header.virtual_size.set(LE, virtual_size);
        header.virtual_address.set(LE, address);
        header.size_of_raw_data.set(LE, raw);
        header.pointer_to_raw_data.set(LE, raw_at);
        header.characteristics.set(LE, characteristics);

        self.bytes.extend_from_slice(content);
        self.bytes.resize(usize::try_from(raw_at + raw)?, 0);
        Ok(())
    }

    fn headers(&mut self) -> Result<&mut ImageNtHeaders64> {
        pod::from_bytes_mut(&mut self.bytes[self.headers_at..])
            .map(|(headers, _)| headers)
            .map_err(|()| anyhow!("the EFI stub ends in its headers"))
    }
}

#[cfg(test)]
mod tests;
