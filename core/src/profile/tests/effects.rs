//! What the kernel made of what it was given, and what devices have.

use super::attest::{NODE, plan_of_node, write};
use super::*;
use crate::fixture;

/// Argument of the config, command line, files, and the item that comes of it.
type Effect = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    ItemState,
);

const INTEL: &str = "profile.iommu.mode = \"passthrough\"";
const ON: &str = "profile.iommu.mode = \"on\"";
const SECURE_BOOT: &str = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const VULNERABILITIES: &str = "sys/devices/system/cpu/vulnerabilities";

const EFFECTS: &[Effect] = &[
    (
        INTEL,
        "intel_iommu=on iommu=pt",
        "sys/class/iommu/dmar0\nsys/kernel/iommu_groups/1/type = identity\nsys/kernel/iommu_groups/2/type = DMA-FQ",
        "iommu",
        "1 units, 2 groups (DMA-FQ, identity)",
        ItemState::Impossible,
    ),
    (
        ON,
        "intel_iommu=on iommu=nopt",
        "sys/class/iommu/dmar0\nsys/kernel/iommu_groups/1/type = DMA\nsys/kernel/iommu_groups/2/type = DMA-FQ",
        "iommu",
        "1 units, 2 groups (DMA, DMA-FQ)",
        ItemState::Ok,
    ),
    (
        ON,
        "intel_iommu=on iommu=nopt",
        "sys/class/iommu/dmar0\nsys/kernel/iommu_groups/1/type = identity",
        "iommu",
        "1 units, 1 groups (identity)",
        ItemState::Impossible,
    ),
    (
        "profile.cpu.mitigations = \"off\"",
        "mitigations=off",
        "VULN/meltdown = Mitigation: PTI\nVULN/l1tf = Mitigation: PTE Inversion",
        "mitigations",
        "meltdown: Mitigation: PTI",
        ItemState::Impossible,
    ),
    (
        "profile.cpu.mitigations = \"off\"",
        "mitigations=off",
        "VULN/meltdown = Vulnerable\nVULN/l1tf = Mitigation: PTE Inversion",
        "mitigations",
        "mitigations=off",
        ItemState::Ok,
    ),
    (
        "profile.cpu.mitigations = \"auto-nosmt\"",
        "mitigations=auto,nosmt",
        "VULN/mds = Mitigation: Clear CPU buffers; SMT vulnerable\nVULN/meltdown = Not affected",
        "mitigations",
        "mds: Mitigation: Clear CPU buffers; SMT vulnerable",
        ItemState::Impossible,
    ),
    (
        "profile.power.p_states = \"passive\"",
        "intel_pstate=passive",
        "sys/devices/system/cpu/intel_pstate/status = passive",
        "p-states",
        "passive",
        ItemState::Ok,
    ),
    (
        "profile.power.p_states = \"passive\"",
        "intel_pstate=passive",
        "sys/devices/system/cpu/intel_pstate/status = active",
        "p-states",
        "active",
        ItemState::Impossible,
    ),
    (
        "profile.power.p_states = \"active\"",
        "intel_pstate=active",
        "",
        "p-states",
        "intel_pstate is not used",
        ItemState::Impossible,
    ),
    (
        "profile.power.p_states = \"off\"",
        "intel_pstate=disable",
        "",
        "p-states",
        "not used",
        ItemState::Ok,
    ),
];

#[test]
fn what_the_kernel_made_of_an_argument_counts() {
    let mut topology = machine(&[(4, 8)], 1);
    topology.iommu = Some(crate::topology::IommuKind::Intel);
    for (toml, line, files, item, effective, state) in EFFECTS {
        let files = files.replace("VULN", VULNERABILITIES);
        let root = fixture::root(&format!("proc/cmdline = {line}\n{files}"));
        let items = attest(root.path(), &planned(&topology, toml)).items;
        let key = format!("cmdline.{item}");
        let found = items.into_iter().find(|item| item.key == key).unwrap();
        assert_eq!(
            (found.effective.as_str(), found.state),
            (*effective, *state),
            "{toml}"
        );
    }
}

#[test]
fn callbacks_that_run_elsewhere_have_a_thread_each() {
    let root = fixture::root(NODE);
    let thread = |id: u32, name: &str| {
        let task = root.path().join(format!("proc/{id}/task/{id}"));
        std::fs::create_dir_all(&task).unwrap();
        let middle = ["0"; 29].join(" ");
        let stat = format!("{id} ({name}) S 2 0 0 0 -1 2097216 {middle} 0 0 0");
        std::fs::write(task.join("stat"), stat).unwrap();
        std::fs::write(task.join("status"), "Cpus_allowed_list:\t0\n").unwrap();
    };
    let item = || {
        let items = attest(root.path(), &plan_of_node()).items;
        let found = items
            .into_iter()
            .find(|item| item.key == "cmdline.rcu_nocbs")
            .unwrap();
        (found.effective, found.state)
    };
    thread(60, "rcuop/1");
    assert_eq!(
        item(),
        ("callbacks of 3 run there".to_owned(), ItemState::Impossible)
    );
    thread(61, "rcuop/3");
    assert_eq!(item(), ("1,3".to_owned(), ItemState::Ok));
}

#[test]
fn a_group_that_the_host_has_a_part_of_is_said() {
    let root = fixture::root(NODE);
    let device = root.path().join("sys/bus/pci/devices/0000:01:00.0");
    let group = root.path().join("groups/7/devices");
    std::fs::remove_file(device.join("iommu_group")).unwrap();
    std::os::unix::fs::symlink("../../../../../groups/7", device.join("iommu_group")).unwrap();
    let function = |address: &str, class: &str, driver: &str| {
        let path = group.join(address);
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("class"), class).unwrap();
        std::os::unix::fs::symlink(format!("../drivers/{driver}"), path.join("driver")).unwrap();
    };
    let item = || {
        let items = attest(root.path(), &plan_of_node()).items;
        let found = items
            .into_iter()
            .find(|item| item.key.starts_with("vfio"))
            .unwrap();
        (found.effective, found.state)
    };
    function("0000:00:01.0", "0x060400", "pcieport");
    function("0000:01:00.1", "0x040300", "vfio-pci");
    assert_eq!(
        item(),
        ("vfio-pci, group 7 with 0000:01:00.1".to_owned(), ItemState::Ok)
    );
    function("0000:01:00.2", "0x0c0330", "xhci_hcd");
    assert_eq!(
        item(),
        (
            "vfio-pci, group 7, which 0000:01:00.2 (xhci_hcd) is in".to_owned(),
            ItemState::Impossible
        )
    );
}

#[test]
fn what_virtual_functions_are_given_is_compared() {
    let mut split = Action::VirtualFunctions {
        address: "0000:04:00.0".to_owned(),
        interface: "eth0".to_owned(),
        vfs: 2,
        macs: vec!["02:00:00:00:00:01".to_owned(), "02:00:00:00:00:02".to_owned()],
        vlan: Some(7),
        trust: false,
        vfio: false,
    };
    let root = fixture::root("sys/bus/pci/devices/0000:04:00.0/sriov_numvfs = 2");
    let function = |mac: u8, vlan: u32, trusted: bool| VirtualFunction {
        mac: Some(format!("02:00:00:00:00:{mac:02X}")),
        vlan: Some(vlan),
        trusted: Some(trusted),
    };
    let look = |split: &Action, functions: [VirtualFunction; 2]| {
        let plan = Plan {
            actions: vec![PlannedAction::new(split.clone(), "")],
            ..Plan::default()
        };
        let of_interface = (0..).zip(functions).collect();
        let settings = FunctionSettings::from([("eth0".to_owned(), of_interface)]);
        let [item] = attest_with(root.path(), &plan, &settings)
            .items
            .try_into()
            .unwrap();
        (item.effective, item.state)
    };
    let as_planned = || [function(1, 7, false), function(2, 7, false)];
    assert_eq!(look(&split, as_planned()), ("2 VFs".to_owned(), ItemState::Ok));
    let other = [function(9, 7, false), function(2, 0, true)];
    assert_eq!(
        look(&split, other),
        (
            "VF 0: MAC 02:00:00:00:00:09 and not 02:00:00:00:00:01; VF 1: no VLAN and not VLAN 7, trusted"
                .to_owned(),
            ItemState::Drifted
        )
    );
    // What a driver does not tell is nobody's fault.
    let silent = [VirtualFunction::default(), VirtualFunction::default()];
    assert_eq!(look(&split, silent).1, ItemState::Ok);
    if let Action::VirtualFunctions { trust, .. } = &mut split {
        *trust = true;
    }
    let own = [function(9, 7, true), function(2, 7, false)];
    assert_eq!(
        look(&split, own),
        ("VF 1: not trusted".to_owned(), ItemState::Drifted)
    );
}

#[test]
fn arguments_that_nothing_can_bring_are_impossible() {
    let mut plan = plan_of_node();
    plan.restart = Restart::Reboot;
    let root = fixture::root(NODE);
    let state = |line: &str| {
        write(root.path(), "proc/cmdline", line);
        let items = attest(root.path(), &plan).items;
        items
            .into_iter()
            .find(|item| item.key == "cmdline.isolcpus")
            .unwrap()
    };
    let medium = state("quiet");
    assert_eq!(medium.state, ItemState::Impossible);
    assert!(medium.fix.unwrap().contains("to the loader by hand"));
    assert_eq!(state("quiet axion.slot=a").state, ItemState::NeedsReboot);
    // Nor does a loader bring any under Secure Boot, and there the kernel is not told the slot either.
    let variables = root.path().join("sys/firmware/efi/efivars");
    std::fs::create_dir_all(&variables).unwrap();
    std::fs::write(variables.join(SECURE_BOOT), [6, 0, 0, 0, 1]).unwrap();
    let secure = state("quiet");
    assert_eq!(secure.state, ItemState::Impossible);
    assert!(secure.fix.unwrap().contains("under Secure Boot"));
}
