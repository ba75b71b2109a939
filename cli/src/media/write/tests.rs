use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

fn files(image: &[u8], disk: usize) -> (TempDir, Source, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("image");
    std::fs::write(&path, image).unwrap();
    let device = dir.path().join("disk");
    std::fs::write(&device, vec![0xee; disk]).unwrap();
    (dir, Source::open(&path).unwrap(), device)
}

#[test]
fn the_image_its_padding_and_the_end_of_the_disk_are_written() {
    let image: Vec<u8> = (0..9_000_001_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[2])
        .collect();
    let (_dir, source, device) = files(&image, 16 << 20);
    let mut sent = 0;
    let sum = write(&source, &device, 16 << 20, |bytes| sent += bytes).unwrap();
    assert_eq!(sent, 9_000_001);
    assert_eq!(sum.as_slice(), Sha256::digest(&image).as_slice());
    let disk = std::fs::read(&device).unwrap();
    assert!(disk.starts_with(&image));
    let padded = image.len().next_multiple_of(512);
    assert!(disk[image.len()..padded].iter().all(|byte| *byte == 0));
    let tail = (16 << 20) - (1 << 20);
    assert!(disk[padded..tail].iter().all(|byte| *byte == 0xee));
    assert!(disk[tail..].iter().all(|byte| *byte == 0));
    compare(&source, &device, |_| {}).unwrap();
}

#[test]
fn a_disk_that_forgets_a_byte_is_found_out() {
    let (_dir, source, device) = files(&vec![1; 5_000_000], 5_000_192);
    write(&source, &device, 5_000_192, |_| {}).unwrap();
    let mut disk = std::fs::read(&device).unwrap();
    disk[4_999_999] = 2;
    std::fs::write(&device, disk).unwrap();
    let error = compare(&source, &device, |_| {}).unwrap_err().to_string();
    assert!(error.contains("first at byte 4999999"), "{error}");
}

#[test]
fn a_patch_stands_in_its_place_wherever_the_pieces_end() {
    let (_dir, mut source, _) = files(&[1; 100], 0);
    source.replace(Patch {
        at: 40,
        content: vec![2; 20],
    });
    let wanted: Vec<u8> = (0..100)
        .map(|n| if (40..60).contains(&n) { 2 } else { 1 })
        .collect();
    for length in [7, 30, 45, 100] {
        let mut read = Vec::new();
        let mut at = 0;
        while at < 100_usize {
            let mut piece = vec![0; length.min(100 - at)];
            source.read(&mut piece, as_u64(at)).unwrap();
            at += piece.len();
            read.extend(piece);
        }
        assert_eq!(read, wanted, "{length}");
    }
}

#[test]
fn what_is_no_image_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Source::open(dir.path()).is_err());
    assert!(Source::open(&dir.path().join("none")).is_err());
    std::fs::write(dir.path().join("empty"), "").unwrap();
    assert!(Source::open(&dir.path().join("empty")).is_err());
}

/// A loop device, gone with this.
struct Loop(PathBuf);

impl Loop {
    fn new(file: &Path) -> Self {
        let output = losetup(&["--find".as_ref(), "--show".as_ref(), file.as_os_str()]);
        Self(output.trim().into())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        losetup(&["--detach".as_ref(), self.0.as_os_str()]);
    }
}

fn losetup(arguments: &[&std::ffi::OsStr]) -> String {
    let output = std::process::Command::new("losetup")
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs root, for a loop device"]
fn a_block_device_is_written_and_one_that_somebody_holds_is_not() {
    const SIZE: u64 = 16 << 20;
    let image: Vec<u8> = (0..9_000_001_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let (_dir, source, file) = files(&image, as_usize(SIZE));
    let device = Loop::new(&file);
    write(&source, &device.0, SIZE, |_| {}).unwrap();
    compare(&source, &device.0, |_| {}).unwrap();
    assert!(std::fs::read(&file).unwrap().starts_with(&image));
    // As a mounted file system does.
    let exclusive = OFlag::O_EXCL.bits();
    let holder = File::options()
        .read(true)
        .custom_flags(exclusive)
        .open(&device.0)
        .unwrap();
    let error = write(&source, &device.0, SIZE, |_| {}).unwrap_err().to_string();
    assert!(error.contains("somebody uses it"), "{error}");
    drop(holder);
    write(&source, &device.0, SIZE, |_| {}).unwrap();
}
