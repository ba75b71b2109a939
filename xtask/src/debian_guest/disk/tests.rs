use super::*;

#[test]
fn the_root_is_partition_1_and_the_last_one() {
    let partitions = partitions(64 << 20);
    let mut free = ALIGNMENT;
    for partition in &partitions {
        assert_eq!((partition.start, partition.start % ALIGNMENT), (free, 0));
        free = partition.start + partition.size;
    }
    assert_eq!(
        partitions.each_ref().map(|partition| partition.number),
        [14, 15, 1]
    );
    assert_eq!(bytes(&partitions), free + ALIGNMENT);
}

#[test]
fn partitions_are_those_that_the_guest_is_told_to_mount() {
    let script = script(&partitions(64 << 20));
    let fstab = include_str!("../../../../tests/debian-guest/etc/fstab");
    for (number, place) in [(ROOT, "/"), (ESP, "/boot/efi")] {
        let start = format!("{number} : ");
        let line = script.lines().find(|line| line.starts_with(&start)).unwrap();
        let guid = line.split("uuid=").nth(1).unwrap().split(',').next().unwrap();
        let mount = format!("PARTUUID={guid} {place} ");
        assert!(fstab.lines().any(|there| there.starts_with(&mount)), "{mount}");
    }
    assert!(
        script.contains("\n1 : start=20480, size=131072, type=4F68BCE3-"),
        "{script}"
    );
}
