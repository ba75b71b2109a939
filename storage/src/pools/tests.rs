use super::*;
use crate::fixture::{LIST, Node, STATUS, nvme};

fn parsed() -> Pool {
    let json = |text| serde_json::from_str(text).unwrap();
    let disks = [nvme("nvme0n1", "A1"), nvme("nvme2n1", "A3")];
    let mut pools = parse(&json(STATUS), &json(LIST), &disks);
    assert_eq!(pools.len(), 1);
    pools.remove(0)
}

#[test]
fn a_degraded_mirror_is_read() {
    let pool = parsed();
    assert_eq!(
        (pool.name.as_str(), pool.guid.as_str()),
        ("tank", "12034567890123456789")
    );
    assert_eq!(pool.state, Health::Degraded);
    assert_eq!(
        pool.detail.as_deref(),
        Some(
            "One or more devices have been removed. Sufficient replicas exist for the pool to continue functioning in a \
             degraded state."
        )
    );
    assert!(pool.action.unwrap().starts_with("Online the device"));
    assert_eq!(
        (pool.size, pool.allocated, pool.free),
        (10_200_547_328, 1_048_576, 10_199_498_752)
    );
    assert_eq!(
        (pool.fragmentation, pool.ashift, pool.autotrim, pool.read_only),
        (Some(3), Some(12), true, false)
    );
    let scan = pool.scan.unwrap();
    assert_eq!((scan.kind, scan.state), (ScanKind::Scrub, ScanState::Finished));
    assert_eq!((scan.ended_unix_s, scan.repaired), (Some(1_764_000_060), 4096));

    let [mirror, log] = pool.vdevs.as_slice() else {
        panic!("{:?}", pool.vdevs)
    };
    assert_eq!((mirror.kind.as_str(), mirror.class), ("mirror", VdevClass::Data));
    assert_eq!(
        (log.class, log.disk.as_deref()),
        (VdevClass::Log, Some("serial:A3"))
    );
    let [good, gone] = mirror.children.as_slice() else {
        panic!("{mirror:?}")
    };
    assert_eq!(
        (good.state, good.disk.as_deref(), good.checksum_errors),
        (Health::Online, Some("serial:A1"), 2)
    );
    assert_eq!((gone.state, gone.disk.as_deref()), (Health::Removed, None));
    assert_eq!((gone.read_errors, gone.write_errors), (3, 1));
}

#[test]
fn kinds_states_and_scans_of_other_pools() {
    let text = r#"{"pools":{"p":{"name":"p","state":"SUSPENDED","guid":"7","status":"OK","error_count":"12",
        "scan_stats":{"function":"RESILVER","state":"SCANNING","start_time":"5","to_examine":10,"examined":4,"scrub_pause":"-"},
        "vdevs":{"p":{"name":"p","vdevs":{
            "raidz2-0":{"vdev_type":"raidz","state":"ONLINE","guid":"1","vdevs":{
                "77":{"vdev_type":"disk","state":"CANT_OPEN","guid":77,"not_present":1,"was":"/dev/sdb1"},
                "sda1":{"vdev_type":"disk","state":"FAULTED","guid":78,"path":"/dev/sda1","aux":"TOO_MANY_ERRORS"}}}}}},
        "spares":{"sdz1":{"vdev_type":"disk","state":"AVAIL","guid":"9"}}}}}"#;
    let pools = parse(&serde_json::from_str(text).unwrap(), &Value::Null, &[]);
    let pool = &pools[0];
    assert_eq!(
        (pool.state, pool.detail.as_deref(), pool.data_errors),
        (Health::Suspended, None, 12)
    );
    assert_eq!((pool.guid.as_str(), pool.size), ("7", 0));
    let scan = pool.scan.as_ref().unwrap();
    assert_eq!(
        (scan.kind, scan.state, scan.ended_unix_s),
        (ScanKind::Resilver, ScanState::Running, None)
    );
    assert_eq!(pool.vdevs[0].kind, "raidz2");
    assert_eq!(
        pool.vdevs[0].children[0].detail.as_deref(),
        Some("missing, was /dev/sdb1")
    );
    assert_eq!(
        pool.vdevs[0].children[1].detail.as_deref(),
        Some("TOO_MANY_ERRORS")
    );
    assert_eq!(
        (pool.vdevs[1].class, pool.vdevs[1].state),
        (VdevClass::Spare, Health::Available)
    );
}

#[test]
fn no_pools_are_none() {
    assert!(parse(&Value::Null, &Value::Null, &[]).is_empty());
    assert!(parse(&serde_json::json!({"pools": {}}), &Value::Null, &[]).is_empty());
}

#[test]
fn a_device_is_found_by_whatever_names_it() {
    let pool = parsed();
    for text in [
        "nvme0n1p1",
        "/dev/nvme0n1p1",
        "nvme0n1",
        "1111111111111111111",
        "serial:A1",
    ] {
        assert_eq!(device(&pool, text).unwrap().guid, "1111111111111111111", "{text}");
    }
    for text in ["mirror-0", "sda", ""] {
        let error = device(&pool, text).unwrap_err().to_string();
        assert!(
            error.starts_with(&format!("pool `tank` has no device `{text}`; it has ")),
            "{error}"
        );
    }
}

fn with_pool() -> Node {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    node.write("zpool-list.json", LIST.as_bytes());
    node
}

#[test]
fn what_is_done_to_a_pool() {
    let node = with_pool();
    let storage = node.storage(1);
    storage.scrub("tank", ScrubAction::Start).unwrap();
    storage.scrub("tank", ScrubAction::Pause).unwrap();
    storage.scrub("tank", ScrubAction::Stop).unwrap();
    let request = |action| DeviceRequest {
        device: "nvme1n1".to_owned(),
        action,
    };
    storage.device("tank", &request(DeviceAction::Online)).unwrap();
    storage.device("tank", &request(DeviceAction::Detach)).unwrap();
    storage.export_pool("tank").unwrap();
    storage.destroy_pool("tank").unwrap();
    assert_eq!(
        node.changes(),
        [
            "zpool scrub tank",
            "zpool scrub -p tank",
            "zpool scrub -s tank",
            "zpool online tank 2222222222222222222",
            "zpool detach tank 2222222222222222222",
            "zpool export tank",
            "zpool destroy tank",
        ]
    );
}

#[test]
fn the_pool_of_the_state_is_neither_exported_nor_destroyed() {
    let node = with_pool();
    let storage = node.storage(1);
    storage.set_state_pool("tank");
    assert!(storage.pool("tank").unwrap().holds_state);
    for refused in [storage.export_pool("tank"), storage.destroy_pool("tank")] {
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("keeps the node's own state")
        );
    }
    assert!(node.changes().is_empty());
    assert!(storage.export_all().is_empty());
    assert_eq!(node.changes(), ["zpool export tank"]);
}

#[test]
fn a_pool_that_is_not_there_and_a_node_without_zfs_say_so() {
    let node = Node::new();
    let storage = node.storage(1);
    assert_eq!(
        storage.pool("tank").unwrap_err().to_string(),
        "no pool `tank` is imported"
    );
    assert!(
        storage
            .scrub("-x", ScrubAction::Start)
            .unwrap_err()
            .to_string()
            .contains("is not a pool's name")
    );
    std::fs::remove_file(node.root.path().join("dev/zfs")).unwrap();
    assert!(matches!(storage.pools(), Err(StorageError::Absent)));
}
