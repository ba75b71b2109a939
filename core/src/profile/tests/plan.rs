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

#[test]
fn the_cache_of_zfs_is_half_of_what_is_left_at_most() {
    let limit = |nodes: &[Node], toml: &str| actions(&planned(&machine(nodes, 1), toml), "module.zfs");
    let of = |text: &str| vec![format!("module.zfs.zfs_arc_max {text}")];
    assert_eq!(limit(&[(4, 64)], ""), of("8GiB"));
    assert_eq!(limit(&[(4, 64)], HPC), of("4GiB"));
    let most = "[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"1GiB\", count = 60 }]";
    assert_eq!(limit(&[(4, 64)], most), of("1280MiB"));
    // What fills one node leaves the other's.
    let one = "profile.hugepages = [{ size = \"1GiB\", node = 0, count = 15 }]";
    assert_eq!(limit(&[(4, 16), (4, 4)], one), of("2016MiB"));
    assert_eq!(limit(&[(1, 1)], ""), of("128MiB"));
}

#[test]
fn large_pages_of_guests_are_executable_where_that_is_safe() {
    let nx = |affected: Option<bool>, toml: &str| {
        let mut topology = machine(&[(4, 8)], 1);
        topology.cpu_model.itlb_multihit = affected;
        match plan(&topology, &declaration(toml)) {
            Ok(plan) => actions(&plan, "module.kvm.nx").pop().unwrap_or_default(),
            Err(Refusals(refusals)) => refusals[0].to_string(),
        }
    };
    let off = "profile.kvm.nx_huge_pages = \"off\"";
    assert_eq!(nx(Some(false), ""), "module.kvm.nx_huge_pages N");
    assert_eq!(nx(Some(false), off), "module.kvm.nx_huge_pages N");
    assert_eq!(nx(Some(true), ""), "");
    assert_eq!(nx(None, ""), "");
    assert_eq!(
        nx(Some(true), "profile.kvm.nx_huge_pages = \"on\""),
        "module.kvm.nx_huge_pages Y"
    );
    for (affected, why) in [
        (Some(true), "this CPU is affected"),
        (None, "the kernel does not say"),
    ] {
        let said = nx(affected, off);
        assert!(
            said.starts_with(&format!("`profile.kvm.nx_huge_pages`: {why}")),
            "{said}"
        );
    }
    let trusted = format!("{off}\nprofile.cpu.mitigations = \"off\"");
    assert_eq!(nx(Some(true), &trusted), "module.kvm.nx_huge_pages N");
}

#[test]
fn the_host_spins_for_nobody_where_its_cpus_are_few() {
    let polls = |toml: &str| actions(&planned(&machine(&[(4, 8)], 1), toml), "module.kvm.halt");
    assert_eq!(polls(HPC), ["module.kvm.halt_poll_ns 0"]);
    assert!(polls("").is_empty());
    assert_eq!(
        polls("profile.kvm.halt_poll_us = 50"),
        ["module.kvm.halt_poll_ns 50000"]
    );
    assert!(polls("[profile]\nmode = \"hpc\"\ncpu.isolated = \"none\"").is_empty());
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
            "module.kvm.halt_poll_ns 0",
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

/// The best of many is the planner's own time, whatever else the machine does.
#[test]
fn planning_the_largest_machine_is_quick() {
    let topology = machine(&[(64, 512); 4], 2);
    assert_eq!(topology.cpus.len(), 512);
    let declaration =
        declaration("[profile]\nmode = \"hpc\"\nhugepages = [{ size = \"1GiB\", percent = 75 }]");
    let times = (0..100).map(|_| {
        let start = Instant::now();
        plan(&topology, &declaration).unwrap();
        start.elapsed()
    });
    let fastest = times.min();
    assert!(fastest < Some(Duration::from_millis(10)), "{fastest:?}");
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
