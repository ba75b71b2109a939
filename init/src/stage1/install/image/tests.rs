use super::*;

#[test]
fn the_initramfs_is_two_archives_the_second_of_which_begins_at_a_block() {
    let image = Image {
        kernel: vec![1; 10],
        init: vec![2; 10],
        erofs: vec![3; 1000],
        loader: Vec::new(),
        grub: [Vec::new(), Vec::new()],
        stub: Vec::new(),
        os_release: Vec::new(),
    };
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
    let names: Vec<_> = found
        .iter()
        .map(|(name, _, length)| (name.as_str(), *length))
        .collect();
    assert_eq!(
        names,
        [
            ("init", 10),
            ("axion", 0),
            ("axion/root.erofs", 1000),
            ("axion/whole", 0),
            ("TRAILER!!!", 0),
            ("axion", 0),
            ("axion/vmlinuz", 10),
            ("TRAILER!!!", 0)
        ]
    );
}

#[test]
fn a_missing_kernel_says_how_it_comes() {
    let error = ImageError::Read {
        path: kexec::KERNEL.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    };
    assert!(error.to_string().contains("kexec.cpio"));
}
