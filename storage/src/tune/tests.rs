use super::*;
use crate::fixture::nvme;

fn disk(physical: u32, rotational: bool) -> Disk {
    Disk {
        physical_sector: physical,
        rotational,
        ..nvme("nvme0n1", "a")
    }
}

#[test]
fn ashift_is_by_the_largest_sector_that_is_believable() {
    let table: [(&[u32], u8); 7] = [
        (&[512], 12),
        (&[4096, 512], 12),
        (&[8192], 13),
        (&[512, 16384], 14),
        // An erase block.
        (&[1 << 20], 12),
        (&[4095], 12),
        (&[], 12),
    ];
    for (sectors, wanted) in table {
        let disks: Vec<_> = sectors.iter().map(|sector| disk(*sector, false)).collect();
        assert_eq!(ashift(&disks), wanted, "{sectors:?}");
    }
}

#[test]
fn flash_is_trimmed_and_nothing_else() {
    assert!(autotrim(&[disk(512, false)]));
    assert!(!autotrim(&[disk(512, false), disk(512, true)]));
    let other = Disk {
        kind: DiskKind::Other,
        ..disk(512, false)
    };
    assert!(!autotrim(&[other]));
}

#[test]
fn a_new_pools_properties() {
    let disk = disk(4096, false);
    assert_eq!(
        pool(&[&disk], None),
        [("ashift", "12".to_owned()), ("autotrim", "on".to_owned())]
    );
    assert_eq!(pool(&[&disk], Some(9))[0], ("ashift", "9".to_owned()));
    let root = root("tank", Compression::Auto);
    for wanted in [
        ("compression", "lz4"),
        ("atime", "off"),
        ("xattr", "sa"),
        ("mountpoint", "/tank"),
    ] {
        assert!(root.contains(&(wanted.0, wanted.1.to_owned())), "{wanted:?}");
    }
}

#[test]
fn blocks_are_by_use() {
    let table = [
        (Use::General, 128 << 10, 16 << 10, "lz4"),
        (Use::Vm, 64 << 10, 16 << 10, "lz4"),
        (Use::Database, 16 << 10, 16 << 10, "lz4"),
        (Use::Stream, 1 << 20, 64 << 10, "lz4"),
        (Use::Archive, 1 << 20, 64 << 10, "zstd"),
    ];
    for (for_use, record, block, compressed) in table {
        assert_eq!(record_size(for_use), record, "{for_use:?}");
        assert_eq!(volume_block_size(for_use, false, 12), block, "{for_use:?}");
        assert_eq!(compression(Compression::Auto, for_use), compressed, "{for_use:?}");
        assert_eq!(compression(Compression::Off, for_use), "off");
    }
    assert_eq!(volume_block_size(Use::Vm, true, 12), 64 << 10);
    assert_eq!(volume_block_size(Use::Vm, false, 15), 32 << 10);
}

fn scan(kind: ScanKind, state: ScanState, ended: Option<u64>) -> Scan {
    Scan {
        kind,
        state,
        started_unix_s: 1000,
        ended_unix_s: ended,
        to_examine: 0,
        examined: 0,
        repaired: 0,
        errors: 0,
    }
}

#[test]
fn scrubs_are_due() {
    use ScanKind::{Resilver, Scrub};
    use ScanState::{Canceled, Finished, Paused, Running};
    let table = [
        // Last scan, now, due; the pool was made at 500, the interval is 100.
        (None, 599, false),
        (None, 600, true),
        (Some(scan(Scrub, Finished, Some(2000))), 2099, false),
        (Some(scan(Scrub, Finished, Some(2000))), 2100, true),
        (Some(scan(Scrub, Running, None)), 9000, false),
        (Some(scan(Scrub, Paused, None)), 9000, false),
        (Some(scan(Scrub, Canceled, Some(8990))), 9000, true),
        (Some(scan(Resilver, Finished, Some(8990))), 9000, true),
        (Some(scan(Resilver, Running, None)), 9000, false),
        // The clock went back.
        (Some(scan(Scrub, Finished, Some(2000))), 10, false),
    ];
    for (scan, now, due) in table {
        assert_eq!(scrub_is_due(scan.as_ref(), 500, now, 100), due, "{scan:?} {now}");
    }
    assert!(!scrub_is_due(None, 0, u64::MAX, 0));
}

#[test]
fn disks_that_hold_data() {
    use PoolLayout::{Mirror, Raidz1, Raidz2, Raidz3, Stripe};
    let table = [(Stripe, 4), (Mirror, 1), (Raidz1, 3), (Raidz2, 2), (Raidz3, 1)];
    for (layout, disks) in table {
        assert_eq!(data_disks(layout, 4), disks);
    }
}
