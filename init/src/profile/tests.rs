//! A fake node, and each action on it.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use axion_core::config::TransparentHugepages;
use axion_core::profile::{IdleLimit, NodePages, PartitionKind, VirtualFunction};
use axion_core::topology::CpuSet;
use rtnetlink::packet_route::link::{
    LinkAttribute, LinkMessage, LinkVfInfo, VfInfo, VfInfoMac, VfInfoTrust, VfInfoVlan,
};

use super::devices::{functions, settings};
use super::fence::kernel_thread_target;
use super::*;

/// Files with their texts below a new root.
fn node(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

fn text(root: &Path, path: &str) -> String {
    std::fs::read_to_string(root.join(path)).unwrap()
}

fn cpus(list: &str) -> CpuSet {
    list.parse().unwrap()
}

fn error(root: &Path, action: &Action) -> String {
    crate::failure::chain(&perform(root, action).unwrap_err())
}

#[test]
fn settings_are_written_where_the_kernel_has_them() {
    const THP: &str = "sys/kernel/mm/transparent_hugepage/enabled";
    let root = node(&[
        ("proc/sys/kernel/numa_balancing", "1\n"),
        ("proc/sys/net/ipv4/conf/eth0.7/forwarding", "0\n"),
        (THP, "always [madvise] never\n"),
    ]);
    let root = root.path();
    perform(root, &Action::NumaBalancingOff).unwrap();
    assert_eq!(text(root, "proc/sys/kernel/numa_balancing"), "0\n");
    perform(root, &Action::KsmOff).unwrap();
    let setting = |name: &str| Action::Sysctl {
        name: name.to_owned(),
        value: "1".to_owned(),
    };
    perform(root, &setting("net.ipv4.conf.eth0/7.forwarding")).unwrap();
    assert_eq!(text(root, "proc/sys/net/ipv4/conf/eth0.7/forwarding"), "1\n");
    assert!(error(root, &setting("vm.nothing")).contains("proc/sys/vm/nothing"));
    assert!(matches!(
        perform(root, &setting("..kernel")),
        Err(ActionError::Setting(_))
    ));
    let policy = TransparentHugepages::Never;
    perform(root, &Action::TransparentHugepages { policy }).unwrap();
    assert!(text(root, THP).starts_with("never\n"));
    std::fs::remove_file(root.join(THP)).unwrap();
    perform(root, &Action::TransparentHugepages { policy }).unwrap();
}

#[test]
fn multithreading_is_switched_where_it_can_be() {
    const CONTROL: &str = "sys/devices/system/cpu/smt/control";
    let root = node(&[(CONTROL, "on\n")]);
    perform(root.path(), &Action::Smt { on: false }).unwrap();
    assert_eq!(text(root.path(), CONTROL).lines().next(), Some("off"));
    let root = node(&[(CONTROL, "notsupported\n")]);
    perform(root.path(), &Action::Smt { on: false }).unwrap();
    assert_eq!(
        error(root.path(), &Action::Smt { on: true }),
        "multithreading cannot be switched on: the kernel says `notsupported`"
    );
}

#[test]
fn each_cpu_that_is_online_gets_its_file() {
    let file = |cpu: u32| format!("sys/devices/system/cpu/cpu{cpu}/power/pm_qos_resume_latency_us");
    let root = node(&[
        ("sys/devices/system/cpu/online", "0-2\n"),
        (&file(1), "0\n"),
        (&file(2), "0\n"),
    ]);
    let limit = |list| Action::IdleLatency {
        limit: IdleLimit::Zero,
        cpus: cpus(list),
    };
    perform(root.path(), &limit("1-3")).unwrap();
    assert_eq!(text(root.path(), &file(1)), "n/a\n");
    assert_eq!(text(root.path(), &file(2)), "n/a\n");
    assert!(error(root.path(), &limit("0-1")).contains("cpu0/power"));
}

#[test]
fn a_pool_that_comes_up_short_is_said_so() {
    let file =
        |node: u32| format!("sys/devices/system/node/node{node}/hugepages/hugepages-2048kB/nr_hugepages");
    let root = node(&[(&file(0), "0\n"), (&file(1), "16\n")]);
    let pool = |node, pages| NodePages { node, pages };
    let action = Action::Hugepages {
        page_size: PageSize::TwoMiB,
        nodes: vec![pool(0, 32), pool(1, 16)],
    };
    perform(root.path(), &action).unwrap();
    assert_eq!(text(root.path(), &file(0)), "32\n");
    // The kernel's file never shows more than there is.
    std::fs::remove_file(root.path().join(file(0))).unwrap();
    symlink("/dev/null", root.path().join(file(0))).unwrap();
    assert_eq!(
        error(root.path(), &action),
        "node 0 has 0 of 32 pages of 2MiB: its memory is too full, or in pieces too small"
    );
}

#[test]
fn interrupts_that_can_be_moved_are() {
    let file = |irq: u32| format!("proc/irq/{irq}/smp_affinity_list");
    let root = node(&[
        ("proc/irq/default_smp_affinity", "f\n"),
        (&file(1), "0-3\n"),
        (&file(2), "0\n"),
        (&file(3), "0-3\n"),
    ]);
    let fixed = std::fs::Permissions::from_mode(0o444);
    std::fs::set_permissions(root.path().join(file(3)), fixed).unwrap();
    perform(root.path(), &Action::IrqAffinity { cpus: cpus("0,2") }).unwrap();
    assert!(text(root.path(), "proc/irq/default_smp_affinity").contains('5'));
    assert!(text(root.path(), &file(1)).starts_with("0,2\n"));
    assert_eq!(text(root.path(), &file(2)), "0\n");
    assert_eq!(text(root.path(), &file(3)), "0-3\n");
}

#[test]
fn threads_of_the_kernel_that_are_of_no_cpu_move_to_the_hosts() {
    let status = |parent: u32, list: &str| format!("Name:\tx\nPPid:\t{parent}\nCpus_allowed_list:\t{list}\n");
    let root = node(&[
        ("proc/30/status", &status(2, "2-3")),
        ("proc/31/status", &status(2, "3")),
        ("proc/32/status", &status(2, "1,3")),
        ("proc/33/status", &status(2, "0,2")),
        ("proc/34/status", &status(1, "0-3")),
    ]);
    let files = Files { root: root.path() };
    let target = |thread| kernel_thread_target(&files, thread, &cpus("0,2")).map(|cpus| cpus.to_string());
    assert_eq!(target(30).as_deref(), Some("2"));
    assert_eq!(target(31), None);
    assert_eq!(target(32).as_deref(), Some("0,2"));
    assert_eq!(target(33), None);
    assert_eq!(target(34), None);
    assert_eq!(target(35), None);
}

#[test]
fn a_partition_that_the_kernel_declares_invalid_is_an_error() {
    let root = node(&[
        ("sys/fs/cgroup/vms.slice/cpuset.cpus", "\n"),
        ("sys/fs/cgroup/vms.slice/cpuset.cpus.partition", "member\n"),
    ]);
    let action = Action::CpusetPartition {
        cgroup: "vms.slice".to_owned(),
        cpus: cpus("1-3"),
        partition: PartitionKind::Root,
    };
    // A plain file keeps the end of what was there: `root\ner`.
    assert!(error(root.path(), &action).starts_with("the kernel makes no partition of vms.slice"));
    assert_eq!(text(root.path(), "sys/fs/cgroup/vms.slice/cpuset.cpus"), "1-3\n");
    std::fs::write(
        root.path().join("sys/fs/cgroup/vms.slice/cpuset.cpus.partition"),
        "",
    )
    .unwrap();
    perform(root.path(), &action).unwrap();
}

#[test]
fn a_parameter_is_written_only_into_a_module_that_is_loaded() {
    let parameter = |live| Action::ModuleParameter {
        module: "kvm-amd".to_owned(),
        name: "pause_filter_count".to_owned(),
        value: "0".to_owned(),
        live,
    };
    let root = node(&[]);
    perform(root.path(), &parameter(true)).unwrap();
    let root = node(&[("sys/module/kvm_amd/parameters/pause_filter_count", "3000\n")]);
    assert_eq!(
        error(root.path(), &parameter(false)),
        "kvm-amd takes pause_filter_count only when it is loaded, and it was loaded with 3000"
    );
    perform(root.path(), &parameter(true)).unwrap();
    let file = "sys/module/kvm_amd/parameters/pause_filter_count";
    assert!(text(root.path(), file).starts_with("0\n"));
}

#[test]
fn a_device_goes_to_vfio_by_way_of_its_override() {
    const DEVICE: &str = "sys/bus/pci/devices/0000:01:00.0";
    let bind = Action::VfioBind {
        address: "0000:01:00.0".to_owned(),
        forced: false,
    };
    let root = node(&[
        (&format!("{DEVICE}/driver_override"), "\n"),
        ("sys/bus/pci/drivers/nvme/unbind", ""),
        ("sys/bus/pci/drivers_probe", ""),
    ]);
    let link = |target: &str, name: &str| {
        symlink(target, root.path().join(DEVICE).join(name)).unwrap();
    };
    assert_eq!(
        error(root.path(), &bind),
        "0000:01:00.0 is in no IOMMU group: the IOMMU is off, or does not reach it"
    );
    std::fs::create_dir_all(root.path().join("sys/kernel/iommu_groups/7")).unwrap();
    link("../../../../kernel/iommu_groups/7", "iommu_group");
    link("../../drivers/nvme", "driver");
    // A plain file moves no driver.
    assert_eq!(
        error(root.path(), &bind),
        "0000:01:00.0 is with nvme and not with vfio-pci; the kernel log says why"
    );
    // It was asked for, and taken back: the file keeps what a line did not cover.
    assert_eq!(
        text(root.path(), &format!("{DEVICE}/driver_override")),
        "\nfio-pci\n"
    );
    assert_eq!(
        text(root.path(), "sys/bus/pci/drivers/nvme/unbind"),
        "0000:01:00.0\n"
    );
    assert_eq!(text(root.path(), "sys/bus/pci/drivers_probe"), "0000:01:00.0\n");
}

#[test]
fn a_group_goes_to_vfio_whole_or_not_at_all() {
    const DEVICES: &str = "sys/bus/pci/devices";
    const GROUP: &str = "sys/kernel/iommu_groups/7";
    let addresses = ["0000:01:00.0", "0000:01:00.1", "0000:01:00.2"];
    let root = node(&[
        ("sys/bus/pci/drivers/vfio-pci/unbind", ""),
        ("sys/bus/pci/drivers_probe", ""),
    ]);
    for address in addresses {
        let device = root.path().join(DEVICES).join(address);
        let member = root.path().join(GROUP).join("devices").join(address);
        std::fs::create_dir_all(&device).unwrap();
        std::fs::create_dir_all(member).unwrap();
        symlink("../../../../kernel/iommu_groups/7", device.join("iommu_group")).unwrap();
        std::fs::write(device.join("driver_override"), "\n").unwrap();
    }
    let device = |address: &str| format!("{DEVICES}/{address}");
    // The first is bound, as the plan wanted it; the second is with a driver that does not let it go.
    let [first, second, third] = addresses;
    std::fs::write(
        root.path().join(device(first)).join("driver_override"),
        "vfio-pci\n",
    )
    .unwrap();
    symlink(
        "../../drivers/vfio-pci",
        root.path().join(device(first)).join("driver"),
    )
    .unwrap();
    symlink(
        "../../drivers/stubborn",
        root.path().join(device(second)).join("driver"),
    )
    .unwrap();
    let bind = Action::VfioBind {
        address: second.to_owned(),
        forced: false,
    };
    let told = error(root.path(), &bind);
    assert!(
        told.contains("drivers/stubborn") || told.contains("driver/unbind"),
        "{told}"
    );
    // A line that is empty takes back what was asked for; a plain file keeps what it does not cover.
    let wish = |address| text(root.path(), &format!("{}/driver_override", device(address)));
    assert_eq!(wish(first), "\nfio-pci\n");
    assert_eq!(wish(second), "\nfio-pci\n");
    let unbound = text(root.path(), "sys/bus/pci/drivers/vfio-pci/unbind");
    assert_eq!(unbound, format!("{first}\n"));
    // One that the plan has behind it was bound all the same, and goes back at the end.
    std::fs::write(
        root.path().join(device(third)).join("driver_override"),
        "vfio-pci\n",
    )
    .unwrap();
    symlink(
        "../../drivers/vfio-pci",
        root.path().join(device(third)).join("driver"),
    )
    .unwrap();
    undo(root.path(), &bind);
    assert_eq!(wish(third), "\nfio-pci\n");
    assert!(text(root.path(), "sys/bus/pci/drivers/vfio-pci/unbind").contains(third));
}

#[test]
fn virtual_functions_that_exist_stay() {
    const FILE: &str = "sys/bus/pci/devices/0000:01:00.0/sriov_numvfs";
    let split = |macs: &[&str], vlan, trust| Action::VirtualFunctions {
        address: "0000:01:00.0".to_owned(),
        interface: "eth0".to_owned(),
        vfs: 2,
        macs: macs.iter().map(|mac| (*mac).to_owned()).collect(),
        vlan,
        trust,
        vfio: false,
    };
    for before in ["0", "2", "4"] {
        let root = node(&[(FILE, before)]);
        perform(root.path(), &split(&[], None, false)).unwrap();
        assert!(text(root.path(), FILE).starts_with('2'), "{before}");
    }
    let none = BTreeMap::new();
    assert!(functions(&split(&[], None, false), &none).is_empty());
    assert_eq!(functions(&split(&[], Some(7), false), &none).len(), 2);
    let both = functions(
        &split(&["02:00:00:00:00:01", "02:00:00:00:00:02"], Some(7), true),
        &none,
    );
    assert_eq!(
        both[1].0,
        [
            VfInfo::Mac(VfInfoMac::new(1, &[2, 0, 0, 0, 0, 2])),
            VfInfo::Vlan(VfInfoVlan::new(1, 7, 0)),
            VfInfo::Trust(VfInfoTrust::new(1, true)),
        ]
    );
}

#[test]
fn the_fair_servers_period_is_set_where_the_kernel_has_one() {
    let file = |cpu: u32| format!("sys/kernel/debug/sched/fair_server/cpu{cpu}/period");
    // CPU 0 is there on every machine that runs this.
    let root = node(&[(&file(0), "1000000000\n")]);
    let period = Action::FairServerPeriod {
        period_ns: 4_000_000_000,
        cpus: cpus("0,3"),
    };
    perform(root.path(), &period).unwrap();
    assert_eq!(text(root.path(), &file(0)).lines().next(), Some("4000000000"));
    assert!(!root.path().join(file(3)).exists());
}

#[test]
fn what_virtual_functions_have_is_read_and_taken_back() {
    let info = |vf, vlan, trusted| {
        LinkVfInfo(vec![
            VfInfo::Mac(VfInfoMac::new(vf, &[2, 0, 0, 0, 0, 0xab])),
            VfInfo::Vlan(VfInfoVlan::new(vf, vlan, 0)),
            VfInfo::Trust(VfInfoTrust::new(vf, trusted)),
        ])
    };
    let mut link = LinkMessage::default();
    let list = vec![info(0, 0, false), info(1, 5, true)];
    link.attributes.push(LinkAttribute::VfInfoList(list));
    let now = settings(&link);
    let function = |vlan, trusted| VirtualFunction {
        mac: Some("02:00:00:00:00:ab".to_owned()),
        vlan: Some(vlan),
        trusted: Some(trusted),
    };
    assert_eq!(
        now,
        BTreeMap::from([(0, function(0, false)), (1, function(5, true))])
    );
    // Nothing is planned for either: what somebody gave the second one goes.
    let plain = Action::VirtualFunctions {
        address: "0000:04:00.0".to_owned(),
        interface: "eth0".to_owned(),
        vfs: 2,
        macs: Vec::new(),
        vlan: None,
        trust: false,
        vfio: false,
    };
    assert_eq!(
        functions(&plain, &now),
        [LinkVfInfo(vec![
            VfInfo::Vlan(VfInfoVlan::new(1, 0, 0)),
            VfInfo::Trust(VfInfoTrust::new(1, false)),
        ])]
    );
}
