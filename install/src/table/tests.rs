use gpt::header::Header;

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

type Change = fn(&mut Header);

/// A table whose header in the sector `number` says something else, with a checksum that fits.
fn change_header(disk: &Disk, number: u64, change: impl Fn(&mut Header)) {
    let around = Part::new(disk, (number - 1) * 512, 1024);
    let size = LogicalBlockSize::Lb512;
    let mut header = read_header_from_arbitrary_device(&mut Device(Stream::new(around)), size).unwrap();
    // There is room for more of them behind the first header.
    header.part_start = 2;
    change(&mut header);
    let mut device = Device(Stream::new(disk));
    let written = match number {
        1 => header.write_primary(&mut device, size),
        _ => header.write_backup(&mut device, size),
    };
    written.unwrap();
}

#[test]
fn a_disk_that_claims_odd_entries_is_refused_and_stops_nobody() {
    let odd: [(Change, &str); 2] = [
        (|header| header.part_size = 256, "128 entries of 256 bytes"),
        (|header| header.num_parts = 5000, "5000 entries of 128 bytes"),
    ];
    for (change, told) in odd {
        let disk = Disk::new(32 << 20);
        write(&disk, 7, &partitions(), None).unwrap();
        change_header(&disk, 1, change);
        assert_eq!(read(&disk).unwrap(), partitions());
        assert_eq!(guid(&disk).unwrap(), 7);
        change_header(&disk, (32 << 11) - 1, change);
        for refused in [read(&disk).unwrap_err(), guid(&disk).unwrap_err()] {
            assert!(refused.to_string().contains(told), "{refused}");
        }
    }
}

#[test]
fn the_backup_is_read_where_the_first_array_is_torn() {
    let disk = Disk::new(32 << 20);
    write(&disk, 7, &partitions(), None).unwrap();
    disk.write_at(1024, &[0xee; 512]).unwrap();
    assert_eq!(read(&disk).unwrap(), partitions());
    assert_eq!(guid(&disk).unwrap(), 7);
}

#[test]
fn a_partition_at_the_end_of_all_numbers_cannot_be_read() {
    let disk = Disk::new(1 << 20);
    let part = Part::new(&disk, u64::MAX - 511, 8192);
    assert!(part.read_at(4096, &mut [0; 512]).is_err());
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
