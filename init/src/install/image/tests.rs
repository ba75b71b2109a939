use super::*;

fn image() -> Image {
    Image {
        kernel: vec![1; 10],
        init: vec![2; 10],
        erofs: vec![3; 1000],
        loader: Vec::new(),
        grub: [Vec::new(), Vec::new()],
        stub: Vec::new(),
        os_release: Vec::new(),
        microcode: Vec::new(),
        firmware: Vec::new(),
        signatures: None,
    }
}

/// Names and lengths of what is in archives, one behind the other.
fn entries(mut rest: &[u8]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        let mut reader = cpio::newc::Reader::new(rest).unwrap();
        let mut content = Vec::new();
        io::Read::read_to_end(&mut reader, &mut content).unwrap();
        let entry = reader.entry();
        found.push((entry.name().to_owned(), content.len()));
        let trailer = entry.is_trailer();
        rest = reader.finish().unwrap();
        if trailer {
            let zeros = rest.iter().take_while(|b| **b == 0).count();
            rest = &rest[zeros..];
        }
    }
    found
}

const ARCHIVES: [(&str, usize); 8] = [
    ("init", 10),
    ("axion", 0),
    ("axion/root.erofs", 1000),
    ("axion/whole", 0),
    ("TRAILER!!!", 0),
    ("axion", 0),
    ("axion/vmlinuz", 10),
    ("TRAILER!!!", 0),
];

fn named(entries: &[(&str, usize)]) -> Vec<(String, usize)> {
    let owned = |(name, length): &(&str, usize)| ((*name).to_owned(), *length);
    entries.iter().map(owned).collect()
}

#[test]
fn the_initramfs_is_two_archives_the_second_of_which_begins_at_a_block() {
    let bytes = image().initramfs().unwrap();
    assert_eq!(entries(&bytes), named(&ARCHIVES));
    assert_eq!(bytes.len() % 4, 0);
}

#[test]
fn microcode_comes_first_of_all_and_firmware_before_the_kernel() {
    let with_firmware = Image {
        microcode: vec![(
            "kernel/x86/microcode/GenuineIntel.bin".to_owned(),
            FILE | 0o644,
            vec![4; 3],
        )],
        firmware: vec![("lib/firmware/x.zst".to_owned(), FILE | 0o644, vec![5; 4])],
        ..image()
    };
    let found = entries(&with_firmware.initramfs().unwrap());
    let mut wanted = vec![("kernel/x86/microcode/GenuineIntel.bin", 3), ("TRAILER!!!", 0)];
    wanted.extend(ARCHIVES.iter().take(5));
    wanted.extend([("lib/firmware/x.zst", 4), ("TRAILER!!!", 0)]);
    wanted.extend(ARCHIVES.iter().skip(5));
    assert_eq!(found, named(&wanted));
}

#[test]
fn a_signed_image_brings_its_signatures_as_they_were_signed_and_nothing_else_gets_one() {
    let signed = Signed {
        text: b"{}".to_vec(),
        image: SignedImage {
            digest: "00".to_owned(),
            ..SignedImage::default()
        },
    };
    let image = Image {
        signatures: Some(signed),
        ..image()
    };
    let mut wanted = ARCHIVES.to_vec();
    wanted.extend([("axion", 0), ("axion/signatures.json", 2), ("TRAILER!!!", 0)]);
    assert_eq!(entries(&image.initramfs().unwrap()), named(&wanted));
    let error = image.signatures.unwrap().sign(b"another image").unwrap_err();
    assert!(error.to_string().ends_with("and 00 was signed"), "{error}");
}

#[test]
fn a_missing_kernel_says_how_it_comes() {
    let error = ImageError::Read {
        path: "/axion/vmlinuz".to_owned(),
        source: io::ErrorKind::NotFound.into(),
    };
    assert!(error.to_string().contains("kexec.cpio"));
}

#[test]
fn a_file_is_found_in_whatever_archive_it_is() {
    let bytes = image().initramfs().unwrap();
    assert_eq!(in_archives(&bytes, "axion/vmlinuz"), Some(vec![1; 10]));
    assert_eq!(in_archives(&bytes, "init"), Some(vec![2; 10]));
    assert_eq!(in_archives(&bytes, "axion/other"), None);
    assert_eq!(in_archives(&bytes[..100], "axion/vmlinuz"), None);
    assert_eq!(in_archives(b"", "init"), None);
}
