use axion_core::config::PoolLayout;

use super::*;
use crate::fixture::{LIST, Node, STATUS, pool_label};

fn spec(disks: &[&str]) -> PoolSpec {
    PoolSpec {
        layout: PoolLayout::Stripe,
        disks: disks.iter().map(|disk| disk.parse().unwrap()).collect(),
        erase: Vec::new(),
        ashift: None,
        compression: Default::default(),
    }
}

fn with_pool() -> Node {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    node.write("zpool-list.json", LIST.as_bytes());
    node
}

#[test]
fn disks_are_listed_with_what_is_on_them_and_who_has_them() {
    let node = with_pool();
    node.disk("nvme0n1", "A1", 64 << 20);
    node.disk("sdb", "B1", 64 << 20);
    let disks = node.storage(1).pool_disks();
    let [pool, free] = disks.as_slice() else {
        panic!("{disks:?}")
    };
    assert_eq!(
        (pool.empty, pool.contents.as_slice()),
        (false, &["nvme0n1 is in the pool tank".to_owned()][..])
    );
    assert_eq!(
        (free.empty, free.choice.clone().unwrap().to_string()),
        (true, "serial:B1".to_owned())
    );
}

#[test]
fn a_pool_is_made_on_what_the_installation_leaves_of_its_disk() {
    let size = 512 << 20;
    let node = Node::new();
    node.write("zpool-status.json", br#"{"pools": {}}"#);
    node.write("zpool-list.json", br#"{"pools": {}}"#);
    node.disk("sda", "A1", 2 * size);
    node.part("sda", "sda2", "AXION-EFI", size);
    node.part("sda", "sda3", "AXION-POOL", size);
    // Of another installation, which was not started from.
    node.disk("sdb", "B1", 2 * size);
    node.part("sdb", "sdb3", "AXION-POOL", size);
    let storage = node.storage(1).with_system(SystemDisks {
        disks: Box::new(|| vec!["sda".to_owned()]),
        part: "AXION-POOL",
    });
    let listed = storage.pool_disks();
    let system: Vec<_> = listed
        .iter()
        .filter(|disk| disk.choice == Some(DiskChoice::System))
        .collect();
    let [part] = system.as_slice() else {
        panic!("{listed:?}")
    };
    assert_eq!((part.disk.name.as_str(), part.disk.size), ("sda3", size));

    // The disk itself is nobody's, whatever is said.
    let mut whole = spec(&["serial:A1"]);
    whole.erase.clone_from(&whole.disks);
    let refused = storage.create_pool("tank", &whole).unwrap_err().to_string();
    assert!(refused.contains("is what the node starts from"), "{refused}");
    assert_eq!(node.changes(), Vec::<String>::new());

    let plan = plan::plan("tank", &spec(&["system"]), &storage.candidates(), "").unwrap();
    storage.make(&plan).unwrap();
    let made = node.changes();
    assert!(
        made.iter()
            .any(|line| line.starts_with("zpool create") && line.ends_with("/dev/sda3")),
        "{made:?}"
    );
    // What was at its ends is gone, and nothing was written beside it.
    let read = |name: &str| std::fs::read(node.root.path().join("dev").join(name)).unwrap();
    assert!(read("sda3").iter().take(1 << 20).all(|byte| *byte == 0));
    assert!(read("sda2").starts_with(&[0x55]) && read("sdb3").starts_with(&[0x55]));
}

#[test]
fn a_disk_in_the_slot_of_a_lost_one_is_free() {
    let node = with_pool();
    let lost = STATUS.replace(r#""state": "ONLINE""#, r#""state": "REMOVED""#);
    assert_ne!(lost, STATUS);
    node.write("zpool-status.json", lost.as_bytes());
    node.disk("nvme0n1", "NEW", 64 << 20);
    let storage = node.storage(1);
    assert!(storage.pool_disks().iter().all(|disk| disk.empty));
    let pools = storage.pools().unwrap();
    let mut rest: Vec<_> = pools.iter().flat_map(|pool| &pool.vdevs).collect();
    while let Some(vdev) = rest.pop() {
        assert_eq!(vdev.disk, None, "{vdev:?}");
        rest.extend(&vdev.children);
    }
}

#[test]
fn a_pool_that_is_there_is_not_made_again() {
    let node = with_pool();
    node.disk("nvme0n1", "A1", 512 << 20);
    node.disk("sdb", "B1", 512 << 20);
    let storage = node.storage(1);
    let (pool, new) = storage.create_pool("tank", &spec(&["serial:A1"])).unwrap();
    assert_eq!((pool.name.as_str(), new), ("tank", false));
    assert_eq!(
        storage
            .create_pool("tank", &spec(&["serial:B1"]))
            .unwrap_err()
            .to_string(),
        "there is a pool `tank` of other disks"
    );
    // A disk of an imported pool is in use.
    let refused = storage
        .create_pool("other", &spec(&["serial:A1"]))
        .unwrap_err()
        .to_string();
    assert_eq!(
        refused,
        "`disks[0]`: nvme0n1 is in use: nvme0n1 is in the pool tank"
    );
    assert!(node.changes().is_empty());
}

#[test]
fn a_foreign_pool_is_imported_only_by_who_takes_it_over() {
    let node = Node::new();
    node.disk("sdb", "B1", 512 << 20);
    let disk = std::fs::File::options()
        .write(true)
        .open(node.root.path().join("dev/sdb"))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&disk, &pool_label("old", 99, 0, 1234), 0).unwrap();
    let storage = node.storage(1);
    assert_eq!(storage.found_pools().unwrap().len(), 1);
    let refused = storage.import_pool("old", false).unwrap_err().to_string();
    assert!(
        refused.contains("was last used by host other (000004d2)"),
        "{refused}"
    );
    assert_eq!(
        storage.import_pool("x", false).unwrap_err().to_string(),
        "no disk has a pool `x` that is not imported"
    );
    assert!(node.changes().is_empty());
    // The recorded list does not show it afterwards.
    assert!(storage.import_pool("99", true).is_err());
    assert_eq!(
        node.changes()[0],
        "zpool import -N -R /run/axion/pools -f -d /dev/sdb 99"
    );
}

#[test]
fn a_replacement_that_is_not_fit_is_refused() {
    let node = with_pool();
    let request = ReplaceRequest {
        device: "nvme1n1".to_owned(),
        disk: "serial:B1".parse().unwrap(),
        erase: false,
    };
    let refused = node.storage(1).replace("tank", &request).unwrap_err().to_string();
    assert_eq!(refused, "`disk`: no disk is `serial:B1`");
}

#[test]
fn no_upgrade_is_ever_asked_for() {
    // A node that is set back to the image before must still import its pools.
    let sources = [
        include_str!("../boot.rs"),
        include_str!("../pools.rs"),
        include_str!("../storage.rs"),
        include_str!("../datasets.rs"),
    ];
    for source in sources {
        assert!(!source.contains("\"upgrade\""));
    }
}
