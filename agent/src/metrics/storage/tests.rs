use axion_api::storage::{Scan, VdevClass};

use super::*;

fn vdev(name: &str, state: Health, children: Vec<Vdev>) -> Vdev {
    Vdev {
        name: name.to_owned(),
        kind: "disk".to_owned(),
        class: VdevClass::Data,
        guid: format!("guid-{name}"),
        state,
        detail: None,
        path: None,
        disk: Some(format!("serial:{name}")),
        read_errors: 1,
        write_errors: 2,
        checksum_errors: 3,
        children,
    }
}

fn pool() -> Pool {
    let disks = vec![
        vdev("a", Health::Online, Vec::new()),
        vdev("b", Health::Removed, Vec::new()),
    ];
    Pool {
        name: "tank".to_owned(),
        guid: "1".to_owned(),
        state: Health::Degraded,
        detail: None,
        action: None,
        size: 1000,
        allocated: 400,
        free: 600,
        fragmentation: Some(25),
        ashift: Some(12),
        autotrim: true,
        read_only: false,
        data_errors: 0,
        scan: Some(Scan {
            kind: ScanKind::Resilver,
            state: ScanState::Running,
            started_unix_s: 1,
            ended_unix_s: None,
            to_examine: 200,
            examined: 50,
            repaired: 0,
            errors: 0,
        }),
        vdevs: vec![vdev("mirror-0", Health::Degraded, disks)],
        holds_state: true,
    }
}

fn text(fill: impl FnOnce(&mut Text)) -> String {
    let mut text = Text(String::new());
    fill(&mut text);
    text.0
}

#[test]
fn pools_and_their_devices_are_told() {
    let text = text(|text| pools(text, &[pool()]));
    for line in [
        "axion_pool_state{pool=\"tank\",state=\"degraded\"} 1",
        "axion_pool_state{pool=\"tank\",state=\"online\"} 0",
        "axion_pool_allocated_bytes{pool=\"tank\"} 400",
        "axion_pool_fragmentation_ratio{pool=\"tank\"} 0.25",
        "axion_pool_scan_progress_ratio{pool=\"tank\"} 0.25",
        "axion_vdev_online{pool=\"tank\",vdev=\"guid-a\",disk=\"serial:a\"} 1",
        "axion_vdev_online{pool=\"tank\",vdev=\"guid-b\",disk=\"serial:b\"} 0",
        "axion_vdev_errors_total{pool=\"tank\",vdev=\"guid-b\",disk=\"serial:b\",kind=\"checksum\"} 3",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
    assert!(!text.contains("mirror-0"), "a group is no device: {text}");
    assert!(!text.contains("pool_scrub_timestamp_seconds{"), "none has ended");
}

#[test]
fn the_cache_is_read_as_the_module_writes_it() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(Cache::read(root.path()), None);
    let directory = root.path().join("proc/spl/kstat/zfs");
    fs::create_dir_all(&directory).unwrap();
    let stats = "9 1 0x01 147 39984 6180000000 71000000000\nname                            type data\n\
                 hits                            4    310\nmisses                          4    12\n\
                 c                               4    4096\nc_min                           4    5\n\
                 c_max                           4    8192\nsize                            4    2048\n";
    fs::write(directory.join("arcstats"), stats).unwrap();
    let read = Cache::read(root.path()).unwrap();
    let wanted = Cache {
        size: 2048,
        target: 4096,
        limit: 8192,
        hits: 310,
        misses: 12,
    };
    assert_eq!(read, wanted);
    let text = text(|text| cache(text, &read));
    assert!(text.contains("\naxion_arc_limit_bytes 8192\n"), "{text}");
}
