use super::*;
use crate::recording::Disk;

fn partitions() -> Vec<Partition> {
    [
        (1, Kind::Basic, 1 << 20, 3 << 20),
        (2, Kind::Esp, 4 << 20, 8 << 20),
        (3, Kind::Pool, 12 << 20, 16 << 20),
    ]
    .into_iter()
    .map(|(number, kind, start, length)| Partition {
        number,
        name: format!("PART-{number}"),
        kind,
        start,
        length,
        guid: 7 + u128::from(number),
    })
    .collect()
}

#[test]
fn what_is_written_is_read() {
    let disk = Disk::new(32 << 20);
    write(&disk, 7, &partitions(), None).unwrap();
    assert_eq!(read(&disk).unwrap(), partitions());
}

#[test]
fn the_backup_is_read_where_the_first_table_is_damaged() {
    let disk = Disk::new(32 << 20);
    write(&disk, 7, &partitions(), None).unwrap();
    disk.write_at(512, &[0; 512]).unwrap();
    assert_eq!(read(&disk).unwrap(), partitions());
}

#[test]
fn nothing_is_read_of_what_was_wiped() {
    let disk = Disk::new(32 << 20);
    write(&disk, 7, &partitions(), None).unwrap();
    wipe(&disk).unwrap();
    assert!(read(&disk).is_err());
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let disk = Disk::new(16 << 20);
    assert!(write(&disk, 7, &partitions(), None).is_err());
    assert!(disk.log().is_empty());
}

#[test]
fn the_first_sector_gets_boot_code_and_the_table_stays_the_same() {
    let (disk, plain) = (Disk::new(32 << 20), Disk::new(32 << 20));
    write(&plain, 7, &partitions(), None).unwrap();
    write(&disk, 7, &partitions(), Some(&[0xeb; BOOT_CODE])).unwrap();
    assert_eq!(read(&disk).unwrap(), partitions());
    let (mut with, mut without) = ([0; 512], [0; 512]);
    disk.read_at(0, &mut with).unwrap();
    plain.read_at(0, &mut without).unwrap();
    assert_eq!(with[..BOOT_CODE], [0xeb; BOOT_CODE]);
    assert_eq!(with[BOOT_CODE..], without[BOOT_CODE..]);
}
