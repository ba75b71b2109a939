use std::os::unix::fs::symlink;

use tempfile::TempDir;

use super::*;

/// Files of a computer: its built-in NVMe with the system, a stick with a medium, two sticks of one number, a SATA disk that is
/// part of a volume group.
const FILES: [(&str, &str); 36] = [
    ("sys/devices/pci/nvme/nvme0n1/size", "2000000"),
    ("sys/devices/pci/nvme/nvme0n1/dev", "259:0"),
    ("sys/devices/pci/nvme/nvme0n1/wwid", "eui.0025388b71b0c5f0"),
    ("sys/devices/pci/nvme/nvme0n1/nvme0n1p1/partition", "1"),
    ("sys/devices/pci/nvme/nvme0n1/nvme0n1p1/dev", "259:1"),
    ("sys/devices/pci/nvme/nvme0n1/nvme0n1p1/size", "1000000"),
    ("sys/devices/pci/usb1/1-1/idVendor", "0781"),
    ("sys/devices/pci/usb1/1-1/serial", "4C53 0001"),
    ("sys/devices/pci/usb1/1-1/scsi/sdb/size", "30000000"),
    ("sys/devices/pci/usb1/1-1/scsi/sdb/removable", "1"),
    ("sys/devices/pci/usb1/1-1/scsi/sdb/dev", "8:16"),
    ("sys/devices/pci/usb1/1-1/scsi/model", "Ultra Fit"),
    ("sys/devices/pci/usb1/1-1/scsi/sdb/sdb2/partition", "2"),
    ("sys/devices/pci/usb1/1-1/scsi/sdb/sdb2/size", "2048"),
    (
        "sys/devices/pci/usb1/1-1/scsi/sdb/sdb2/uevent",
        "DEVNAME=sdb2\nPARTNAME=AXION-EFI",
    ),
    ("sys/devices/pci/usb1/1-1/scsi/sdb/sdb1/partition", "1"),
    ("sys/devices/pci/usb1/1-1/scsi/sdb/sdb1/dev", "8:17"),
    ("sys/devices/pci/usb1/1-1/scsi/sdb/sdb1/size", "32768"),
    (
        "run/udev/data/b8:17",
        "S:x\nE:ID_FS_LABEL=AXION-CFG\nE:ID_FS_TYPE=vfat",
    ),
    ("sys/devices/pci/usb1/1-2/idVendor", "1"),
    ("sys/devices/pci/usb1/1-2/serial", "0123"),
    ("sys/devices/pci/usb1/1-2/scsi/sdc/size", "100"),
    (
        "sys/devices/pci/usb1/1-2/scsi/sdc/queue/logical_block_size",
        "4096",
    ),
    ("sys/devices/pci/usb1/1-3/idVendor", "1"),
    ("sys/devices/pci/usb1/1-3/serial", "0123"),
    ("sys/devices/pci/usb1/1-3/scsi/sdd/size", "100"),
    ("sys/devices/pci/usb1/1-3/scsi/sdd/ro", "1"),
    ("sys/devices/pci/ata/scsi/sde/size", "4000000"),
    ("sys/devices/pci/ata/scsi/sde/sde1/partition", "1"),
    ("sys/devices/pci/ata/scsi/sde/sde1/size", "3999999"),
    ("sys/devices/pci/ata/scsi/sde/sde1/holders/dm-0/size", "1"),
    ("sys/devices/virtual/dm-0/dev", "253:0"),
    ("sys/devices/pci/ata/scsi2/sdf/size", "4000000"),
    ("sys/devices/pci/ata/scsi2/sdf/dev", "8:80"),
    ("proc/swaps", "Filename Type\n/dev/zram0 partition"),
    (
        "proc/self/mountinfo",
        "22 1 259:1 / / rw shared:1 - ext4 /dev/root rw\n\
         40 22 253:0 / /srv/my\\040data rw - xfs /dev/mapper/vg rw\n\
         41 22 0:50 / /tmp rw - tmpfs tmpfs rw",
    ),
];

fn computer() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in FILES {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    for class in ["sys/block", "sys/class/block"] {
        fs::create_dir_all(root.path().join(class)).unwrap();
    }
    let disks = [
        "pci/nvme/nvme0n1",
        "pci/usb1/1-1/scsi/sdb",
        "pci/usb1/1-2/scsi/sdc",
        "pci/usb1/1-3/scsi/sdd",
        "pci/ata/scsi/sde",
        "pci/ata/scsi2/sdf",
    ];
    let link = |class: &str, path: &Path| {
        let name = path.file_name().unwrap();
        symlink(path, root.path().join(class).join(name)).unwrap();
    };
    for disk in disks {
        let path = root.path().join("sys/devices").join(disk);
        symlink("..", path.join("device")).unwrap();
        link("sys/block", &path);
        link("sys/class/block", &path);
        for (_, part) in partitions(&path, path.file_name().unwrap().to_str().unwrap()) {
            link("sys/class/block", &part);
        }
    }
    link("sys/class/block", &root.path().join("sys/devices/virtual/dm-0"));
    root
}

#[test]
fn every_disk_is_known_by_what_it_is_and_who_uses_it() {
    let root = computer();
    let disks = list(root.path());
    let facts: Vec<_> = disks
        .iter()
        .map(|disk| {
            let users = disk.users().unwrap_or_default();
            format!("{} {} {} {users}", disk.name, disk.id, disk.attached_by())
        })
        .collect();
    assert_eq!(
        facts,
        [
            "nvme0n1 eui.0025388b71b0c5f0 built-in mounted on /",
            "sdb 4C53-0001 usb ",
            // Two of one number have none.
            "sdc sdc usb ",
            "sdd sdd usb ",
            "sde sde built-in mounted on /srv/my data, part of dm-0",
            "sdf sdf built-in ",
        ]
    );
    assert_eq!(
        disks[1].contents(),
        "AXION-CFG vfat (16.00 MiB), AXION-EFI (1.00 MiB)"
    );
    assert_eq!(disks[1].describe(), "14.31 GiB, Ultra Fit");
    assert_eq!(disks[5].contents(), "nothing known");
}

#[test]
fn a_disk_that_must_not_be_written_is_refused_with_the_reason() {
    let root = computer();
    let disks = list(root.path());
    let table = [
        (
            "eui.0025388b71b0c5f0",
            1,
            true,
            Some("this computer runs from it (mounted on /)"),
        ),
        ("4C53-0001", 1 << 30, false, None),
        (
            "4C53-0001",
            1 << 40,
            false,
            Some("it has 14.31 GiB, the medium 1.00 TiB"),
        ),
        ("sdc", 1, false, Some("its sectors have 4096 bytes")),
        ("sdd", 1, false, Some("it is write-protected")),
        (
            "sde",
            1,
            true,
            Some("it is in use: mounted on /srv/my data, part of dm-0"),
        ),
        ("sdf", 1, false, Some("it is built in; --allow-fixed")),
        ("sdf", 1, true, None),
    ];
    for (name, bytes, allow_fixed, wanted) in table {
        let disk = choose(&disks, name).unwrap();
        let refusal = check(disk, &Wish { bytes, allow_fixed })
            .err()
            .map(|error| error.to_string());
        match (&refusal, wanted) {
            (None, None) => {}
            (Some(text), Some(part)) if text.contains(part) => {}
            _ => panic!("{name}: {refusal:?} instead of {wanted:?}"),
        }
    }
}

#[test]
fn swap_and_file_systems_over_several_devices_count() {
    let root = computer();
    fs::write(
        root.path().join("proc/swaps"),
        "Filename\n/dev/sdf partition 1 0 -2\n",
    )
    .unwrap();
    let mounts = root.path().join("proc/self/mountinfo");
    fs::write(&mounts, "30 1 0:33 / /data rw - btrfs /dev/sdb1 rw\n").unwrap();
    let disks = list(root.path());
    let users = |name: &str| choose(&disks, name).unwrap().users();
    assert_eq!(users("/dev/sdf").as_deref(), Some("swap"));
    assert_eq!(users("sdb").as_deref(), Some("mounted on /data"));
}

#[test]
fn a_name_that_is_no_disk_is_refused() {
    let root = computer();
    let disks = list(root.path());
    let error = choose(&disks, "/dev/sdb1").unwrap_err().to_string();
    assert!(
        error.contains("a partition; a medium takes the whole disk, sdb (4C53-0001)"),
        "{error}"
    );
    let error = choose(&disks, "0123").unwrap_err().to_string();
    assert!(error.contains("there is no disk `0123`"), "{error}");
}
