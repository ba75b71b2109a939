//! Labels, partition tables and addresses, and what they say is used.

use std::os::unix::fs::symlink;

use axion_core::config::{DeviceChoice, ImportPolicy, VfioRule};
use axion_core::profile::{PlannedAction, plan};
use axion_core::topology::{IommuKind, PciDevice};

use super::*;

const OURS: u32 = 7;

fn label(pool: &str, guid: u64, hostid: u32) -> Label {
    Label {
        pool: pool.to_owned(),
        pool_guid: guid,
        hostid,
        ..Label::default()
    }
}

fn held(labels: &[(&str, Label)], wanted: &config::Storage, imported: &[&str]) -> Vec<(String, Holding)> {
    let labels: Vec<(String, Label)> = labels
        .iter()
        .map(|(node, label)| ((*node).to_owned(), label.clone()))
        .collect();
    let imported = imported.iter().map(|name| (*name).to_owned()).collect();
    let uses = pools(&labels, wanted, OURS, &imported);
    uses.into_iter().map(|used| (used.disk, used.holding)).collect()
}

#[test]
fn disks_of_pools_that_the_node_imports_or_has_are_used() {
    let pool = |name: &str| Holding::Pool(name.to_owned());
    let labels = [
        ("nvme0n1p1", label("tank", 1, OURS)),
        ("nvme1n1p1", label("tank", 1, OURS)),
        ("sda1", label("guests", 2, 99)),
    ];
    let found = config::Storage::default();
    assert_eq!(
        held(&labels, &found, &[]),
        [
            ("nvme0n1".to_owned(), pool("tank")),
            ("nvme1n1".to_owned(), pool("tank"))
        ]
    );
    // Another host's pool is a guest's as well as not; once it is imported, it is the node's.
    let declared = config::Storage {
        import: ImportPolicy::Declared,
        ..config::Storage::default()
    };
    assert!(held(&labels, &declared, &[]).is_empty());
    assert_eq!(
        held(&labels, &declared, &["guests"]),
        [("sda".to_owned(), pool("guests"))]
    );
}

#[test]
fn an_interface_carries_what_its_bridge_does() {
    let root = tempfile::tempdir().unwrap();
    let port = root.path().join("sys/class/net/eth1");
    std::fs::create_dir_all(&port).unwrap();
    symlink("../ax-lan", port.join("master")).unwrap();
    let nic = |name: &str| Nic {
        name: name.to_owned(),
        ..Nic::default()
    };
    let address = |n: u8| IpAddr::from([10, 0, 0, n]);
    let addresses = [
        ("eth0".to_owned(), address(1)),
        ("ax-lan".to_owned(), address(2)),
        ("ax-other".to_owned(), address(3)),
    ];
    let uses = interfaces(root.path(), &[nic("eth0"), nic("eth1"), nic("eth2")], &addresses);
    let shown: Vec<_> = uses
        .iter()
        .map(|used| format!("{} {}", used.interface, used.address))
        .collect();
    assert_eq!(shown, ["eth0 10.0.0.1", "eth1 10.0.0.2"]);
}

#[test]
fn a_disk_that_shows_what_it_holds_only_later_is_not_bound() {
    const NVME: &str = "0000:03:00.0";
    let rule = |force| VfioRule {
        device: DeviceChoice::Address(NVME.to_owned()),
        force,
    };
    let mut topology = Topology {
        iommu: Some(IommuKind::Intel),
        pci: vec![PciDevice {
            address: NVME.to_owned(),
            class: 0x01_0802,
            ..PciDevice::default()
        }],
        ..Topology::default()
    };
    let mut declaration = Declaration::default();
    declaration.profile.vfio = vec![rule(false)];
    let planned = plan(&topology, &declaration).unwrap();
    assert!(conflicts(&planned, &topology, &declaration).is_empty());
    topology.disks = vec![Disk {
        name: "nvme0n1".to_owned(),
        pci: Some(NVME.to_owned()),
        ..Disk::default()
    }];
    declaration.uses.disks = vec![DiskUse {
        disk: "nvme0n1".to_owned(),
        holding: Holding::Pool("tank".to_owned()),
    }];
    assert_eq!(
        conflicts(&planned, &topology, &declaration),
        [(
            format!("vfio.{NVME}"),
            "is the controller of nvme0n1, which holds pool tank".to_owned()
        )]
    );
    declaration.profile.vfio = vec![rule(true)];
    let forced = plan(&topology, &declaration).unwrap();
    assert!(conflicts(&forced, &topology, &declaration).is_empty());
    let is_forced = |planned: &PlannedAction| matches!(planned.action, Action::VfioBind { forced: true, .. });
    assert!(forced.actions.iter().any(is_forced));
}
