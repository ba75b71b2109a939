use object::pe::{
    IMAGE_DOS_SIGNATURE, IMAGE_NT_OPTIONAL_HDR64_MAGIC, IMAGE_NT_SIGNATURE, ImageDosHeader,
    ImageOptionalHeader64,
};

use super::*;

/// Offset of the PE signature.
const HEADERS: usize = 0x80;

/// A PE32+ program without sections, with so many directories.
fn program(directories: u32) -> Vec<u8> {
    let mut bytes = vec![0x90; 0x203];
    let (dos, _) = pod::from_bytes_mut::<ImageDosHeader>(&mut bytes).unwrap();
    dos.e_magic.set(LE, IMAGE_DOS_SIGNATURE);
    dos.e_lfanew.set(LE, 0x80);
    bytes[HEADERS..HEADERS + size_of::<ImageNtHeaders64>() + 128].fill(0);
    let (nt, _) = pod::from_bytes_mut::<ImageNtHeaders64>(&mut bytes[HEADERS..]).unwrap();
    nt.signature.set(LE, IMAGE_NT_SIGNATURE);
    let directories_size = u16::try_from(directories).unwrap() * 8;
    let optional_size = u16::try_from(size_of::<ImageOptionalHeader64>()).unwrap();
    nt.file_header
        .size_of_optional_header
        .set(LE, optional_size + directories_size);
    let optional = &mut nt.optional_header;
    optional.magic.set(LE, IMAGE_NT_OPTIONAL_HDR64_MAGIC);
    optional.subsystem.set(LE, IMAGE_SUBSYSTEM_EFI_APPLICATION);
    optional.number_of_rva_and_sizes.set(LE, directories);
    bytes
}

#[test]
fn a_signature_comes_off_and_goes_behind_the_same_program_again() {
    let (program, signature) = (program(16), [7; 24]);
    assert!(!is_signed(&program));
    assert_eq!(table(&program), Err(SignatureError::Unsigned));
    let signed = attach(&program, &signature).unwrap();
    assert!(is_signed(&signed));
    // The headers alone tell.
    assert!(is_signed(&signed[..0x200]));
    assert_eq!(table(&signed).unwrap(), signature);
    // 0x203 bytes and five of padding; nothing else is different.
    assert_eq!(signed.len(), 0x208 + 24);
    let entry = HEADERS + size_of::<ImageNtHeaders64>() + 4 * 8;
    assert_eq!(signed[entry..entry + 8], [0x08, 2, 0, 0, 24, 0, 0, 0]);
    assert_eq!(signed[..entry], program[..entry]);
    assert_eq!(signed[entry + 8..0x203], program[entry + 8..]);
    assert_eq!(attach(&signed, &signature), Err(SignatureError::Signed));
    let text = serde_json::to_string(&Signature::new(table(&signed).unwrap())).unwrap();
    let carried: Signature = serde_json::from_str(&text).unwrap();
    assert_eq!(carried.attach(&program).unwrap(), signed);
}

#[test]
fn what_is_no_program_is_refused() {
    for bad in [&b""[..], b"MZ", &program(16)[..0x90], &program(4), &[0; 512]] {
        assert_eq!(
            attach(bad, &[0; 8]),
            Err(SignatureError::Program),
            "{}",
            bad.len()
        );
        assert!(!is_signed(bad));
    }
    // A table beyond the end of the file.
    let signed = attach(&program(16), &[7; 24]).unwrap();
    assert_eq!(table(&signed[..0x210]), Err(SignatureError::Unsigned));
    assert_eq!(Signature("xy".to_owned()).bytes(), Err(SignatureError::Text));
}

#[test]
fn a_kernel_for_kexec_is_no_application_and_otherwise_the_same() {
    let kernel = program(16);
    let changed = for_kexec(&kernel).unwrap();
    let different: Vec<_> = (0..kernel.len())
        .filter(|&at| kernel[at] != changed[at])
        .collect();
    // Signature and file header, then 68 bytes into the optional header (PE format, "Optional Header Windows-Specific Fields").
    assert_eq!(different, [HEADERS + 24 + 68]);
    assert_eq!(for_kexec(&changed), Err(SignatureError::Kernel));
}

#[test]
fn a_module_ends_as_the_kernel_looks_for_it() {
    let behind = behind_module(&[9; 300]);
    let (signature, end) = behind.split_at(300);
    assert_eq!(signature, [9; 300]);
    assert_eq!(
        end,
        b"\0\0\x02\0\0\0\0\0\0\0\x01\x2c~Module signature appended~\n"
    );
}

#[test]
fn certificates_are_read_out_of_signature_lists() {
    let (one, other) = ([1; 40], [2; 50]);
    let lists = [samples::list(&one), vec![0; 28], samples::list(&other)].concat();
    // A list without a length ends them.
    assert_eq!(certificates(&lists), [&one[..]]);
    let mut hashes = samples::list(&[3; 32]);
    hashes[0] = 0x26;
    let lists = [hashes, samples::list(&one), samples::list(&other)].concat();
    assert_eq!(certificates(&lists), [&one[..], &other]);
    assert!(names_one_of(
        &[&[0; 3][..], &other, &[0; 3]].concat(),
        &certificates(&lists)
    ));
    assert!(!names_one_of(&other[..49], &certificates(&lists)));
    for length in 0..lists.len() {
        certificates(&lists[..length]);
    }
}
