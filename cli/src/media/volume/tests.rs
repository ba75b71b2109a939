use std::fs::File;
use std::io::Read;

use gpt::mbr::ProtectiveMBR;
use gpt::partition_types;

use super::*;

/// A disk with a config volume at sector 2048 and something behind it.
fn image(path: &Path) {
    const SECTORS: u64 = 20_480;
    let mut disk = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .unwrap();
    disk.set_len(SECTORS * 512).unwrap();
    let mbr = ProtectiveMBR::with_lb_size(u32::try_from(SECTORS - 1).unwrap());
    mbr.overwrite_lba0(&mut disk).unwrap();
    let mut table = GptConfig::new()
        .writable(true)
        .create_from_device(&mut disk, None)
        .unwrap();
    table
        .add_partition_at(NAME, 1, 2048, 8192, partition_types::BASIC, 0)
        .unwrap();
    table
        .add_partition_at("AXION-EFI", 2, 10_240, 2048, partition_types::EFI, 0)
        .unwrap();
    table.write().unwrap();
    let mut volume = vec![0; 8192 * 512];
    let options = fatfs::FormatVolumeOptions::new().volume_label(*b"AXION-CFG  ");
    fatfs::format_volume(Cursor::new(&mut volume), options).unwrap();
    let opened = FileSystem::new(Cursor::new(&mut volume), FsOptions::new()).unwrap();
    let mut file = opened.root_dir().create_file(FILE).unwrap();
    file.write_all(&[b'#'; 5000]).unwrap();
    drop(file);
    opened.unmount().unwrap();
    disk.write_all_at(&volume, 2048 * 512).unwrap();
}

#[test]
fn the_config_is_replaced_and_the_image_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("axion.img");
    image(&path);
    let before = std::fs::read(&path).unwrap();
    let mut patch = with_config(&path, "hostname = \"rack7\"\n").unwrap();
    assert_eq!((patch.at, patch.content.len()), (2048 * 512, 8192 * 512));
    let volume = FileSystem::new(Cursor::new(&mut patch.content), FsOptions::new()).unwrap();
    let mut text = String::new();
    volume
        .root_dir()
        .open_file(FILE)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "hostname = \"rack7\"\n");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn an_image_without_the_volume_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("axion.iso");
    std::fs::write(&path, vec![0; 1 << 20]).unwrap();
    let error = with_config(&path, "").unwrap_err().to_string();
    assert!(error.contains("has no volume AXION-CFG"), "{error}");
}
