//! A fake node that is as planned, and each thing on it that is not.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::fixture;

const DOCUMENT: &str = "modules = [\"dm-mod\", \"loop\"]\n[profile]\nmode = \"hpc\"\niommu.mode = \"passthrough\"\n\
    vfio = [{ device = \"0000:01:00.0\" }]\n\
    hugepages = [{ size = \"1GiB\", count = 1 }, { size = \"2MiB\", node = 1, count = 64 }]\n\
    [sysctl]\n\"net.ipv4.tcp_rmem\" = \"4096 131072 6291456\"\n";

pub(super) const NODE: &str = r"
    proc/cmdline = quiet isolcpus=managed_irq,domain,1,3 nohz_full=1,3 rcu_nocbs=1,3 irqaffinity=0,2 intel_iommu=on iommu=pt hugepagesz=1G hugepages=0:1,1:1
    proc/sys/net/ipv4/tcp_rmem = 4096   131072   6291456
    proc/sys/vm/stat_interval = 120
    proc/sys/vm/compaction_proactiveness = 0
    proc/sys/kernel/osrelease = 6.12.1-axion
    lib/modules/6.12.1-axion/modules.builtin = kernel/drivers/block/loop.ko\nkernel/drivers/md/dm-mod.ko
    proc/irq/default_smp_affinity = 5
    proc/irq/1/smp_affinity_list = 0,2
    proc/irq/24/smp_affinity_list = 0-3
    proc/irq/24/effective_affinity_list = 2
    proc/irq/25/smp_affinity_list = 3
    proc/irq/26/smp_affinity_list = 0,2
    proc/irq/26/effective_affinity_list = 3
    sys/devices/system/cpu/online = 0-3
    sys/devices/system/cpu/isolated = 1,3
    sys/devices/system/cpu/nohz_full = 1,3
    sys/devices/system/cpu/cpu0/cpufreq/scaling_governor = performance
    sys/devices/system/cpu/cpu1/cpufreq/scaling_governor = performance
    sys/devices/system/cpu/cpu2/cpufreq/scaling_governor = performance
    sys/devices/system/cpu/cpu3/cpufreq/scaling_governor = performance
    sys/devices/system/cpu/cpu1/power/pm_qos_resume_latency_us = 10
    sys/devices/system/cpu/cpu3/power/pm_qos_resume_latency_us = 10
    sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages = 1
    sys/devices/system/node/node0/hugepages/hugepages-1048576kB/free_hugepages = 1
    sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages = 1
    sys/devices/system/node/node1/hugepages/hugepages-1048576kB/free_hugepages = 0
    sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages = 64
    sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages = 64
    sys/devices/virtual/workqueue/cpumask = 5
    sys/kernel/mm/transparent_hugepage/enabled = always [madvise] never
    sys/fs/cgroup/axion.slice/cpuset.cpus.effective = 0,2
    sys/fs/cgroup/vms.slice/cpuset.cpus.effective = 0-3
    sys/class/iommu/dmar0
    sys/kernel/iommu_groups/1/type = identity
    sys/module/kvm_intel/parameters/ple_gap = 0
    sys/module/kvm/parameters/halt_poll_ns = 0
    sys/bus/pci/devices/0000:01:00.0/driver -> ../../drivers/vfio-pci
    sys/bus/pci/devices/0000:01:00.0/iommu_group -> ../../../../kernel/iommu_groups/7
";

/// Two nodes of one core pair each: the host has 0 and 2, workloads 1 and 3.
pub(super) fn plan_of_node() -> Plan {
    let mut topology = machine(&[(2, 8), (2, 8)], 1);
    for (cpu, node) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
        topology.cpus[cpu].node = node;
    }
    topology.iommu = Some(crate::topology::IommuKind::Intel);
    topology.pci = vec![crate::topology::PciDevice {
        address: "0000:01:00.0".to_owned(),
        class: 0x03_0200,
        ..Default::default()
    }];
    planned(&topology, DOCUMENT)
}

pub(super) fn write(root: &Path, path: &str, text: &str) {
    std::fs::write(root.join(path), text).unwrap();
}

#[test]
fn a_node_as_planned() {
    let root = fixture::root(NODE);
    let fixed = root.path().join("proc/irq/25/smp_affinity_list");
    std::fs::set_permissions(fixed, std::fs::Permissions::from_mode(0o444)).unwrap();
    let attestation = attest(root.path(), &plan_of_node());
    let table: Vec<String> = attestation
        .items
        .iter()
        .map(|item| {
            format!(
                "{} | {} | {} | {}",
                item.key,
                item.desired,
                item.effective,
                item.state.word()
            )
        })
        .collect();
    assert_eq!(
        table,
        [
            "cmdline.isolcpus | 1,3 | 1,3 | ok",
            "cmdline.nohz_full | 1,3 | 1,3 | ok",
            "cmdline.rcu_nocbs | 1,3 | 1,3 | ok",
            "cmdline.irqaffinity | 0,2 | 0,2 | ok",
            "cmdline.iommu | intel_iommu=on iommu=pt | 1 units, 1 groups (identity) | ok",
            "cmdline.hugepages.1GiB | hugepagesz=1G hugepages=0:1,1:1 | hugepagesz=1G hugepages=0:1,1:1 | ok",
            "memory.numa-balancing | off | off (not in this kernel) | ok",
            "memory.ksm | off | off (not in this kernel) | ok",
            "sysctl.vm.stat_interval | 120 | 120 | ok",
            "sysctl.vm.compaction_proactiveness | 0 | 0 | ok",
            "sysctl.net.ipv4.tcp_rmem | 4096 131072 6291456 | 4096 131072 6291456 | ok",
            "hugepages.1GiB | 0:1,1:1 | 0:1,1:1 (1 free) | ok",
            "hugepages.2MiB | 1:64 | 1:64 (64 free) | ok",
            "memory.thp | madvise | madvise | ok",
            "module.zfs.zfs_arc_max | 1GiB | given when the module is loaded | ok",
            "cpu.irqs | on 0,2 | 3 there; managed or immovable elsewhere: 25 | ok",
            "cpu.workqueues | on 0,2 | on 0,2 | ok",
            "cpu.fair-server | each 4 s on 1,3 | this kernel shows none | ok",
            "cpu.cpuset.axion.slice | on 0,2 | on 0,2 | ok",
            "cpu.cpuset.vms.slice | on 0-3 | on 0-3 | ok",
            "power.governor | performance on 0-3 | performance on 4 CPUs | ok",
            "power.idle-latency | 10 us on 1,3 | 10 on 2 CPUs | ok",
            "module.kvm_intel.ple_gap | 0 | 0 | ok",
            "module.kvm.halt_poll_ns | 0 | 0 | ok",
            "module.spl.spl_taskq_thread_dynamic | 0 | given when the module is loaded | ok",
            "module.dm-mod | loaded | built in | ok",
            "module.loop | loaded | built in | ok",
            "vfio.0000:01:00.0 | vfio-pci | vfio-pci, group 7 | ok",
            "cpu.threads | none of the host on 1,3 | none | ok",
        ]
    );
    assert_eq!(attestation.state, ItemState::Ok);
}

/// File, text, item, effective, state, fix.
type Drift = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    ItemState,
    &'static str,
);

const DRIFTS: &[Drift] = &[
    (
        "proc/cmdline",
        "quiet",
        "cmdline.isolcpus",
        "not given",
        ItemState::NeedsReboot,
        "reboot: the kernel takes `isolcpus=managed_irq,domain,1,3` only at its start",
    ),
    (
        "proc/cmdline",
        "nohz_full=2",
        "cmdline.nohz_full",
        "nohz_full=2",
        ItemState::NeedsReboot,
        "take `nohz_full=2` off the loader's command line, then reboot",
    ),
    // The counts were reordered: the size binds to the count after it.
    (
        "proc/cmdline",
        "hugepages=0:1,1:1 hugepagesz=1G",
        "cmdline.hugepages.1GiB",
        "not given",
        ItemState::NeedsReboot,
        "reboot: the kernel takes `hugepagesz=1G hugepages=0:1,1:1` only at its start",
    ),
    (
        "sys/devices/system/cpu/isolated",
        "",
        "cmdline.isolcpus",
        "none",
        ItemState::Impossible,
        "the kernel did not accept the argument; its log says why (`axctl host logs`)",
    ),
    (
        "sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages",
        "0",
        "hugepages.1GiB",
        "0:1,1:0 (1 free)",
        ItemState::NeedsReboot,
        "reboot: node 1 has too little memory in one piece for pages of 1GiB",
    ),
    (
        "sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
        "60",
        "hugepages.2MiB",
        "1:60 (64 free)",
        ItemState::Drifted,
        "free memory on node 1, then write nr_hugepages; or reboot",
    ),
    (
        "proc/irq/24/effective_affinity_list",
        "1",
        "cpu.irqs",
        "2 there; managed or immovable elsewhere: 25; astray: 24",
        ItemState::Drifted,
        "write /proc/irq/N/smp_affinity_list of 24",
    ),
    (
        "proc/irq/default_smp_affinity",
        "f",
        "cpu.irqs",
        "3 there; managed or immovable elsewhere: 25; new ones on 0-3",
        ItemState::Drifted,
        "write /proc/irq/default_smp_affinity",
    ),
    (
        "sys/devices/virtual/workqueue/cpumask",
        "f",
        "cpu.workqueues",
        "on 0-3",
        ItemState::Drifted,
        "write /sys/devices/virtual/workqueue/cpumask",
    ),
    (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "[always] madvise never",
        "memory.thp",
        "always",
        ItemState::Drifted,
        "write /sys/kernel/mm/transparent_hugepage/enabled",
    ),
    (
        "proc/sys/kernel/numa_balancing",
        "1",
        "memory.numa-balancing",
        "on (1)",
        ItemState::Drifted,
        "write 0 to /proc/sys/kernel/numa_balancing",
    ),
    (
        "sys/fs/cgroup/axion.slice/cpuset.cpus.effective",
        "0-2",
        "cpu.cpuset.axion.slice",
        "on 0-2",
        ItemState::Drifted,
        "write /sys/fs/cgroup/axion.slice/cpuset.cpus",
    ),
    (
        "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor",
        "powersave",
        "power.governor",
        "powersave on 3",
        ItemState::Drifted,
        "write cpufreq/scaling_governor of CPU 3",
    ),
    (
        "sys/module/kvm_intel/parameters/ple_gap",
        "128",
        "module.kvm_intel.ple_gap",
        "128",
        ItemState::NeedsReboot,
        "reboot: kvm_intel takes ple_gap only when it is loaded",
    ),
    (
        "proc/sys/vm/stat_interval",
        "1",
        "sysctl.vm.stat_interval",
        "1",
        ItemState::Drifted,
        "write /proc/sys/vm/stat_interval",
    ),
];

#[test]
fn each_drift_is_named_with_what_mends_it() {
    let plan = plan_of_node();
    for (path, text, key, effective, state, fix) in DRIFTS {
        let root = fixture::root(NODE);
        let fixed = root.path().join("proc/irq/25/smp_affinity_list");
        std::fs::set_permissions(fixed, std::fs::Permissions::from_mode(0o444)).unwrap();
        write(root.path(), path, text);
        let attestation = attest(root.path(), &plan);
        let item = attestation.items.iter().find(|item| item.key == *key).unwrap();
        assert_eq!(
            (item.effective.as_str(), item.state, item.fix.as_deref()),
            (*effective, *state, Some(*fix)),
            "{path}"
        );
        assert!(attestation.state >= *state);
    }
}

#[test]
fn devices_that_are_not_as_planned() {
    let plan = plan_of_node();
    let vfio = |root: &Path| {
        let items = attest(root, &plan).items;
        items
            .into_iter()
            .find(|item| item.key.starts_with("vfio"))
            .unwrap()
    };
    let root = fixture::root(NODE);
    let device = root.path().join("sys/bus/pci/devices/0000:01:00.0");
    std::fs::remove_file(device.join("driver")).unwrap();
    assert_eq!(
        (vfio(root.path()).effective.as_str(), vfio(root.path()).state),
        ("no driver", ItemState::Drifted)
    );
    std::fs::remove_file(device.join("iommu_group")).unwrap();
    assert_eq!(vfio(root.path()).state, ItemState::NeedsReboot);
    std::fs::remove_dir(device).unwrap();
    assert_eq!(vfio(root.path()).state, ItemState::Impossible);
}

#[test]
fn virtual_functions_are_counted() {
    let plan = Plan {
        actions: vec![PlannedAction::new(
            Action::VirtualFunctions {
                address: "0000:04:00.0".to_owned(),
                interface: "eth0".to_owned(),
                vfs: 4,
                macs: Vec::new(),
                vlan: None,
                trust: false,
                vfio: false,
            },
            "",
        )],
        ..Plan::default()
    };
    let root = fixture::root("sys/bus/pci/devices/0000:04:00.0/sriov_numvfs = 4");
    let file = "sys/bus/pci/devices/0000:04:00.0/sriov_numvfs";
    for (text, state) in [
        ("4", ItemState::Ok),
        ("0", ItemState::Drifted),
        ("2", ItemState::Drifted),
    ] {
        write(root.path(), file, text);
        assert_eq!(attest(root.path(), &plan).state, state, "{text}");
    }
    std::fs::remove_file(root.path().join(file)).unwrap();
    assert_eq!(attest(root.path(), &plan).state, ItemState::Impossible);
}

#[test]
fn a_machine_that_shows_nothing_is_attested_all_the_same() {
    let root = fixture::root("");
    let attestation = attest(root.path(), &plan_of_node());
    assert_eq!(attestation.items.len(), 29);
    assert!(
        attestation
            .items
            .iter()
            .all(|item| item.state == ItemState::Ok || item.fix.is_some())
    );
    assert_eq!(attestation.state, ItemState::Impossible);
    assert_eq!(attest(root.path(), &Plan::default()).state, ItemState::Ok);
}

#[test]
fn a_partition_that_the_kernel_declared_invalid_drifted() {
    const STATE: &str = "sys/fs/cgroup/vms.slice/cpuset.cpus.partition";
    let root = fixture::root(&format!(
        "{STATE} = root\nsys/fs/cgroup/vms.slice/cpuset.cpus.effective = 1-3"
    ));
    let plan = planned(&machine(&[(4, 8)], 1), "");
    let found = || {
        let attestation = attest(root.path(), &plan);
        let item = attestation
            .items
            .into_iter()
            .find(|item| item.key == "cpu.partition.vms.slice");
        item.map(|item| (item.state, item.effective)).unwrap()
    };
    assert_eq!(found(), (ItemState::Ok, "root 1-3".to_owned()));
    write(
        root.path(),
        STATE,
        "root invalid (Cpu list in cpuset.cpus not exclusive)\n",
    );
    assert_eq!(
        found(),
        (
            ItemState::Drifted,
            "root invalid (Cpu list in cpuset.cpus not exclusive) 1-3".to_owned()
        )
    );
}

#[test]
fn virtual_functions_for_vms_are_with_vfio() {
    let plan = Plan {
        actions: vec![PlannedAction::new(
            Action::VirtualFunctions {
                address: "0000:04:00.0".to_owned(),
                interface: "eth0".to_owned(),
                vfs: 2,
                macs: Vec::new(),
                vlan: None,
                trust: false,
                vfio: true,
            },
            "",
        )],
        ..Plan::default()
    };
    const DEVICE: &str = "sys/bus/pci/devices/0000:04:00.0";
    let function = |vf: u32, driver: &str| {
        format!(
            "{DEVICE}/virtfn{vf}/driver -> ../../drivers/{driver}\n{DEVICE}/virtfn{vf}/iommu_group -> ../groups/{vf}\n"
        )
    };
    let both = function(0, "vfio-pci") + &function(1, "vfio-pci");
    let one = function(0, "vfio-pci") + &function(1, "igbvf");
    let outside = format!("{DEVICE}/virtfn0/driver -> ../../drivers/vfio-pci");
    for (functions, effective, state) in [
        (both, "2 VFs for VMs", ItemState::Ok),
        (one, "2 VFs, VF 1 with igbvf", ItemState::Drifted),
        (outside, "2 VFs, VF 0 in no IOMMU group", ItemState::NeedsReboot),
    ] {
        let root = fixture::root(&format!("{DEVICE}/sriov_numvfs = 2\n{functions}"));
        let [item] = attest(root.path(), &plan).items.try_into().unwrap();
        assert_eq!((item.effective.as_str(), item.state), (effective, state));
    }
}

#[test]
fn a_thread_of_the_host_on_an_isolated_cpu_is_named() {
    let root = fixture::root(NODE);
    let middle = ["0"; 29].join(" ");
    for (id, name, flags, cgroup) in [
        (60, "kswapd0", 0x0020_0040, "/"),
        (70, "agent", 0, "/axion.slice/agent"),
    ] {
        let task = format!("proc/{id}/task/{id}");
        std::fs::create_dir_all(root.path().join(&task)).unwrap();
        let stat = format!("{id} ({name}) S 2 0 0 0 -1 {flags} {middle} 3 0 0");
        write(root.path(), &format!("{task}/stat"), &stat);
        write(
            root.path(),
            &format!("{task}/status"),
            "Cpus_allowed_list:\t0-3\n",
        );
        write(
            root.path(),
            &format!("proc/{id}/cgroup"),
            &format!("0::{cgroup}\n"),
        );
    }
    let threads = |plan: &Plan| {
        let items = attest(root.path(), plan).items;
        items.into_iter().find(|item| item.key == "cpu.threads").unwrap()
    };
    let mut plan = plan_of_node();
    let item = threads(&plan);
    assert_eq!(item.effective, "kswapd0 (60) on 3, agent (70) on 3");
    assert_eq!(item.state, ItemState::Drifted);
    // Where the kernel may put its later threads anywhere, they are no drift.
    plan.mode = crate::config::ProfileMode::Balanced;
    assert_eq!(threads(&plan).effective, "agent (70) on 3");
}

#[test]
fn a_fair_server_with_another_period_needs_a_reboot() {
    let root = fixture::root(NODE);
    let directory = root.path().join("sys/kernel/debug/sched/fair_server");
    for (cpu, period) in [(1, "4000000000"), (3, "1000000000")] {
        std::fs::create_dir_all(directory.join(format!("cpu{cpu}"))).unwrap();
        std::fs::write(directory.join(format!("cpu{cpu}/period")), period).unwrap();
    }
    let item = || {
        let items = attest(root.path(), &plan_of_node()).items;
        items
            .into_iter()
            .find(|item| item.key == "cpu.fair-server")
            .unwrap()
    };
    assert_eq!(
        (item().effective.as_str(), item().state),
        ("each 1 s on 3", ItemState::NeedsReboot)
    );
    std::fs::write(directory.join("cpu3/period"), "4000000000").unwrap();
    assert_eq!(
        (item().effective.as_str(), item().state),
        ("each 4 s on 1,3", ItemState::Ok)
    );
}
