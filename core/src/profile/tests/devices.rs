//! Devices: what may be given away.

use super::*;
use crate::topology::{Acs, Disk, IommuKind, Nic, PciDevice, Sriov};

fn function(address: &str, ids: (u16, u16), class: u32, group: Option<u32>) -> PciDevice {
    PciDevice {
        address: address.to_owned(),
        vendor: ids.0,
        device: ids.1,
        class,
        iommu_group: group,
        ..PciDevice::default()
    }
}

fn nic(name: &str, mac: &str, pci: &str) -> Nic {
    Nic {
        name: name.to_owned(),
        mac: mac.to_owned(),
        pci: Some(pci.to_owned()),
        ..Nic::default()
    }
}

/// A bridge, two GPUs (one of which has an audio function in its group), an NVMe disk, two NICs with SR-IOV.
fn with_devices() -> Topology {
    let mut topology = machine(&[(8, 32)], 1);
    topology.iommu = Some(IommuKind::Intel);
    let split = |address| PciDevice {
        sriov: Some(Sriov { total: 8, enabled: 0 }),
        ..function(address, (0x8086, 0x10c9), 0x02_0000, None)
    };
    topology.pci = vec![
        function("0000:00:01.0", (0x8086, 0x2030), 0x06_0400, Some(1)),
        function("0000:01:00.0", (0x10de, 0x2204), 0x03_0200, Some(1)),
        function("0000:02:00.0", (0x10de, 0x2204), 0x03_0000, Some(2)),
        function("0000:02:00.1", (0x10de, 0x1aef), 0x04_0300, Some(2)),
        function("0000:03:00.0", (0x144d, 0xa80a), 0x01_0802, None),
        split("0000:04:00.0"),
        split("0000:04:00.1"),
    ];
    topology.pci[1].upstream = Some("0000:00:01.0".to_owned());
    topology.disks = vec![Disk {
        name: "nvme0n1".to_owned(),
        pci: Some("0000:03:00.0".to_owned()),
        ..Disk::default()
    }];
    topology.nics = vec![
        nic("eth0", "02:00:00:00:00:01", "0000:04:00.0"),
        nic("eth1", "02:00:00:00:00:02", "0000:04:00.1"),
    ];
    topology
}

fn vfio(device: &str) -> String {
    format!("profile.vfio = [{{ device = \"{device}\" }}]")
}

#[test]
fn devices_are_found_by_address_kind_and_class() {
    let topology = with_devices();
    let both = "profile.vfio = [{ device = \"10de:2204\" }, { device = \"0000:02:00.1\" }]";
    for (toml, expected) in [
        (vfio("0000:01:00.0").as_str(), vec!["vfio.0000:01:00.0 vfio-pci"]),
        (vfio("class:0302").as_str(), vec!["vfio.0000:01:00.0 vfio-pci"]),
        (
            both,
            vec![
                "vfio.0000:01:00.0 vfio-pci",
                "vfio.0000:02:00.0 vfio-pci",
                "vfio.0000:02:00.1 vfio-pci",
            ],
        ),
    ] {
        let plan = planned(&topology, toml);
        assert_eq!(actions(&plan, "vfio"), expected);
        assert_eq!(arguments(&plan), "intel_iommu=on iommu=pt");
    }
    assert_eq!(
        arguments(&planned(&topology, "profile.iommu.mode = \"on\"")),
        "intel_iommu=on iommu=nopt"
    );
    assert_eq!(
        arguments(&planned(&topology, "profile.iommu.mode = \"off\"")),
        "intel_iommu=off"
    );
    assert_eq!(arguments(&planned(&topology, "")), "");
}

const FORCED: &str = "force = true, to give it away all the same";
const OWN_ETH0: &str = "[[network.interfaces]]\nmatch.name = \"eth0\"\n";

/// Refusals of a rule on a machine that boots from somewhere and uses something.
fn refused_on_node(toml: &str, boot_devices: &[&str], uses: HostUses) -> Vec<String> {
    let mut declaration = declaration(toml);
    declaration.boot_devices = boot_devices.iter().map(|device| (*device).to_owned()).collect();
    declaration.uses = uses;
    match plan(&with_devices(), &declaration) {
        Ok(_) => Vec::new(),
        Err(Refusals(refusals)) => refusals.iter().map(Refusal::to_string).collect(),
    }
}

fn kept(address: &str, use_: &str) -> Vec<String> {
    vec![format!("`profile.vfio[0]`: {address} {use_}; possible: {FORCED}")]
}

fn holds(holding: Holding) -> HostUses {
    let disk = "nvme0n1".to_owned();
    HostUses {
        disks: vec![DiskUse { disk, holding }],
        ..HostUses::default()
    }
}

#[test]
fn disks_that_the_host_needs_are_kept() {
    let disk = vfio("class:01");
    let none = HostUses::default;
    let controller = |what: &str| {
        kept(
            "0000:03:00.0",
            &format!("is the controller of nvme0n1, which {what}"),
        )
    };
    assert_eq!(
        refused_on_node(&disk, &["/dev/nvme0n1p2"], none()),
        controller("the node boots from")
    );
    assert_eq!(
        refused_on_node(&disk, &[], holds(Holding::RunningSlot)),
        controller("holds the running slot")
    );
    assert_eq!(
        refused_on_node(&disk, &[], holds(Holding::Pool("tank".to_owned()))),
        controller("holds pool tank")
    );
    let forced = "profile.vfio = [{ device = \"class:01\", force = true }]";
    assert!(refused_on_node(forced, &["/dev/nvme0n1"], holds(Holding::RunningSlot)).is_empty());
    // Nothing says that the node uses the disk.
    assert!(refused_on_node(&disk, &["/dev/nvme1n1"], none()).is_empty());
}

#[test]
fn disks_of_declared_pools_are_kept_before_they_show_themselves() {
    let pool = |disk: &str| {
        format!(
            "{}\n[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"{disk}\"]\n",
            vfio("0000:03:00.0")
        )
    };
    let by_slot = refused(&with_devices(), &pool("pci:0000:03:00.0"));
    assert_eq!(
        by_slot,
        kept(
            "0000:03:00.0",
            "is the controller of nvme0n1, which is declared for pool tank (`storage.pools`)"
        )
    );
    let mut early = with_devices();
    early.disks.clear();
    assert_eq!(
        refused(&early, &pool("pci:0000:03:00.0")),
        kept("0000:03:00.0", "is declared for pool tank (`storage.pools`)")
    );
    planned(&with_devices(), &pool("serial:other"));
}

#[test]
fn interfaces_that_the_host_needs_are_kept() {
    let topology = with_devices();
    let interface = "[[network.interfaces]]\nmatch.mac = \"02:00:00:00:00:02\"\n";
    assert_eq!(
        refused(&topology, &format!("{}\n{interface}", vfio("0000:04:00.1"))),
        kept("0000:04:00.1", "is eth1, which `network.interfaces` configures")
    );
    // Nobody said which one is the node's own.
    assert_eq!(
        refused(&topology, &vfio("0000:04:00.1")),
        kept(
            "0000:04:00.1",
            "is eth1, on which the node asks for its address, as on every interface while `network.interfaces` names none"
        )
    );
    let other = format!("{}\n{OWN_ETH0}", vfio("0000:04:00.1"));
    planned(&topology, &other);
    // What the config does not name may still be the way to the node now.
    let carries = HostUses {
        interfaces: vec![InterfaceUse {
            interface: "eth1".to_owned(),
            address: [10, 0, 0, 7].into(),
        }],
        ..HostUses::default()
    };
    assert_eq!(
        refused_on_node(&other, &[], carries),
        kept(
            "0000:04:00.1",
            "is eth1, which carries 10.0.0.7, by which the node is reached"
        )
    );
    planned(
        &topology,
        "profile.vfio = [{ device = \"class:02\", force = true }]",
    );
    // None of them is configured, and they are all that there is.
    let elsewhere = "[[network.interfaces]]\nmatch.name = \"ax-lan\"\n";
    assert_eq!(
        refused(&topology, &format!("{}\n{elsewhere}", vfio("class:02"))),
        [
            "`profile.vfio`: gives away every network interface (eth0, eth1), and the node with them; possible: force = \
          true, to give them away all the same"
        ]
    );
}

#[test]
fn what_is_not_there_or_does_not_go_alone() {
    let topology = with_devices();
    for (toml, expected) in [
        (
            vfio("10de:ffff"),
            "`profile.vfio[0].device`: there is no device `10de:ffff`; possible: \"0000:01:00.0\" (10de:2204) or \
          \"0000:02:00.0\" (10de:2204) or \"0000:02:00.1\" (10de:1aef)",
        ),
        (
            vfio("0000:09:00.0"),
            "`profile.vfio[0].device`: there is no device `0000:09:00.0`",
        ),
        (
            vfio("0000:00:01.0"),
            "`profile.vfio[0]`: 0000:00:01.0 is a bridge, which cannot be given to a VM; possible: \"0000:01:00.0\"",
        ),
        (
            vfio("0000:02:00.0"),
            "`profile.vfio`: 0000:02:00.0 shares IOMMU group 2 with 0000:02:00.1, which are not given away with it; \
          possible: these too: { device = \"0000:02:00.1\" }",
        ),
        (
            format!("{}\nprofile.iommu.mode = \"off\"", vfio("0000:01:00.0")),
            "`profile.iommu.mode`: devices of `profile.vfio` cannot be given to VMs without it; possible: \
          \"passthrough\"",
        ),
    ] {
        assert_eq!(refused(&topology, &toml), [expected]);
    }
    let mut without = topology.clone();
    without.iommu = None;
    assert!(refused(&without, &vfio("0000:01:00.0"))[0].contains("the firmware shows no IOMMU"));
}

#[test]
fn network_functions_are_split() {
    let topology = with_devices();
    let toml = "[[profile.sriov]]\nmatch.name = \"eth1\"\nvfs = 2\nmac = \"02:00:00:00:00:ff\"\nvlan = 7\ntrust = true";
    let plan = planned(&topology, toml);
    assert_eq!(
        actions(&plan, "sriov"),
        ["sriov.eth1 2 VFs from 02:00:00:00:00:ff vlan 7 trusted"]
    );
    let Some(Action::VirtualFunctions { macs, address, .. }) = plan
        .actions
        .iter()
        .map(|planned| planned.action.clone())
        .find(|a| a.key().starts_with("sriov"))
    else {
        panic!("no virtual functions");
    };
    assert_eq!(
        (macs, address.as_str()),
        (
            vec!["02:00:00:00:00:ff".to_owned(), "02:00:00:00:01:00".to_owned()],
            "0000:04:00.1"
        )
    );
    assert_eq!(arguments(&plan), "intel_iommu=on iommu=pt");
    let kept = planned(
        &topology,
        "[[profile.sriov]]\nmatch.name = \"eth1\"\nvfs = 2\nvfio = true",
    );
    assert_eq!(actions(&kept, "sriov"), ["sriov.eth1 2 VFs for VMs"]);
    let mut without = topology.clone();
    without.iommu = None;
    let toml = "[[profile.sriov]]\nmatch.name = \"eth1\"\nvfs = 2\nvfio = true";
    assert!(refused(&without, toml)[0].starts_with("`profile.sriov`: the firmware shows no IOMMU"));

    let mut twins = topology.clone();
    twins.nics[1].mac = twins.nics[0].mac.clone();
    let mut plain = topology.clone();
    plain.pci[5].sriov = None;
    let rule = |by: &str, vfs| format!("[[profile.sriov]]\nmatch.{by}\nvfs = {vfs}\n");
    for (machine, toml, expected) in [
        (
            &topology,
            rule("name = \"eth1\"", 9),
            "`profile.sriov[0].vfs`: eth1 can have 8 virtual functions, not 9; possible: 8",
        ),
        (
            &twins,
            rule("mac = \"02:00:00:00:00:01\"", 1),
            "`profile.sriov[0].match`: 2 interfaces fit; one is meant; possible: eth0 or eth1",
        ),
        (
            &topology,
            rule("name = \"eth7\"", 1),
            "`profile.sriov[0].match`: no interface on PCI fits; possible: eth0 or eth1",
        ),
        (
            &plain,
            rule("name = \"eth0\"", 1),
            "`profile.sriov[0]`: eth0 cannot be split (it has no SR-IOV); possible: eth1",
        ),
        (
            &topology,
            rule("name = \"eth1\"", 1) + &rule("pci = \"0000:04:00.1\"", 2),
            "`profile.sriov[1]`: eth1 is split by `profile.sriov[0]` already",
        ),
        (
            &topology,
            vfio("0000:04:00.1") + "\n" + &rule("name = \"eth1\"", 1) + OWN_ETH0,
            "`profile.sriov[0]`: eth1 is given away whole by `profile.vfio`",
        ),
    ] {
        assert_eq!(refused(machine, &toml), [expected]);
    }
}

/// A root port with a switch, and two devices behind different ports of it.
fn behind_a_switch(acs_of_switch: Option<Acs>) -> Topology {
    let mut topology = with_devices();
    let under = |address: &str, class: u32, upstream: Option<&str>, acs: Option<Acs>| PciDevice {
        upstream: upstream.map(str::to_owned),
        acs,
        ..function(address, (0x10b5, 0x8747), class, None)
    };
    let isolating = Some(Acs {
        capable: 0x5f,
        enabled: 0x1d,
    });
    topology.pci = vec![
        under("0000:00:02.0", 0x06_0400, None, isolating),
        under("0000:05:00.0", 0x06_0400, Some("0000:00:02.0"), acs_of_switch),
        under("0000:06:00.0", 0x03_0200, Some("0000:05:00.0"), None),
        under("0000:07:00.0", 0x03_0200, Some("0000:05:00.0"), None),
    ];
    topology
}

#[test]
fn what_is_not_alone_is_told_with_the_bridge_that_is_to_blame() {
    let notes = |topology: &Topology, toml: &str| planned(topology, toml).notes;
    let device = vfio("0000:06:00.0");
    let off = Some(Acs {
        capable: 0x5f,
        enabled: 0,
    });
    assert_eq!(
        notes(&behind_a_switch(None), &device),
        [
            "0000:06:00.0 will share its IOMMU group with 0000:07:00.0: the bridge 0000:05:00.0 above has no access control \
          (ACS)"
        ]
    );
    assert_eq!(
        notes(&behind_a_switch(off), &device),
        [
            "0000:06:00.0 will share its IOMMU group with 0000:07:00.0: the bridge 0000:05:00.0 above has access control \
          (ACS) switched off"
        ]
    );
    let isolating = behind_a_switch(Some(Acs {
        capable: 0x5f,
        enabled: 0x1d,
    }));
    assert!(notes(&isolating, &device).is_empty());
    // With the IOMMU on, the kernel's word counts.
    let mut grouped = behind_a_switch(None);
    for function in &mut grouped.pci[1..] {
        function.iommu_group = Some(9);
    }
    assert_eq!(
        refused(&grouped, &device),
        [
            "`profile.vfio`: 0000:06:00.0 shares IOMMU group 9 with 0000:07:00.0, which are not given away with it: the bridge \
          0000:05:00.0 above has no access control (ACS); possible: these too: { device = \"0000:07:00.0\" }"
        ]
    );
    let both = "profile.vfio = [{ device = \"class:0302\" }]";
    assert_eq!(
        notes(&grouped, both)[0],
        "0000:06:00.0 shares IOMMU group 9 with 0000:07:00.0: they reach each other, and go to one VM together: the bridge \
         0000:05:00.0 above has no access control (ACS)"
    );
    grouped.pci[2].iommu_group = Some(10);
    assert!(notes(&grouped, &device).is_empty());
}
