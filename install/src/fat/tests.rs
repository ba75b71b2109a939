use super::*;
use crate::recording::{Disk, Operation};

const FORMAT: Format = Format {
    label: *b"TEST       ",
    id: 1,
    cluster: 512,
};

fn volume(disk: &Disk) -> Volume<&Disk> {
    let mut volume = Volume::format(disk, &FORMAT).unwrap();
    volume.make_directory("d").unwrap();
    volume.finish().unwrap();
    volume
}

fn write(volume: &Volume<&Disk>, path: &str, content: &[u8]) -> Result<Digest> {
    let length = u64::try_from(content.len()).unwrap();
    volume.write(path, &mut &*content, length, &mut |_| {})
}

#[test]
fn nothing_is_a_volume_before_it_is_finished() {
    let disk = Disk::new(40 << 20);
    let mut volume = Volume::format(&disk, &FORMAT).unwrap();
    volume.make_directory("d").unwrap();
    write(&volume, "d/file", &[7; 3000]).unwrap();
    assert!(Volume::open(&disk).is_err());
    volume.finish().unwrap();
    let read = Volume::open(&disk).unwrap().read("d/file", 3000).unwrap();
    assert_eq!(read.unwrap(), [7; 3000]);
}

#[test]
fn content_is_durable_before_its_clusters_are_taken_and_those_before_the_name() {
    let disk = Disk::new(40 << 20);
    let volume = volume(&disk);
    let data = volume.raw().unwrap().geometry().data;
    let before = disk.log().len();
    write(&volume, "d/file", &[7; 3001]).unwrap();
    let log = disk.log().split_off(before);
    let marks: Vec<u8> = log
        .iter()
        .map(|operation| match operation {
            Operation::Flush => b'|',
            Operation::Write { offset, .. } if *offset < data => b't',
            Operation::Write { bytes, .. } if bytes.first() == Some(&7) => b'c',
            Operation::Write { .. } => b'd',
        })
        .collect();
    let text = String::from_utf8(marks).unwrap();
    assert!(text.starts_with("c|t") && text.ends_with("|d|"), "{text}");
}

#[test]
fn a_rename_is_one_sector() {
    let disk = Disk::new(40 << 20);
    let volume = volume(&disk);
    write(&volume, "d/axion-b+2-1.conf", b"x").unwrap();
    let before = disk.log().len();
    volume.rename("d", "axion-b+2-1.conf", "axion-b.conf").unwrap();
    let log = disk.log().split_off(before);
    let writes = log.iter().filter(|o| matches!(o, Operation::Write { .. }));
    assert_eq!(writes.count(), 1);
    assert_eq!(volume.list("d").unwrap(), ["axion-b.conf"]);
}

#[test]
fn a_rename_replaces() {
    let disk = Disk::new(40 << 20);
    let volume = volume(&disk);
    write(&volume, "d/old", &[1; 600]).unwrap();
    write(&volume, "d/new", &[2; 1200]).unwrap();
    volume.rename("d", "new", "old").unwrap();
    volume.sweep().unwrap();
    assert_eq!(volume.list("d").unwrap(), ["old"]);
    assert_eq!(volume.read("d/old", 1200).unwrap().unwrap(), [2; 1200]);
}

#[test]
fn what_cannot_be_done_changes_nothing() {
    let disk = Disk::new(40 << 20);
    let volume = volume(&disk);
    write(&volume, "d/file", b"x").unwrap();
    let before = disk.log().len();
    assert!(matches!(write(&volume, "d/file", b"y"), Err(FatError::Exists(_))));
    let long = volume.write("d/long", &mut io::empty(), 1 << 30, &mut |_| {});
    assert!(matches!(long, Err(FatError::Full { .. })));
    assert!(matches!(
        volume.rename("d", "none", "any"),
        Err(FatError::Missing(_))
    ));
    assert!(volume.write("d/short", &mut &[1_u8][..], 2, &mut |_| {}).is_err());
    assert_eq!(disk.log().len(), before);
    assert_eq!(volume.list("d").unwrap(), ["file"]);
    assert_eq!(volume.read("none", 1).unwrap(), None);
}

#[test]
fn files_have_dates_that_firmware_takes() {
    let disk = Disk::new(40 << 20);
    let volume = volume(&disk);
    write(&volume, "d/file", &[7; 3000]).unwrap();
    volume.rename("d", "file", "axion-a+3.conf").unwrap();
    let entry = volume.raw().unwrap().find("d/axion-a+3.conf").unwrap().unwrap();
    let mut slot = [0; raw::ENTRY];
    volume
        .overlay
        .read_at(*entry.places.last().unwrap(), &mut slot)
        .unwrap();
    for date in [&slot[16..18], &slot[24..26]] {
        let date = u16::from_le_bytes([date[0], date[1]]);
        assert_eq!((date >> 9, date >> 5 & 15, date & 31), (46, 1, 1));
    }
}
