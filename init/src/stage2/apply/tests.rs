//! A fake node that left its plan.

use std::os::unix::fs::symlink;

use axion_core::config::PageSize;
use axion_core::profile::{Item, NodePages};

use super::*;

fn planned(action: Action) -> PlannedAction {
    PlannedAction {
        key: action.key(),
        text: action.to_string(),
        action,
        why: "for a test".to_owned(),
    }
}

fn plan(actions: impl IntoIterator<Item = Action>) -> Plan {
    Plan {
        actions: actions.into_iter().map(planned).collect(),
        ..Plan::default()
    }
}

fn attestation(items: &[(&str, ItemState)]) -> Attestation {
    let item = |(key, state): &(&str, ItemState)| Item {
        key: (*key).to_owned(),
        desired: "as planned".to_owned(),
        effective: "as it is".to_owned(),
        state: *state,
        fix: (*state != ItemState::Ok).then(|| "reboot".to_owned()),
    };
    let items: Vec<Item> = items.iter().map(item).collect();
    Attestation {
        state: items.iter().map(|item| item.state).max().unwrap_or(ItemState::Ok),
        items,
    }
}

fn sysctl(name: &str) -> Action {
    Action::Sysctl {
        name: name.to_owned(),
        value: "1".to_owned(),
    }
}

fn file(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn link(root: &Path, path: &str, target: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    symlink(target, path).unwrap();
}

#[test]
fn only_what_drifted_is_done_and_the_rest_says_why_not() {
    let root = tempfile::tempdir().unwrap();
    let plan = plan([
        sysctl("a"),
        sysctl("b"),
        sysctl("c"),
        sysctl("d"),
        Action::WorkqueueCpumask {
            cpus: "0".parse().unwrap(),
        },
    ]);
    let seen = attestation(&[
        ("cmdline.isolcpus", ItemState::NeedsReboot),
        ("sysctl.a", ItemState::Ok),
        ("sysctl.b", ItemState::Drifted),
        ("sysctl.c", ItemState::Impossible),
        ("sysctl.d", ItemState::Drifted),
        ("cpu.workqueues", ItemState::Ok),
        ("cpu.threads", ItemState::Drifted),
    ]);
    let mut performed = Vec::new();
    let applied = again(root.path(), &plan, &seen, |action| {
        performed.push(action.key());
        if action.key() == "sysctl.d" {
            Err("the kernel refuses".to_owned())
        } else {
            Ok(())
        }
    });
    assert_eq!(performed, ["sysctl.b", "sysctl.d", "cpu.workqueues"]);
    assert_eq!(applied.done, ["sysctl.b", "cpu.workqueues"]);
    let left: Vec<(&str, &str)> = applied
        .left
        .iter()
        .map(|left| (left.key.as_str(), left.reason.as_str()))
        .collect();
    assert_eq!(
        left,
        [
            ("cmdline.isolcpus", "needs reboot: reboot"),
            ("sysctl.c", "impossible: reboot"),
            ("sysctl.d", "the kernel refuses"),
        ]
    );
    let calm = attestation(&[
        ("sysctl.a", ItemState::Ok),
        ("sysctl.b", ItemState::Ok),
        ("sysctl.c", ItemState::Ok),
        ("sysctl.d", ItemState::Ok),
        ("cpu.workqueues", ItemState::Ok),
    ]);
    let nothing = again(root.path(), &plan, &calm, |_| unreachable!());
    assert_eq!(nothing, Applied::default());
}

#[test]
fn what_really_drifted_is_as_planned_again() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    file(root, "proc/sys/vm/swappiness", "60\n");
    file(root, "proc/cmdline", "quiet\n");
    let plan = plan([sysctl("vm.swappiness")]);
    let before = attest(root, &plan);
    assert_eq!(before.state, ItemState::Drifted);
    let applied = again(root, &plan, &before, |action| {
        perform(root, action).map_err(|e| chain(&e))
    });
    assert_eq!(applied.done, ["sysctl.vm.swappiness"]);
    // A real file keeps what was behind the new line.
    let written = std::fs::read_to_string(root.join("proc/sys/vm/swappiness")).unwrap();
    assert!(written.starts_with("1\n"), "{written}");
}

#[test]
fn pages_in_use_are_not_given_back() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let pool = "sys/devices/system/node/node0/hugepages/hugepages-2048kB";
    let action = |pages| Action::Hugepages {
        page_size: PageSize::TwoMiB,
        nodes: vec![NodePages { node: 0, pages }],
    };
    file(root, &format!("{pool}/nr_hugepages"), "64\n");
    file(root, &format!("{pool}/free_hugepages"), "24\n");
    assert_eq!(obstacle(root, &action(40)), None);
    assert_eq!(obstacle(root, &action(100)), None);
    assert_eq!(
        obstacle(root, &action(32)).unwrap(),
        "node 0 has 40 pages of 2MiB in use, and 32 are planned; stop the VMs that have them"
    );
}

#[test]
fn cpus_stay_online_while_vms_run() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let events = "sys/fs/cgroup/vms.slice/cgroup.events";
    file(root, events, "populated 0\nfrozen 0\n");
    assert_eq!(obstacle(root, &Action::Smt { on: false }), None);
    file(root, events, "populated 1\nfrozen 0\n");
    assert!(obstacle(root, &Action::Smt { on: false }).is_some());
    assert_eq!(obstacle(root, &Action::Smt { on: true }), None);
}

/// A function with a driver, in IOMMU group 7.
fn function(root: &Path, address: &str, driver: &str) {
    let device = format!("sys/devices/pci0000:00/{address}");
    file(root, &format!("{device}/vendor"), "0x8086\n");
    link(
        root,
        &format!("sys/bus/pci/devices/{address}"),
        &format!("../../../devices/pci0000:00/{address}"),
    );
    link(
        root,
        &format!("{device}/driver"),
        &format!("../../../bus/pci/drivers/{driver}"),
    );
    link(
        root,
        &format!("{device}/iommu_group"),
        "../../../kernel/iommu_groups/7",
    );
}

#[test]
fn a_device_is_taken_from_nobody() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let bind = |address: &str| Action::VfioBind {
        address: address.to_owned(),
        forced: false,
    };
    function(root, "0000:01:00.0", "igb");
    assert_eq!(obstacle(root, &bind("0000:01:00.0")), None);

    let interface = "sys/devices/pci0000:00/0000:01:00.0/net/eth3";
    file(root, &format!("{interface}/flags"), "0x1002\n");
    link(
        root,
        "sys/class/net/eth3",
        "../../devices/pci0000:00/0000:01:00.0/net/eth3",
    );
    assert_eq!(obstacle(root, &bind("0000:01:00.0")), None);
    file(root, &format!("{interface}/flags"), "0x1003\n");
    assert!(
        obstacle(root, &bind("0000:01:00.0"))
            .unwrap()
            .starts_with("the host's interface eth3 on 0000:01:00.0 is up")
    );

    function(root, "0000:02:00.0", "nvme");
    file(
        root,
        "sys/devices/pci0000:00/0000:02:00.0/nvme/nvme0/nvme0n1/size",
        "1\n",
    );
    link(
        root,
        "sys/class/block/nvme0n1",
        "../../devices/pci0000:00/0000:02:00.0/nvme/nvme0/nvme0n1",
    );
    assert!(
        obstacle(root, &bind("0000:02:00.0"))
            .unwrap()
            .contains("the disk nvme0n1 on 0000:02:00.0")
    );

    // A function of the same group that a VM has.
    function(root, "0000:03:00.0", "vfio-pci");
    file(root, "proc/4242/comm", "axion-vmm\n");
    link(root, "proc/4242/fd/9", "/dev/vfio/7");
    assert_eq!(
        obstacle(root, &bind("0000:03:00.0")).unwrap(),
        "0000:03:00.0 is in IOMMU group 7, which axion-vmm (4242) has open; stop that VM first"
    );
}

#[test]
fn functions_are_not_made_again_under_a_vm() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    function(root, "0000:01:00.0", "igb");
    function(root, "0000:01:10.0", "vfio-pci");
    let device = "sys/devices/pci0000:00/0000:01:00.0";
    file(root, &format!("{device}/sriov_numvfs"), "1\n");
    link(root, &format!("{device}/virtfn0"), "../0000:01:10.0");
    link(root, "proc/4242/fd/9", "/dev/vfio/7");
    let split = |vfs| Action::VirtualFunctions {
        address: "0000:01:00.0".to_owned(),
        interface: "eth3".to_owned(),
        vfs,
        macs: Vec::new(),
        vlan: None,
        trust: false,
        vfio: true,
    };
    assert_eq!(obstacle(root, &split(1)), None);
    assert!(obstacle(root, &split(2)).unwrap().contains("0000:01:10.0"));
}
