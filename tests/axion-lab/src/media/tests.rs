use std::os::unix::fs::MetadataExt;

use super::*;

#[test]
fn the_config_volume_is_found_by_its_label_and_holds_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cfg.img");
    config_volume(
        &path,
        &[("axion.toml".to_owned(), b"hostname = \"n1\"\n".to_vec())],
    )
    .unwrap();
    let volume = FileSystem::new(
        File::options().read(true).write(true).open(&path).unwrap(),
        FsOptions::new(),
    )
    .unwrap();
    assert_eq!(volume.volume_label(), "AXION-CFG");
    assert_eq!(
        volume.read_volume_label_from_root_dir().unwrap().as_deref(),
        Some("AXION-CFG")
    );
    let mut text = String::new();
    volume
        .root_dir()
        .open_file("axion.toml")
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "hostname = \"n1\"\n");
}

#[test]
fn a_blank_disk_takes_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = disk_file(dir.path(), 0, &DiskContent::Blank { mib: 1024 }).unwrap();
    let meta = std::fs::metadata(path).unwrap();
    assert_eq!(meta.len(), 1 << 30);
    assert!(meta.blocks() * 512 < 1 << 20);
}

#[test]
fn an_overlay_is_a_second_archive_at_a_multiple_of_four() {
    let dir = tempfile::tempdir().unwrap();
    let (base, path) = (dir.path().join("base"), dir.path().join("out"));
    std::fs::write(&base, b"first").unwrap();
    overlay(&base, &path, &[("axion/root.erofs", b"rubbish")]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(&bytes[..8], b"first\0\0\0");
    let reader = newc::Reader::new(&bytes[8..]).unwrap();
    assert_eq!(
        (reader.entry().name(), reader.entry().file_size()),
        ("axion/root.erofs", 7)
    );
    let rest = reader.finish().unwrap();
    assert!(newc::Reader::new(rest).unwrap().entry().is_trailer());
}

#[test]
fn a_truncated_file_is_the_start_of_the_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let (base, path) = (dir.path().join("base"), dir.path().join("out"));
    std::fs::write(&base, b"0123456789").unwrap();
    truncated(&base, &path, 4).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"0123");
}
