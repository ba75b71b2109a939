//! Programs to test with, as far as their headers go.

use object::pe::{
    IMAGE_DOS_SIGNATURE, IMAGE_FILE_MACHINE_AMD64, IMAGE_NT_OPTIONAL_HDR64_MAGIC, IMAGE_NT_SIGNATURE,
    IMAGE_NUMBEROF_DIRECTORY_ENTRIES, ImageDataDirectory, ImageDosHeader, ImageFileHeader,
    ImageOptionalHeader64,
};

use super::*;

/// A PE32+ program with an empty section table that has room for `sections`.
pub fn program(sections: usize) -> Vec<u8> {
    let mut bytes = vec![0; 0x1000];
    let (dos, _) = pod::from_bytes_mut::<ImageDosHeader>(&mut bytes).unwrap();
    dos.e_magic.set(LE, IMAGE_DOS_SIGNATURE);
    dos.e_lfanew.set(LE, 0x80);
    let (nt, _) = pod::from_bytes_mut::<ImageNtHeaders64>(&mut bytes[0x80..]).unwrap();
    nt.signature.set(LE, IMAGE_NT_SIGNATURE);
    nt.file_header.machine.set(LE, IMAGE_FILE_MACHINE_AMD64);
    let directories = IMAGE_NUMBEROF_DIRECTORY_ENTRIES * size_of::<ImageDataDirectory>();
    let size = size_of::<ImageOptionalHeader64>() + directories;
    nt.file_header
        .size_of_optional_header
        .set(LE, u16::try_from(size).unwrap());
    let optional = &mut nt.optional_header;
    optional
        .number_of_rva_and_sizes
        .set(LE, u32::try_from(IMAGE_NUMBEROF_DIRECTORY_ENTRIES).unwrap());
    optional.magic.set(LE, IMAGE_NT_OPTIONAL_HDR64_MAGIC);
    optional.section_alignment.set(LE, 0x1000);
    optional.file_alignment.set(LE, 0x200);
    optional.size_of_image.set(LE, 0x2000);
    let headers = 0x84 + size_of::<ImageFileHeader>() + size;
    let room = headers + sections * IMAGE_SIZEOF_SECTION_HEADER;
    optional.size_of_headers.set(LE, u32::try_from(room).unwrap());
    bytes
}

/// A bzImage with an EFI stub, as far as its headers go.
pub fn kernel() -> Vec<u8> {
    let mut kernel = program(0);
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x20e..0x210].copy_from_slice(&0x400_u16.to_le_bytes());
    kernel[0x600..0x606].copy_from_slice(b"6.12.1");
    kernel.resize(0x1100, 0x90);
    kernel
}
