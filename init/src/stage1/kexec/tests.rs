use std::io::{Read, Seek, SeekFrom};

use super::*;

fn file(name: &str, path: &str) -> Extra {
    Extra {
        name: name.to_owned(),
        mode: FILE | 0o755,
        file: Some(path.into()),
    }
}

#[test]
fn the_next_initramfs_has_this_ones_files_and_the_documents() {
    let mut archive = tempfile::tempfile().unwrap();
    let own = std::fs::read("/proc/self/exe").unwrap();
    write_initramfs(&archive, &[file("init", "/proc/self/exe")], b"{}").unwrap();
    archive.seek(SeekFrom::Start(0)).unwrap();
    let mut found = Vec::new();
    let mut rest = archive;
    loop {
        let mut reader = cpio::newc::Reader::new(rest).unwrap();
        if reader.entry().is_trailer() {
            break;
        }
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        let entry = reader.entry();
        found.push((entry.name().to_owned(), entry.mode(), content));
        rest = reader.finish().unwrap();
    }
    let names: Vec<(&str, u32)> = found
        .iter()
        .map(|(name, mode, _)| (name.as_str(), *mode))
        .collect();
    assert_eq!(
        names,
        [
            ("axion", 0o040_755),
            ("init", 0o100_755),
            ("axion/documents.json", 0o100_600)
        ]
    );
    assert!(found[1].2 == own);
    assert_eq!(found[2].2, b"{}");
}

#[test]
fn the_kernels_own_arguments_are_not_given_twice() {
    assert_eq!(own("rootfstype=ramfs console=ttyS0"), "console=ttyS0");
    assert_eq!(
        own("console=ttyS0 rootfstype=ramfs"),
        "console=ttyS0 rootfstype=ramfs"
    );
}

#[test]
fn a_missing_file_is_named() {
    let archive = tempfile::tempfile().unwrap();
    let error = write_initramfs(&archive, &[file("init", "/nowhere")], b"").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read /nowhere in the initramfs"),
        "{error}"
    );
}
