use std::os::unix::fs::FileExt;

use super::*;

#[test]
fn partitions_are_aligned_and_do_not_overlap() {
    let partitions = layout(5 << 20);
    let mut free = ALIGNMENT;
    for partition in &partitions {
        assert!(partition.first >= free && partition.first % ALIGNMENT == 0);
        free = partition.first + partition.size / SECTOR;
    }
}

#[test]
fn the_table_is_valid_and_always_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str| {
        let path = dir.path().join(name);
        let disk = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        let partitions = layout(5 << 20);
        let sectors = partitions[2].end() + ALIGNMENT;
        disk.set_len(sectors * SECTOR).unwrap();
        write_table(&disk, sectors, &partitions, [0x90; 440]).unwrap();
        std::fs::read(path).unwrap()
    };
    let first = make("a");
    assert!(first == make("b"), "two tables differ");
    let table = GptConfig::new()
        .only_valid_headers(true)
        .open(dir.path().join("a"))
        .unwrap();
    let names: Vec<_> = table.partitions().values().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["AXION-CFG", "AXION-EFI", "AXION-BIOS"]);
    assert_eq!(table.partitions()[&ESP].part_type_guid, partition_types::EFI);
    let mut mbr = [0; 512];
    table.device_ref().read_exact_at(&mut mbr, 0).unwrap();
    assert_eq!((mbr[0], mbr[439], mbr[450], mbr[510]), (0x90, 0x90, 0xee, 0x55));
}
