use super::*;

#[test]
fn nodes_of_partitions() {
    assert_eq!(partition_of("sda"), "sda1");
    assert_eq!(partition_of("nvme0n1"), "nvme0n1p1");
    for (node, disk) in [
        ("sda1", "sda"),
        ("sda", "sda"),
        ("vdb12", "vdb"),
        ("nvme0n1p1", "nvme0n1"),
        ("nvme0n1", "nvme0n1"),
        ("mmcblk0p2", "mmcblk0"),
        ("zd16", "zd16"),
    ] {
        assert_eq!(disk_of(node), disk, "{node}");
    }
}

#[test]
fn a_table_is_written_known_again_and_leaves_nothing_behind() {
    for sector in [512, 4096] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        let size = 64 << 20;
        std::fs::write(&path, vec![0xee; 64 << 20]).unwrap();
        assert!(!is_ours(&path, sector));
        let disk = File::options().read(true).write(true).open(&path).unwrap();
        write(&disk, &path, size, sector, room(size)).unwrap();
        assert!(is_ours(&path, sector));

        let table = GptConfig::new()
            .writable(false)
            .logical_block_size(LogicalBlockSize::try_from(u64::from(sector)).unwrap())
            .open(&path)
            .unwrap();
        let partition = &table.partitions()[&1];
        assert_eq!(
            partition.part_type_guid.guid.to_string().to_uppercase(),
            "6A898CC3-1DD2-11B2-99A6-080020736631"
        );
        assert_eq!(partition.first_lba * u64::from(sector), 1 << 20);
        assert_eq!((partition.last_lba + 1) * u64::from(sector), 63 << 20);
        assert!(table.backup_header().is_ok());

        // The ends of the partition, where labels would be.
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes[1 << 20..2 << 20].iter().all(|b| *b == 0));
        assert!(bytes[62 << 20..63 << 20].iter().all(|b| *b == 0));
        assert_eq!(bytes[32 << 20], 0xee);
    }
}

#[test]
fn a_table_with_odd_entries_is_not_ours_and_stops_nobody() {
    use gpt::header::{Header, read_header};
    let odd: [fn(&mut Header); 2] = [|header| header.part_size = 256, |header| header.num_parts = 5000];
    for change in odd {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("disk");
        let mut disk = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        disk.set_len(64 << 20).unwrap();
        write(&disk, &path, 64 << 20, 512, room(64 << 20)).unwrap();
        assert!(is_ours(&path, 512));
        let mut header = read_header(&path, LogicalBlockSize::Lb512).unwrap();
        change(&mut header);
        header.write_primary(&mut disk, LogicalBlockSize::Lb512).unwrap();
        assert!(!is_ours(&path, 512));
    }
}

#[test]
fn room_is_whole_and_never_negative() {
    assert_eq!(room(64 << 20), 62 << 20);
    assert_eq!(room((64 << 20) + 4096), 62 << 20);
    assert_eq!(room(1 << 20), 0);
}
