use super::*;
use crate::fixture::{nvme, pool_label};

fn blank(size: u64) -> Ends {
    Ends {
        size,
        head: vec![0; 1 << 20],
        tail: vec![0; 1 << 20],
        unreadable: None,
    }
}

#[test]
fn a_blank_disk_is_empty() {
    assert!(of_device("sda", &blank(10 << 30), 512).is_empty());
}

#[test]
fn the_newest_of_the_labels_counts_wherever_it_is() {
    // 100 KiB that belong to no label.
    let mut ends = blank((1 << 30) + (100 << 10));
    let label = pool_label("tank", 99, 0, 1);
    let end = ends.tail.len() - (100 << 10);
    ends.tail[end - label.len()..end].copy_from_slice(&label);
    let contents = of_device("sda1", &ends, 512);
    assert_eq!(contents.labels[0].1.pool, "tank");
    assert_eq!(contents.describe(), ["pool tank on sda1"]);
}

#[test]
fn our_own_table_without_a_pool_is_empty() {
    let table = || Contents {
        found: vec!["partition table (GPT) on sda".to_owned()],
        ..Contents::default()
    };
    assert!(of_disk(table(), vec![Contents::default()], true).is_empty());
    assert!(!of_disk(table(), vec![Contents::default()], false).is_empty());
    let ext4 = Contents {
        found: vec!["ext2, ext3 or ext4 on sda1".to_owned()],
        ..Contents::default()
    };
    let found = of_disk(table(), vec![ext4], true);
    assert_eq!(
        found.describe(),
        ["partition table (GPT) on sda", "ext2, ext3 or ext4 on sda1"]
    );
}

#[test]
fn a_disk_is_looked_at_with_its_partitions_and_users() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, bytes: &[u8]| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    let size = 4 << 20;
    let mut disk = nvme("nvme0n1", "a");
    disk.size = size;
    write("dev/nvme0n1", &vec![0; 4 << 20]);
    write("sys/block/nvme0n1/size", b"8192");
    assert!(look(root.path(), &disk).is_empty());

    let mut part = vec![0; 2 << 20];
    part[..256 << 10].copy_from_slice(&pool_label("tank", 7, 1, 5));
    write("dev/nvme0n1p1", &part);
    write("sys/block/nvme0n1/nvme0n1p1/partition", b"1");
    write("sys/block/nvme0n1/nvme0n1p1/size", b"4096");
    write(
        "proc/self/mounts",
        b"proc /proc proc rw 0 0\n/dev/nvme0n1p1 /boot vfat rw 0 0\n",
    );
    let contents = look(root.path(), &disk);
    assert_eq!(
        contents.describe(),
        ["pool tank on nvme0n1p1", "nvme0n1p1 is mounted at /boot"]
    );

    // A device that cannot be read is not taken for an empty one.
    std::fs::remove_file(root.path().join("dev/nvme0n1")).unwrap();
    assert!(look(root.path(), &disk).found[0].starts_with("nvme0n1 cannot be read"));
}

#[test]
fn a_sector_that_cannot_be_read_hides_no_other_label() {
    let label = pool_label("tank", 99, 0, 1);
    // The last label ends 100 KiB before the device does.
    let size = (4 << 20) + (100 << 10);
    let mut device = vec![0; size];
    for at in [0, 256 << 10, (4 << 20) - (512 << 10), (4 << 20) - (256 << 10)] {
        device[at..at + label.len()].copy_from_slice(&label);
    }
    let look = |bad: &[usize]| {
        let read = |bytes: &mut [u8], at: u64| {
            let at = usize::try_from(at).unwrap();
            let range = at..at + bytes.len();
            if bad.iter().any(|sector| range.contains(sector)) {
                return Err(io::Error::from_raw_os_error(5));
            }
            bytes.copy_from_slice(&device[range]);
            Ok(())
        };
        of_device("sda1", &ends(size as u64, read), 512)
    };
    assert!(!look(&[]).unreadable);
    let (first, second) = (20 << 10, (256 << 10) + 512);
    let (third, fourth) = ((4 << 20) - (400 << 10), (4 << 20) - (100 << 10));
    for bad in [
        [first, second, third],
        [first, second, fourth],
        [first, third, fourth],
        [second, third, fourth],
    ] {
        let contents = look(&bad);
        assert_eq!(contents.labels[0].1.pool_guid, 99, "{bad:?}");
        assert!(contents.unreadable);
        assert_eq!(
            contents.describe(),
            [
                "pool tank on sda1",
                "sda1 cannot be read: Input/output error (os error 5)"
            ]
        );
    }
    let nothing = look(&[first, second, third, fourth]);
    assert!(nothing.labels.is_empty() && nothing.unreadable && !nothing.is_empty());
    // Nor is it forgotten of a partition in a table of ours.
    let table = Contents {
        found: vec!["partition table (GPT) on sda".to_owned()],
        ..Contents::default()
    };
    assert!(of_disk(table, vec![nothing], true).unreadable);
}
