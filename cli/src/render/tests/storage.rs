//! Pools, datasets, snapshots.

use axion_api::storage::{
    Dataset, DatasetKind, FoundPool, Health, KeyState, Pool, PoolDisk, Scan, ScanKind, ScanState, Snapshot,
    Vdev, VdevClass,
};
use axion_core::topology::{Disk, DiskKind};

use super::{SCREEN, assert_screen};
use crate::render::{dataset, pool};

/// 2026-11-23 12:00:00 UTC.
const NOON: u64 = 1_795_435_200;

fn vdev(name: &str, state: Health, children: Vec<Vdev>) -> Vdev {
    Vdev {
        name: name.to_owned(),
        kind: "disk".to_owned(),
        class: VdevClass::Data,
        guid: "1".to_owned(),
        state,
        detail: None,
        path: None,
        disk: None,
        read_errors: 0,
        write_errors: 0,
        checksum_errors: 0,
        children,
    }
}

fn degraded() -> Pool {
    let good = Vdev {
        disk: Some("serial:A1".to_owned()),
        ..vdev("nvme0n1p1", Health::Online, Vec::new())
    };
    let gone = Vdev {
        read_errors: 3,
        detail: Some("missing, was /dev/nvme1n1p1".to_owned()),
        ..vdev("2222222222222222222", Health::Unavailable, Vec::new())
    };
    Pool {
        name: "tank".to_owned(),
        guid: "12034567890123456789".to_owned(),
        state: Health::Degraded,
        detail: Some("One or more devices could not be used.".to_owned()),
        action: None,
        size: 10 << 30,
        allocated: 1 << 30,
        free: 9 << 30,
        fragmentation: Some(3),
        ashift: Some(12),
        autotrim: true,
        read_only: false,
        data_errors: 0,
        scan: Some(Scan {
            kind: ScanKind::Scrub,
            state: ScanState::Finished,
            started_unix_s: NOON - 60,
            ended_unix_s: Some(NOON),
            to_examine: 1 << 30,
            examined: 1 << 30,
            repaired: 4096,
            errors: 0,
        }),
        vdevs: vec![vdev("mirror-0", Health::Degraded, vec![good, gone])],
        holds_state: true,
    }
}

#[test]
fn pools() {
    let mut resilvering = degraded();
    resilvering.name = "fast".to_owned();
    resilvering.detail = None;
    resilvering.scan = resilvering.scan.map(|scan| Scan {
        kind: ScanKind::Resilver,
        state: ScanState::Running,
        ended_unix_s: None,
        examined: 1 << 29,
        ..scan
    });
    assert_screen(
        &pool::list(&[degraded(), resilvering], &SCREEN),
        r"
NAME  HEALTH         SIZE      FREE  USED  SCAN          DETAIL
tank  degraded  10.00 GiB  9.00 GiB   10%  -             One or more devices co…
fast  degraded  10.00 GiB  9.00 GiB   10%  resilver 50%  -
",
    );
    assert_screen(
        &pool::list(&[], &SCREEN),
        "No pools. `axctl pool disks` shows what one can be made of.\n`axctl pool found` shows what can be imported.\n",
    );
}

#[test]
fn one_pool() {
    assert_screen(
        &pool::show(&degraded(), &SCREEN),
        r"
Name          tank
Health        degraded
Size          10.00 GiB
Used          1.00 GiB (10%)
Free          9.00 GiB
Scattered     3%
Sector        4.00 KiB
Trims         yes
Last scan     scrub ended 2026-11-23T12:00:00.000Z, 4.00 KiB repaired, 0 errors
Damaged       0 files
Node's state  yes
Id            12034567890123456789
Detail        One or more devices could not be used.

DEVICE                 HEALTH       READ  WRITE  CHECKSUM  DISK       DETAIL
mirror-0               degraded        0      0         0  -          -
  nvme0n1p1            online          0      0         0  serial:A1  -
  2222222222222222222  unavailable     3      0         0  -          missing, …
",
    );
}

#[test]
fn disks_and_pools_that_were_found() {
    let disk = |name: &str, serial: &str, contents: &[&str]| PoolDisk {
        choice: Some(format!("serial:{serial}").parse().unwrap()),
        disk: Disk {
            name: name.to_owned(),
            kind: DiskKind::Nvme,
            size: 10 << 30,
            ..Disk::default()
        },
        empty: contents.is_empty(),
        contents: contents.iter().map(|text| (*text).to_owned()).collect(),
    };
    let disks = [
        disk("nvme0n1", "S4EVNX0R123456", &[]),
        disk(
            "nvme1n1",
            "S4EVNX0R123457",
            &["partition table (GPT) on nvme1n1", "FAT on nvme1n1p1"],
        ),
    ];
    assert_screen(
        &pool::disks(&disks, &SCREEN),
        r"
DISK                   NODE     KIND       SIZE  EMPTY  ON IT
serial:S4EVNX0R123456  nvme0n1  NVMe  10.00 GiB  yes    -
serial:S4EVNX0R123457  nvme1n1  NVMe  10.00 GiB  no     partition table (GPT) o…
",
    );
    let found = FoundPool {
        name: "old".to_owned(),
        guid: "12034567890123456789".to_owned(),
        exported: false,
        foreign_host: Some("n7 (00000009)".to_owned()),
        devices: vec!["/dev/sda1".to_owned(), "/dev/sdb1".to_owned()],
    };
    assert_screen(
        &pool::found(&[found], &SCREEN),
        r"
NAME  ID                    EXPORTED  HOST           DEVICES
old   12034567890123456789  no        n7 (00000009)  /dev/sda1 /dev/sdb1
",
    );
}

fn file_system(name: &str) -> Dataset {
    Dataset {
        name: name.to_owned(),
        kind: DatasetKind::Filesystem,
        used: 2 << 20,
        available: 9 << 30,
        referenced: 1 << 20,
        compress_ratio: "1.53".to_owned(),
        compression: "lz4".to_owned(),
        block_size: 128 << 10,
        atime: None,
        xattr: None,
        volume_size: None,
        device: None,
        quota: Some(1 << 30),
        reservation: None,
        mounted_at: Some(format!("/run/axion/pools/{name}")),
        origin: None,
        encryption: None,
        key: None,
        resume_token: None,
        created_unix_s: NOON,
        system: false,
    }
}

#[test]
fn datasets() {
    let zvol = Dataset {
        kind: DatasetKind::Volume,
        volume_size: Some(1 << 30),
        device: Some("/dev/zd16".to_owned()),
        mounted_at: None,
        ..file_system("tank/disk1")
    };
    let locked = Dataset {
        encryption: Some("aes-256-gcm".to_owned()),
        key: Some(KeyState::Unavailable),
        resume_token: None,
        mounted_at: None,
        ..file_system("tank/secret")
    };
    assert_screen(
        &dataset::list(&[file_system("tank/scratch"), zvol, locked.clone()], &SCREEN),
        r"
NAME          KIND       USED  AVAILABLE  RATIO  AT
tank/scratch  files  2.00 MiB   9.00 GiB   1.53  /run/axion/pools/tank/scratch
tank/disk1    zvol   2.00 MiB   9.00 GiB   1.53  /dev/zd16
tank/secret   files  2.00 MiB   9.00 GiB   1.53  locked
",
    );
    assert_screen(
        &dataset::show(&locked, &SCREEN),
        r"
Name         tank/secret
Kind         files
Used         2.00 MiB
Available    9.00 GiB
Compression  lz4, 1.53
Block size   128.00 KiB
Quota        1.00 GiB
Mounted at   -
Reservation  -
Clone of     -
Encryption   aes-256-gcm
Key          not loaded: `axctl dataset load-key` unlocks it
Made         2026-11-23T12:00:00.000Z
",
    );
}

#[test]
fn snapshots() {
    let snapshot = Snapshot {
        name: "tank/scratch@monday".to_owned(),
        dataset: "tank/scratch".to_owned(),
        snapshot: "monday".to_owned(),
        guid: "1".to_owned(),
        used: 4096,
        referenced: 1 << 20,
        created_unix_s: NOON,
        clones: vec!["tank/branch".to_owned()],
    };
    assert_screen(
        &dataset::snapshots(&[snapshot], &SCREEN),
        r"
NAME                 MADE                          USED     HOLDS  CLONES
tank/scratch@monday  2026-11-23T12:00:00.000Z  4.00 KiB  1.00 MiB  tank/branch
",
    );
}
