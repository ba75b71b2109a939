use axion_core::topology::{Disk, DiskKind};

use super::*;

fn candidate(contents: Contents) -> Candidate {
    Candidate {
        disk: Disk {
            name: "nvme0n1".to_owned(),
            kind: DiskKind::Nvme,
            wwid: None,
            serial: Some("S1".to_owned()),
            model: Some("Fast Disk".to_owned()),
            size: 100 << 30,
            logical_sector: 512,
            physical_sector: 512,
            rotational: false,
            removable: false,
            read_only: false,
            pci: None,
            node: None,
        },
        contents,
        mounted: Vec::new(),
        boot: false,
    }
}

#[test]
fn partitions_are_aligned_in_order_and_end_before_the_backup_table() {
    for sector in [512, 4096] {
        for size in [needed(sector), 100 << 30, (1 << 40) + 12_345 * 512] {
            let plan = Plan::fresh(size, Sizes::for_sector(sector), 1);
            let mut end = ALIGNMENT;
            let [ordered @ .., bios] = &plan.partitions;
            // Behind the table: a header, and 128 entries of 128 bytes.
            assert!(bios.start >= 2 * sector + (16 << 10) && bios.start % sector == 0);
            assert_eq!(bios.start + bios.length, ALIGNMENT);
            for partition in ordered {
                assert_eq!(partition.start, end);
                assert_eq!(
                    (partition.start % ALIGNMENT, partition.length % ALIGNMENT),
                    (0, 0)
                );
                end += partition.length;
            }
            assert!(end + 34 * sector <= size);
            assert!(plan.partitions[2].length >= POOL - ALIGNMENT, "{plan:?}");
        }
    }
}

#[test]
fn a_pool_stays_unless_it_is_given_up() {
    let fresh = Plan::fresh(100 << 30, Sizes::for_sector(512), 1);
    let mut there = fresh.partitions.clone();
    there[2].length -= ALIGNMENT;
    let contents = Contents {
        partitions: there.to_vec(),
        installed: Some("0.1.0".to_owned()),
        pools: vec![3],
        ..Contents::default()
    };
    let keep = Plan::of(&candidate(contents.clone()), PoolChoice::Keep, 2);
    assert!(keep.keep && keep.partitions == there);
    let destroy = Plan::of(&candidate(contents.clone()), PoolChoice::Destroy, 1);
    assert_eq!(destroy, fresh);
    let mut other = contents;
    other.partitions[1].name = "EFI".to_owned();
    assert!(!Plan::of(&candidate(other), PoolChoice::Keep, 2).keep);
}

fn summary(candidate: &Candidate, plan: &Plan, version: &str, hostname: &str) -> Summary {
    super::summary(Target { candidate, plan }, None, version, hostname)
}

#[test]
fn both_disks_of_a_mirror_are_named_and_their_token_is_another_one() {
    let plan = Plan::fresh(100 << 30, Sizes::for_sector(512), 1);
    let first = candidate(Contents::default());
    let mut second = first.clone();
    second.disk.serial = Some("S2".to_owned());
    second.contents.installed = Some("0.0.9".to_owned());
    let one = summary(&first, &plan, "0.1.0", "node-1");
    let of = |candidate| Target {
        candidate,
        plan: &plan,
    };
    let both = super::summary(of(&first), Some(of(&second)), "0.1.0", "node-1");
    for part in [
        "serial \"S1\"",
        "serial \"S2\"",
        "a second disk",
        "holds Axion 0.0.9",
    ] {
        assert!(both.text.contains(part), "{part}: {}", both.text);
    }
    assert_ne!(both.token, one.token);
    let added = mirror_summary(&second, &plan, "nvme0n1, serial:S1", Some("serial:S9"));
    for part in [
        "serial \"S2\"",
        "of nvme0n1, serial:S1",
        "place of serial:S9",
        "holds Axion 0.0.9",
    ] {
        assert!(added.text.contains(part), "{part}: {}", added.text);
    }
    assert_ne!(
        added.token,
        mirror_summary(&second, &plan, "nvme0n1, serial:S1", None).token
    );
}

#[test]
fn the_summary_names_what_is_lost_and_its_token_changes_with_it() {
    let plan = Plan::fresh(100 << 30, Sizes::for_sector(512), 1);
    let empty = candidate(Contents::default());
    let shown = summary(&empty, &plan, "0.1.0", "node-1");
    for part in [
        "nvme0n1 100.0 GiB",
        "serial \"S1\"",
        "Everything on the disk is lost.",
        "AXION-POOL",
        "host name   node-1",
    ] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
    assert_eq!(shown.token.len(), 4);
    assert_eq!(summary(&empty, &plan, "0.1.0", "node-1"), shown);
    let pool = candidate(Contents {
        pools: vec![0],
        ..Contents::default()
    });
    let with_pool = summary(&pool, &plan, "0.1.0", "node-1");
    assert!(with_pool.text.contains("THE ZFS POOL"));
    for other in [
        with_pool,
        summary(&empty, &plan, "0.1.0", "node-2"),
        summary(
            &empty,
            &Plan {
                guid: 2,
                ..plan.clone()
            },
            "0.1.0",
            "node-1",
        ),
    ] {
        assert_ne!(other.token, shown.token);
    }
}
