//! CPUs and memory: machines, documents, and what becomes of them.

use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// What is tested, nodes, threads a core, document; housekeeping, isolated, arguments.
type Case = (
    &'static str,
    &'static [Node],
    u32,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const HPC: &str = "profile.mode = \"hpc\"\n";

const DIVISIONS: &[Case] = &[
    ("1 CPU", &[(1, 2)], 1, HPC, "0", "", ""),
    ("2 CPUs", &[(2, 2)], 1, HPC, "0-1", "", ""),
    ("2 threads of one core", &[(1, 2)], 2, HPC, "0-1", "", ""),
    (
        "2 CPUs, asked for",
        &[(2, 2)],
        1,
        "[profile]\nmode = \"hpc\"\ncpu.isolated = \"1\"",
        "0",
        "1",
        "isolcpus=managed_irq,domain,1 nohz_full=1 rcu_nocbs=1 irqaffinity=0",
    ),
    (
        "4 CPUs",
        &[(4, 2)],
        1,
        HPC,
        "0",
        "1-3",
        "isolcpus=managed_irq,domain,1-3 nohz_full=1-3 rcu_nocbs=1-3 irqaffinity=0",
    ),
    // A node with a single core is the workloads', but for the one that boots.
    (
        "4 CPUs on 2 nodes with SMT",
        &[(1, 2), (1, 2)],
        2,
        HPC,
        "0,2",
        "1,3",
        "isolcpus=managed_irq,domain,1,3 nohz_full=1,3 rcu_nocbs=1,3 irqaffinity=0,2",
    ),
    ("4 threads on 1 core", &[(1, 2)], 4, HPC, "0-3", "", ""),
    (
        "2 x 64 cores with SMT",
        &[(64, 256), (64, 256)],
        2,
        HPC,
        "0-1,64-65,128-129,192-193",
        "2-63,66-127,130-191,194-255",
        "isolcpus=managed_irq,domain,2-63,66-127,130-191,194-255 nohz_full=2-63,66-127,130-191,194-255 \
      rcu_nocbs=2-63,66-127,130-191,194-255 irqaffinity=0-1,64-65,128-129,192-193",
    ),
    (
        "2 x 64 cores without SMT",
        &[(64, 256), (64, 256)],
        2,
        "[profile]\nmode = \"hpc\"\ncpu.smt = \"off\"",
        "0-1,64-65",
        "2-63,66-127",
        "isolcpus=managed_irq,domain,2-63,66-127 nohz_full=2-63,66-127 rcu_nocbs=2-63,66-127 irqaffinity=0-1,64-65",
    ),
    (
        "nodes of different size",
        &[(2, 4), (6, 16)],
        1,
        HPC,
        "0,2",
        "1,3-7",
        "isolcpus=managed_irq,domain,1,3-7 nohz_full=1,3-7 rcu_nocbs=1,3-7 irqaffinity=0,2",
    ),
    ("balanced takes no argument", &[(8, 16)], 1, "", "0", "1-7", ""),
    (
        "balanced with a tickless CPU",
        &[(8, 16)],
        1,
        "profile.cpu.nohz_full = \"6-7\"",
        "0",
        "1-7",
        "nohz_full=6-7",
    ),
    (
        "some CPUs in between",
        &[(8, 16)],
        1,
        "[profile.cpu]\nhousekeeping = \"0-1\"\nisolated = \"4-7\"\nmitigations = \"off\"",
        "0-1",
        "4-7",
        "mitigations=off",
    ),
    (
        "nothing isolated",
        &[(8, 16)],
        1,
        "[profile]\nmode = \"hpc\"\ncpu.isolated = \"none\"",
        "0-7",
        "",
        "",
    ),
    (
        "tick and callbacks as they are",
        &[(8, 16)],
        1,
        "[profile]\nmode = \"hpc\"\n[profile.cpu]\nnohz_full = \"none\"\nrcu_nocbs = \"none\"\nirqs = \"kernel\"",
        "0",
        "1-7",
        "isolcpus=managed_irq,domain,1-7",
    ),
    // The host's list lacks the boot CPU, whose core is not isolated all the same.
    (
        "the host away from CPU 0",
        &[(8, 16)],
        1,
        "profile.cpu.housekeeping = \"7\"",
        "7",
        "1-6",
        "",
    ),
    (
        "P-states",
        &[(8, 16)],
        1,
        "profile.power.p_states = \"passive\"",
        "0",
        "1-7",
        "intel_pstate=passive",
    ),
];

#[test]
fn who_has_which_core() {
    for (what, nodes, threads, toml, housekeeping, isolated, line) in DIVISIONS {
        let plan = planned(&machine(nodes, *threads), toml);
        assert_eq!(plan.housekeeping.to_string(), *housekeeping, "{what}");
        assert_eq!(plan.isolated.to_string(), *isolated, "{what}");
        assert_eq!(arguments(&plan), *line, "{what}");
        assert_eq!(
            actions(&plan, "cpu.cpuset").is_empty(),
            isolated.is_empty(),
            "{what}"
        );
    }
}

#[test]
fn offline_cpus_belong_to_nobody() {
    let mut topology = machine(&[(8, 16)], 1);
    topology.cpus[5].online = false;
    let plan = planned(&topology, HPC);
    assert_eq!(
        (plan.housekeeping.to_string(), plan.isolated.to_string()),
        ("0".to_owned(), "1-4,6-7".to_owned())
    );
    assert_eq!(
        refused(&topology, "profile.cpu.isolated = \"4-6\""),
        ["`profile.cpu.isolated`: CPU 5 is offline; possible: \"4,6\""]
    );
}

#[test]
fn a_machine_that_is_as_planned_has_the_same_plan() {
    let toml = "[profile]\nmode = \"hpc\"\ncpu.smt = \"off\"";
    let mut topology = machine(&[(4, 16), (4, 16)], 2);
    let before = planned(&topology, toml);
    topology.cpu_model.smt = SmtState::Off;
    for cpu in topology.cpus.iter_mut().filter(|cpu| cpu.id >= 8) {
        cpu.online = false;
        cpu.siblings = CpuSet::from_iter([cpu.id]);
    }
    assert_eq!(planned(&topology, toml), before);
}

/// Nodes, threads, document, refusals.
type Refused = (&'static [Node], u32, &'static str, &'static [&'static str]);

const REFUSED: &[Refused] = &[
    (
        &[(4, 8)],
        1,
        "profile.cpu.isolated = \"0-3\"",
        &["`profile.cpu.isolated`: leaves the host no CPU; possible: \"1-3\""],
    ),
    (
        &[(1, 8)],
        1,
        "profile.cpu.isolated = \"0\"",
        &["`profile.cpu.isolated`: leaves the host no CPU"],
    ),
    (
        &[(4, 8)],
        1,
        "profile.cpu.isolated = \"0-1\"",
        &["`profile.cpu.isolated`: CPU 0 boots the machine and keeps its time; possible: \"1\""],
    ),
    (
        &[(4, 8)],
        1,
        "profile.cpu.isolated = \"2-5\"",
        &["`profile.cpu.isolated`: CPU 4-5 does not exist; there are 0-3; possible: \"2-3\""],
    ),
    (
        &[(4, 8)],
        2,
        "profile.cpu.isolated = \"2-3,6\"",
        &[
            "`profile.cpu.isolated`: 7 is the other half of cores that are listed; a core is not divided; possible: \
        \"2-3,6-7\"",
        ],
    ),
    (
        &[(4, 8)],
        2,
        "[profile.cpu]\nsmt = \"off\"\nisolated = \"2,6\"",
        &["`profile.cpu.isolated`: CPU 6 is offline with `smt = \"off\"`; possible: \"2\""],
    ),
    (
        &[(4, 8)],
        1,
        "[profile.cpu]\nhousekeeping = \"0-2\"\nisolated = \"2-3\"",
        &["`profile.cpu.isolated`: 2 is kept for the host by `profile.cpu.housekeeping`; possible: \"3\""],
    ),
    (
        &[(4, 8)],
        1,
        "profile.cpu.nohz_full = \"0-3\"",
        &["`profile.cpu.nohz_full`: 0 is kept for the host; possible: \"1-3\""],
    ),
    (
        &[(4, 8)],
        1,
        "profile.cpu.smt = \"on\"",
        &[
            "`profile.cpu.smt`: the processor has no multithreading, or the firmware switched it off; possible: \"auto\"",
        ],
    ),
    (
        &[(4, 8)],
        1,
        "profile.power.governor = \"schedutil\"",
        &[
            "`profile.power.governor`: `intel_pstate` has no governor `schedutil`; possible: \"performance\" or \
        \"powersave\"",
        ],
    ),
    (
        &[(4, 8)],
        1,
        "profile.hugepages = [{ size = \"1GiB\", node = 0, count = 8 }]",
        &[
            "`profile.hugepages[0]`: node 0 has 8GiB, of which 640MiB stay with the host; 8GiB are asked for in all; \
        possible: count = 7",
        ],
    ),
    (
        &[(4, 8)],
        1,
        "profile.hugepages = [{ size = \"2MiB\", bytes = \"8GiB\" }]",
        &[
            "`profile.hugepages[0]`: node 0 has 8GiB, of which 640MiB stay with the host; 8GiB are asked for in all; \
        possible: bytes = \"7552MiB\"",
        ],
    ),
    // What the first rule takes is not there for the second.
    (
        &[(4, 8)],
        1,
        "profile.hugepages = [{ size = \"1GiB\", count = 6 }, { size = \"2MiB\", percent = 50 }]",
        &[
            "`profile.hugepages[1]`: node 0 has 8GiB, of which 640MiB stay with the host; 10238MiB are asked for in all; \
        possible: percent = 17",
        ],
    ),
    (
        &[(4, 8), (4, 0)],
        1,
        "profile.hugepages = [{ size = \"2MiB\", node = 1, count = 1 }, \
     { size = \"2MiB\", node = 2, count = 1 }]",
        &[
            "`profile.hugepages[0].node`: node 1 has no memory; possible: 0",
            "`profile.hugepages[1].node`: node 2 does not exist; possible: 0",
        ],
    ),
    (
        &[(4, 8)],
        1,
        "profile.hugepages = [{ size = \"2MiB\", count = 1 }, { size = \"2MiB\", count = 2 }]",
        &["`profile.hugepages[1]`: node 0 has pages of 2MiB by `profile.hugepages[0]` already"],
    ),
    (
        &[(4, 8)],
        1,
        "profile.hugepages = [{ size = \"1GiB\", percent = 5 }]",
        &["`profile.hugepages[0].percent`: so little of node 0 is less than one page of 1GiB"],
    ),
    (
        &[(4, 8)],
        1,
        "profile.memory.arc_limit = \"16GiB\"",
        &["`profile.memory.arc_limit`: 16GiB is more than the hugepages leave; possible: \"8GiB\""],
    ),
    // Several at once.
    (
        &[(2, 2)],
        1,
        "[profile]\ncpu.isolated = \"9\"\npower.governor = \"schedutil\"\niommu.mode = \"on\"",
        &[
            "`profile.cpu.isolated`: CPU 9 does not exist; there are 0-1",
            "`profile.power.governor`: `intel_pstate` has no governor `schedutil`; possible: \"performance\" or \
        \"powersave\"",
            "`profile.iommu.mode`: the firmware shows no IOMMU (no ACPI table DMAR, IVRS or VIOT); its setup may have VT-d \
        or AMD-Vi switched off",
        ],
    ),
];

#[test]
fn what_cannot_be_is_refused_with_the_nearest_that_can() {
    for (nodes, threads, toml, expected) in REFUSED {
        assert_eq!(refused(&machine(nodes, *threads), toml), *expected, "{toml}");
    }
}

#[test]
fn the_nearest_that_can_be_is_possible() {
    let topology = machine(&[(4, 8)], 1);
    for rule in [
        "size = \"1GiB\", count = 7",
        "size = \"2MiB\", bytes = \"7552MiB\"",
    ] {
        planned(&topology, &format!("profile.hugepages = [{{ {rule} }}]"));
    }
}

#[test]
fn a_cpu_without_gigabyte_pages() {
    let mut topology = machine(&[(4, 8)], 1);
    topology.cpu_model.gigabyte_pages = false;
    assert_eq!(
        refused(&topology, "profile.hugepages = [{ size = \"1GiB\", count = 1 }]"),
        [
            "`profile.hugepages[0].size`: this CPU has no pages of 1 GiB (no flag `pdpe1gb`); possible: \"2MiB\""
        ]
    );
}

#[test]
fn hugepages_go_to_their_nodes_and_whole_gigabytes_come_first() {
    let topology = machine(&[(4, 16), (4, 0), (4, 32)], 1);
    let toml = "profile.hugepages = [{ size = \"2MiB\", percent = 25 }, { size = \"1GiB\", count = 2 },\
                { size = \"1GiB\", node = 2, bytes = \"8GiB\" }]";
    let plan = planned(&topology, toml);
    assert_eq!(arguments(&plan), "hugepagesz=1G hugepages=0:2,2:8");
    assert_eq!(
        actions(&plan, "hugepages"),
        ["hugepages.1GiB 0:2,2:8", "hugepages.2MiB 0:2047,2:4095"]
    );
    // Half of each large node, when `hpc` is all that is said.
    assert_eq!(
        actions(&planned(&topology, HPC), "hugepages"),
        ["hugepages.2MiB 0:4096,2:8192"]
    );
    assert!(actions(&planned(&topology, ""), "hugepages").is_empty());
    assert!(
        actions(
            &planned(&topology, "[profile]\nmode = \"hpc\"\nhugepages = []"),
            "hugepages"
        )
        .is_empty()
    );
}

#[test]
fn stage_2_has_everything_that_needs_no_boot() {
    let toml =
        "modules = [\"nvme_tcp\"]\n[profile]\nmode = \"hpc\"\n[sysctl]\n\"vm.stat_interval\" = \"5\"\n";
    let plan = planned(&machine(&[(4, 16)], 1), toml);
    let all = actions(&plan, "");
    assert_eq!(
        all,
        [
            "memory.numa-balancing off",
            "memory.ksm off",
            "sysctl.vm.compaction_proactiveness 0",
            "sysctl.vm.stat_interval 5",
            "hugepages.2MiB 0:4096",
            "memory.thp madvise",
            "module.zfs.zfs_arc_max 1GiB",
            "cpu.irqs on 0",
            "cpu.workqueues on 0",
            "cpu.fair-server each 4 s on 1-3",
            "cpu.cpuset.axion.slice on 0",
            "cpu.cpuset.vms.slice on 0-3",
            "power.governor performance on 0-3",
            "power.idle-latency 10 us on 1-3",
            "module.kvm_intel.ple_gap 0",
            "module.spl.spl_taskq_thread_dynamic 0",
            "module.nvme_tcp loaded",
        ]
    );
    assert!(plan.notes.is_empty(), "{:?}", plan.notes);
    let balanced = planned(&machine(&[(4, 16)], 1), "");
    assert_eq!(
        actions(&balanced, "cpu.partition"),
        ["cpu.partition.vms.slice root 1-3"]
    );
}

#[test]
fn off_leaves_what_is_said_outside_the_profile() {
    let toml = "modules = [\"nvme_tcp\"]\n[profile]\nmode = \"off\"\ncpu.isolated = \"99\"\n[sysctl]\n\"vm.x\" = \"1\"\n";
    let topology = machine(&[(4, 16)], 1);
    let plan = planned(&topology, toml);
    assert_eq!(
        (arguments(&plan), actions(&plan, "")),
        (
            String::new(),
            vec!["sysctl.vm.x 1".to_owned(), "module.nvme_tcp loaded".to_owned()]
        )
    );
    let line = |text| CommandLine::parse(text);
    let off = Resolved::of(&topology, &declaration(HPC), &line("axion.profile=off"));
    assert_eq!((off.standing, off.plan.mode), (Standing::Off, ProfileMode::Off));
    let bad = Resolved::of(
        &topology,
        &declaration("profile.cpu.isolated = \"99\""),
        &line(""),
    );
    assert_eq!(
        (bad.standing, bad.refusals.len(), bad.plan.actions.len()),
        (Standing::Refused, 1, 0)
    );
    assert_eq!(
        Resolved::of(&topology, &declaration(HPC), &line("")).standing,
        Standing::Planned
    );
}

#[test]
fn a_small_machine_is_told_why_it_is_left_alone() {
    let plan = planned(&machine(&[(2, 2)], 1), HPC);
    assert_eq!(
        plan.notes,
        [
            "2 CPUs are too few to divide: nothing is isolated (`profile.cpu.isolated` would)",
            "no node has 8GiB: no hugepages are reserved (`profile.hugepages` would)",
        ]
    );
}

#[test]
fn a_plan_survives_json() {
    let toml = "[profile]\nmode = \"hpc\"\niommu.mode = \"on\"\nhugepages = [{ size = \"1GiB\", count = 2 }]";
    let mut topology = machine(&[(4, 16), (4, 16)], 2);
    topology.iommu = Some(crate::topology::IommuKind::Amd);
    let resolved = Resolved::of(&topology, &declaration(toml), &CommandLine::default());
    let text = serde_json::to_string(&resolved).unwrap();
    assert_eq!(serde_json::from_str::<Resolved>(&text).unwrap(), resolved);
}

/// 10 ms is the promise; a busy machine and an unoptimized build are given ten times that.
#[test]
fn planning_the_largest_machine_is_quick() {
    let topology = machine(&[(64, 512); 4], 2);
    assert_eq!(topology.cpus.len(), 512);
    let declaration =
        declaration("[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"1GiB\", percent = 75 }]");
    let fastest = (0..5)
        .map(|_| {
            let start = Instant::now();
            plan(&topology, &declaration).unwrap();
            start.elapsed()
        })
        .min();
    assert!(fastest < Some(Duration::from_millis(100)), "{fastest:?}");
}

proptest! {
    /// Whatever the machine: the host has a CPU, nobody shares one, and no core is divided.
    #[test]
    fn a_division_is_sound(
        nodes in prop::collection::vec((1u32..40, 0u64..64), 1..5),
        threads in 1u32..3,
        hpc: bool,
        offline in prop::collection::vec(1u32..100, 0..4),
    ) {
        let mut topology = machine(&nodes, threads);
        for cpu in topology.cpus.iter_mut().filter(|cpu| offline.contains(&cpu.id)) {
            cpu.online = false;
        }
        let plan = planned(&topology, if hpc { HPC } else { "" });
        let online: CpuSet = topology.cpus.iter().filter(|cpu| cpu.online).map(|cpu| cpu.id).collect();
        prop_assert!(plan.housekeeping.contains(0));
        prop_assert!(plan.housekeeping.intersection(&plan.isolated).is_empty());
        prop_assert_eq!(plan.housekeeping.union(&plan.isolated), online.clone());
        for cpu in topology.cpus.iter().filter(|cpu| plan.isolated.contains(cpu.id)) {
            prop_assert!(cpu.siblings.intersection(&online).is_subset(&plan.isolated));
        }
        let line = compose(&CommandLine::parse("quiet"), &plan).line;
        prop_assert_eq!(needs_kexec(&line, &plan), KexecDecision::NotNeeded);
    }
}

#[test]
fn settings_stay_below_proc_sys() {
    let file = |name| sysctl_file(name);
    assert_eq!(file("vm.max_map_count").unwrap(), "/proc/sys/vm/max_map_count");
    assert_eq!(
        file("net.ipv4.conf.eth0/1.rp_filter").unwrap(),
        "/proc/sys/net/ipv4/conf/eth0.1/rp_filter"
    );
    for bad in ["", "a..b", ".a", "a.", "//.//.x", "a.//.b"] {
        assert_eq!(file(bad), None, "{bad}");
    }
}
