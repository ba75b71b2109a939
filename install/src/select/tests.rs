use axion_core::quantity::ByteSize;
use axion_core::topology::DiskKind;

use super::*;
use crate::plan::{NAMES, Plan, Sizes};
use crate::recording;

fn disk(name: &str, serial: &str, gib: u64) -> Candidate {
    Candidate {
        disk: Disk {
            name: name.to_owned(),
            kind: DiskKind::Nvme,
            wwid: Some(format!("eui.{serial}")),
            serial: Some(serial.to_owned()),
            model: Some("Fast Disk".to_owned()),
            size: gib << 30,
            logical_sector: 512,
            physical_sector: 4096,
            rotational: false,
            removable: false,
            read_only: false,
            pci: None,
            node: None,
        },
        contents: Contents::default(),
        mounted: Vec::new(),
        boot: false,
    }
}

fn by(selector: DiskSelector) -> Install {
    Install {
        disk: Some(selector),
        ..Install::default()
    }
}

fn serial(serial: &str) -> Install {
    by(DiskSelector {
        serial: Some(serial.to_owned()),
        ..DiskSelector::default()
    })
}

fn installed() -> Contents {
    Contents {
        partitions: Plan::fresh(100 << 30, Sizes::for_sector(512), 1)
            .partitions
            .to_vec(),
        installed: Some("0.1.0".to_owned()),
        pools: vec![3],
        ..Contents::default()
    }
}

#[test]
fn exactly_one_disk_is_meant_or_none() {
    let disks = [
        disk("nvme0n1", "S1", 100),
        disk("nvme1n1", "S2", 200),
        disk("sda", "S3", 200),
    ];
    let size = |min: Option<u64>, max: Option<u64>| {
        by(DiskSelector {
            min_size: min.map(|gib| ByteSize(gib << 30)),
            max_size: max.map(|gib| ByteSize(gib << 30)),
            ..DiskSelector::default()
        })
    };
    let wwid = by(DiskSelector {
        wwid: Some("eui.S3".to_owned()),
        min_size: Some(ByteSize(1)),
        ..DiskSelector::default()
    });
    for (install, found) in [
        (serial("S2"), Ok("nvme1n1")),
        (wwid, Ok("sda")),
        (size(None, Some(150)), Ok("nvme0n1")),
        (size(Some(150), None), Err("more than one disk fits")),
        (size(Some(300), None), Err("no disk fits")),
        (serial("S9"), Err("no disk fits")),
        (Install::default(), Err("names no disk")),
        (by(DiskSelector::default()), Err("names no disk")),
    ] {
        match (select(&disks, &install), found) {
            (Ok((disk, None)), Ok(name)) => assert_eq!(disk.disk.name, name),
            (Err(error), Err(text)) => {
                let error = error.to_string();
                assert!(error.contains(text) && error.contains("serial \"S2\""), "{error}");
            }
            (found, _) => panic!("{install:?}: {found:?}"),
        }
    }
}

#[test]
fn a_mirror_is_one_disk_besides_the_first() {
    let disks = [
        disk("nvme0n1", "S1", 100),
        disk("nvme1n1", "S2", 100),
        disk("sda", "S3", 200),
    ];
    let with = |mirror: DiskSelector| Install {
        mirror: Some(mirror),
        ..serial("S1")
    };
    let largest = |gib: u64| DiskSelector {
        max_size: Some(ByteSize(gib << 30)),
        ..DiskSelector::default()
    };
    let same = DiskSelector {
        serial: Some("S1".to_owned()),
        ..DiskSelector::default()
    };
    // What fits both is meant of the other one.
    let (first, mirror) = select(&disks, &with(largest(150))).unwrap();
    assert_eq!(
        (
            first.disk.name.as_str(),
            mirror.map(|disk| disk.disk.name.as_str())
        ),
        ("nvme0n1", Some("nvme1n1"))
    );
    for (mirror, text) in [
        (largest(300), "more than one disk fits `install.mirror`"),
        (same, "no disk fits `install.mirror`"),
    ] {
        let error = select(&disks, &with(mirror)).unwrap_err().to_string();
        assert!(
            error.contains(text) && !error.contains("serial \"S1\""),
            "{error}"
        );
    }
}

#[test]
fn a_disk_that_must_not_be_written_is_left_alone() {
    let with = |change: fn(&mut Candidate)| {
        let mut candidate = disk("nvme0n1", "S1", 100);
        change(&mut candidate);
        candidate
    };
    let plain = serial("S1");
    let replace = Install {
        existing: Existing::Replace,
        ..plain.clone()
    };
    let destroy = Install {
        pool: PoolChoice::Destroy,
        ..plain.clone()
    };
    let table: [(Candidate, &Install, Option<&str>); 11] = [
        (with(|_| {}), &plain, None),
        (with(|c| c.boot = true), &plain, Some("has started from it")),
        (with(|c| c.contents.medium = true), &plain, Some("boot medium")),
        (
            with(|c| c.mounted = vec!["/mnt".to_owned()]),
            &plain,
            Some("mounted on /mnt"),
        ),
        (with(|c| c.disk.read_only = true), &plain, Some("write-protected")),
        (with(|c| c.disk.logical_sector = 520), &plain, Some("520 bytes")),
        (with(|c| c.disk.size = 2 << 30), &plain, Some("2.0 GiB")),
        (
            with(|c| c.contents = installed()),
            &plain,
            Some("holds Axion 0.1.0"),
        ),
        (with(|c| c.contents = installed()), &replace, None),
        (with(|c| c.contents.pools = vec![0]), &plain, Some("ZFS pool")),
        (with(|c| c.contents.pools = vec![0]), &destroy, None),
    ];
    for (candidate, install, expected) in table {
        let reason = unfit(&candidate, install).map(|reason| reason.to_string());
        match (&reason, expected) {
            (None, None) => {}
            (Some(reason), Some(text)) => assert!(reason.contains(text), "{reason}"),
            _ => panic!("{candidate:?}: {reason:?}"),
        }
    }
}

#[test]
fn the_config_of_an_installation_does_not_make_its_disk_a_boot_medium() {
    let mut candidate = disk("nvme0n1", "S1", 100);
    candidate.boot = true;
    candidate.contents = installed();
    let install = Install {
        existing: Existing::Replace,
        ..serial("S1")
    };
    assert_eq!(unfit(&candidate, &install), None);
}

#[test]
fn contents_are_seen() {
    let disk = recording::Disk::new(64 << 20);
    assert_eq!(Contents::read(&disk).unwrap(), Contents::default());
    // An uberblock in the third KiB of the ring.
    disk.write_at((128 << 10) + 2048, &0x00ba_b10c_u64.to_le_bytes())
        .unwrap();
    assert_eq!(Contents::read(&disk).unwrap().pools, [0]);
    let disk = recording::Disk::new(64 << 20);
    disk.write_at(16 * 2048 + 40, b"AXION").unwrap();
    assert!(Contents::read(&disk).unwrap().medium);
    let disk = recording::Disk::new(64 << 20);
    table::write(&disk, MEDIUM_GUID, &[], None).unwrap();
    assert!(Contents::read(&disk).unwrap().medium);
}

#[test]
fn mounts_are_a_disks_own() {
    let text = "/dev/nvme0n1p1 /boot vfat rw 0 0\n/dev/nvme0n10 /a ext4 rw 0 0\n/dev/sda /b ext4 rw 0 0\n\
                /dev/sda2 /c ext4 rw 0 0\n/dev/sdab1 /d ext4 rw 0 0\nproc /proc proc rw 0 0\n";
    assert_eq!(mounts(text, "nvme0n1"), ["/boot"]);
    assert_eq!(mounts(text, "sda"), ["/b", "/c"]);
    assert!(mounts(text, "sdb").is_empty());
}

#[test]
fn names_of_the_layout_are_distinct() {
    assert_eq!(NAMES.iter().collect::<std::collections::BTreeSet<_>>().len(), 4);
    assert_eq!(human(931 << 30 | 512 << 20), "931.5 GiB");
    assert_eq!(human(0), "0.0 KiB");
}

#[test]
fn the_disk_that_is_installed_is_started_and_no_other() {
    let there = Candidate {
        contents: installed(),
        ..disk("nvme0n1", "S1", 100)
    };
    let disks = [there, disk("nvme1n1", "S2", 200)];
    let found = super::installed(&disks, &serial("S1")).unwrap();
    assert_eq!(found.disk.name, "nvme0n1");
    assert_eq!(super::installed(&disks, &serial("S2")), None);
    assert_eq!(super::installed(&disks, &Install::default()), None);
    let replace = Install {
        existing: Existing::Replace,
        ..serial("S1")
    };
    assert_eq!(super::installed(&disks, &replace), None);
    // Both fit.
    let any = by(DiskSelector {
        min_size: Some(ByteSize(1)),
        ..DiskSelector::default()
    });
    assert_eq!(super::installed(&disks, &any), None);
}

#[test]
fn a_disk_that_fails_is_left_alone_and_hinders_no_other_one() {
    let mut dying = disk("nvme0n1", "S1", 100);
    dying.contents = io::Error::other("I/O error").into();
    let disks = [dying, disk("nvme1n1", "S2", 200)];
    assert_eq!(select(&disks, &serial("S2")).unwrap().0.disk.name, "nvme1n1");
    let refused = select(&disks, &serial("S1")).unwrap_err();
    assert!(
        refused.to_string().ends_with("it cannot be read: I/O error"),
        "{refused}"
    );
}
