use super::*;

#[test]
fn the_initramfs_is_two_archives_the_second_of_which_begins_at_a_block() {
    let image = Image {
        kernel: vec![1; 10],
        init: vec![2; 10],
        erofs: vec![3; 1000],
        loader: Vec::new(),
        stub: Vec::new(),
        os_release: Vec::new(),
        microcode: Vec::new(),
        firmware: Vec::new(),
    };
    let names = names(&image);
    assert_eq!(
        names,
        [
            ("init".to_owned(), 10),
            ("axion".to_owned(), 0),
            ("axion/root.erofs".to_owned(), 1000),
            ("axion/whole".to_owned(), 0),
            ("TRAILER!!!".to_owned(), 0),
            ("axion".to_owned(), 0),
            ("axion/vmlinuz".to_owned(), 10),
            ("TRAILER!!!".to_owned(), 0)
        ]
    );
    let with_firmware = Image {
        microcode: vec![(
            "kernel/x86/microcode/GenuineIntel.bin".to_owned(),
            FILE | 0o644,
            vec![4; 3],
        )],
        firmware: vec![("lib/firmware/x.zst".to_owned(), FILE | 0o644, vec![5; 4])],
        ..image
    };
    let with = self::names(&with_firmware);
    assert_eq!(
        with[0],
        ("kernel/x86/microcode/GenuineIntel.bin".to_owned(), 3),
        "first of all"
    );
    assert_eq!(with[2..7], names[..5]);
    assert_eq!(with[7], ("lib/firmware/x.zst".to_owned(), 4));
    assert_eq!(with[9..], names[5..]);
}

/// What is in the initramfs, in its order.
fn names(image: &Image) -> Vec<(String, usize)> {
    let bytes = image.initramfs().unwrap();
    let mut found = Vec::new();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let mut reader = cpio::newc::Reader::new(rest).unwrap();
        let mut content = Vec::new();
        io::Read::read_to_end(&mut reader, &mut content).unwrap();
        let entry = reader.entry();
        found.push((entry.name().to_owned(), entry.mode(), content.len()));
        let trailer = entry.is_trailer();
        rest = reader.finish().unwrap();
        if trailer {
            let zeros = rest.iter().take_while(|b| **b == 0).count();
            rest = &rest[zeros..];
        }
    }
    found
        .into_iter()
        .map(|(name, _, length)| (name, length))
        .collect()
}

#[test]
fn a_missing_kernel_says_how_it_comes() {
    let error = ImageError::Read {
        path: kexec::KERNEL.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    };
    assert!(error.to_string().contains("kexec.cpio"));
}
