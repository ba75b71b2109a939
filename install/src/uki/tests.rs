use super::samples::{kernel, program};
use super::*;

fn parts(kernel: &[u8]) -> Parts<'_> {
    Parts {
        os_release: b"ID=axion\n",
        cmdline: "console=tty0",
        kernel,
        initramfs: b"070701",
        policy: None,
    }
}

#[test]
fn every_part_is_a_section_and_nothing_overlaps() {
    let kernel = kernel();
    let image = assemble(&program(5), &parts(&kernel)).unwrap();
    let file = PeFile64::parse(image.as_slice()).unwrap();
    let headers = &file.nt_headers().optional_header;
    let sections: Vec<_> = file.section_table().iter().collect();
    let names: Vec<_> = sections.iter().map(|s| s.raw_name().to_owned()).collect();
    assert_eq!(
        names,
        [&b".osrel"[..], b".cmdline", b".uname", b".initrd", b".linux"]
    );
    let contents = [&b"ID=axion\n"[..], b"console=tty0", b"6.12.1", b"070701", &kernel];
    let (mut address, mut offset) = (0x2000, 0x1000);
    for (section, content) in sections.iter().zip(contents) {
        assert_eq!(section.virtual_address.get(LE), address);
        assert_eq!(section.pointer_to_raw_data.get(LE), offset);
        let at = usize::try_from(offset).unwrap();
        assert_eq!(&image[at..at + content.len()], content);
        let length = section.virtual_size.get(LE);
        address = (address + length).next_multiple_of(0x1000);
        offset += section.size_of_raw_data.get(LE);
        assert_eq!(offset % 0x200, 0);
    }
    assert_eq!(headers.size_of_image.get(LE), address);
    assert_eq!(image.len(), usize::try_from(offset).unwrap());
    // The kernel's own SizeOfImage, not its file's.
    assert_eq!(sections[4].virtual_size.get(LE), 0x2000);
    assert_eq!(sections[0].virtual_size.get(LE), 9);
}

#[test]
fn a_stub_without_room_is_refused_and_names_the_section() {
    let error = assemble(&program(4), &parts(&kernel())).unwrap_err().to_string();
    assert!(error.contains(".linux"), "{error}");
}

#[test]
fn what_is_no_program_is_refused() {
    assert!(assemble(b"MZ", &parts(&kernel())).is_err());
    assert!(assemble(&program(5), &parts(b"MZ")).is_err());
}

#[test]
fn a_kernel_says_its_release() {
    let mut kernel = vec![0; 0x400];
    kernel[0x202..0x206].copy_from_slice(b"HdrS");
    kernel[0x20e..0x210].copy_from_slice(&0x100_u16.to_le_bytes());
    kernel[0x300..0x312].copy_from_slice(b"6.12.57 (axion@x)\0");
    assert_eq!(kernel_release(&kernel).unwrap(), "6.12.57");
    assert!(kernel_release(&kernel[..0x100]).is_err());
    kernel[0x202] = b'h';
    assert!(kernel_release(&kernel).is_err());
}

#[test]
fn the_headers_say_where_the_parts_are() {
    let kernel = kernel();
    let image = assemble(&program(5), &parts(&kernel)).unwrap();
    let found = places(&image[..HEADERS]).unwrap();
    let part = |extent: Extent| {
        let (start, length) = (
            usize::try_from(extent.start).unwrap(),
            usize::try_from(extent.length).unwrap(),
        );
        &image[start..start + length]
    };
    assert!(part(found.kernel).starts_with(&kernel));
    assert!(part(found.initramfs).starts_with(b"070701"));
    assert_eq!(found.initramfs.length, 512);
    assert_eq!(places(&program(5)), None);
    assert_eq!(places(b"MZ"), None);
}

#[test]
fn the_initramfs_is_what_it_was_to_the_byte() {
    let kernel = kernel();
    let image = assemble(&program(5), &parts(&kernel)).unwrap();
    assert_eq!(initramfs(&image).unwrap(), b"070701");
    assert_eq!(initramfs(&program(5)), Err(UkiError::NoUki));
    assert_eq!(initramfs(&image[..image.len() - 0x1400]), Err(UkiError::NoUki));
    assert_eq!(initramfs(b"MZ"), Err(UkiError::NoUki));
}

#[test]
fn a_uki_says_what_it_tells_its_kernel() {
    let image = assemble(&program(5), &parts(&kernel())).unwrap();
    assert_eq!(command_line(&image).unwrap(), "console=tty0");
    assert_eq!(initramfs(&image).unwrap(), b"070701");
    assert!(command_line(b"MZ").is_err());
}
