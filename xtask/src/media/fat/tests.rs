use std::io::Read;

use super::*;

const VOLUME: Volume = Volume {
    label: *b"AXION-CFG  ",
    id: 7,
    bytes: 16 << 20,
};

#[test]
fn files_and_their_directories_are_there_with_the_one_time() {
    let files = [
        ("EFI/BOOT/BOOTX64.EFI".to_owned(), &b"MZ"[..]),
        ("EFI/BOOT/other".to_owned(), b"x"),
        ("axion.toml".to_owned(), b"# nothing\n"),
    ];
    let bytes = VOLUME.build(&files).unwrap();
    assert_eq!(bytes, VOLUME.build(&files).unwrap());
    let volume = FileSystem::new(Cursor::new(bytes), FsOptions::new()).unwrap();
    assert_eq!(volume.volume_id(), 7);
    let label = volume.read_volume_label_from_root_dir().unwrap();
    assert_eq!(label.as_deref(), Some("AXION-CFG"));
    for (path, content) in files {
        let mut read = Vec::new();
        volume
            .root_dir()
            .open_file(&path)
            .unwrap()
            .read_to_end(&mut read)
            .unwrap();
        assert_eq!(read, content, "{path}");
    }
    for entry in volume.root_dir().iter() {
        assert_eq!(entry.unwrap().modified().date.year, 2026);
    }
}

#[test]
fn the_size_fits_its_content() {
    for length in [0, 7 << 20, 37 << 20, 90 << 20, 150 << 20] {
        let content = vec![1; length];
        let files = [("a".to_owned(), content.as_slice())];
        let volume = Volume {
            bytes: size_for(&files),
            ..VOLUME
        };
        volume.build(&files).unwrap();
    }
}

#[test]
fn clusters_are_as_large_as_fat16_allows() {
    for (mib, size) in [(8, 1 << 10), (16, 2 << 10), (84, 16 << 10), (1024, 32 << 10)] {
        assert_eq!(cluster_size(mib << 20), size, "{mib} MiB");
    }
}
