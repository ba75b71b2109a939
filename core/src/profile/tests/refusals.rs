//! Wishes that a machine cannot grant, and what is offered instead.

use super::*;

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
        &["`profile.cpu.isolated`: leaves the host no CPU; possible: \"none\""],
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
        &[
            "`profile.hugepages[0].percent`: so little of node 0 is less than one page of 1GiB; possible: percent = 13",
        ],
    ),
    (
        &[(4, 8)],
        1,
        "profile.memory.arc_limit = \"16GiB\"",
        &[
            "`profile.memory.arc_limit`: 16GiB is more than the hugepages and the host leave; possible: \"7552MiB\"",
        ],
    ),
    (
        &[(4, 8)],
        1,
        "[profile]\nmemory.arc_limit = \"80%\"\nhugepages = [{ size = \"1GiB\", count = 4 }]",
        &[
            "`profile.memory.arc_limit`: 6553MiB is more than the hugepages and the host leave; possible: \"42%\"",
        ],
    ),
    (
        &[(4, 8)],
        1,
        "profile.memory.arc_limit = \"32MiB\"",
        &["`profile.memory.arc_limit`: 32MiB is less than ZFS takes; possible: \"64MiB\""],
    ),
    // Not a page is left of the size that is asked for.
    (
        &[(4, 1)],
        1,
        "profile.hugepages = [{ size = \"1GiB\", count = 1 }]",
        &[
            "`profile.hugepages[0]`: node 0 has 1GiB, of which 528MiB stay with the host; 1GiB are asked for in all; \
        possible: size = \"2MiB\", count = 248",
        ],
    ),
    // The percentage that would be possible is less than a page: a count is offered.
    (
        &[(4, 64)],
        1,
        "profile.hugepages = [{ size = \"2MiB\", count = 31000 }, { size = \"1GiB\", percent = 50 }]",
        &[
            "`profile.hugepages[1]`: node 0 has 64GiB, of which 1536MiB stay with the host; 93744MiB are asked for in all; \
        possible: count = 1",
        ],
    ),
    // Several at once.
    (
        &[(2, 2)],
        1,
        "[profile]\ncpu.isolated = \"9\"\npower.governor = \"schedutil\"\niommu.mode = \"on\"",
        &[
            "`profile.cpu.isolated`: CPU 9 does not exist; there are 0-1; possible: \"none\"",
            "`profile.power.governor`: `intel_pstate` has no governor `schedutil`; possible: \"performance\" or \
        \"powersave\"",
            "`profile.iommu.mode`: the firmware shows no IOMMU (no ACPI table DMAR, IVRS or VIOT); its setup may have VT-d \
        or AMD-Vi switched off; possible: \"auto\"",
        ],
    ),
];

#[test]
fn what_cannot_be_is_refused_with_the_nearest_that_can() {
    for (nodes, threads, toml, expected) in REFUSED {
        assert_eq!(refused(&machine(nodes, *threads), toml), *expected, "{toml}");
    }
}

/// Machine and a rule that it refuses; what is offered instead stands for the part of the rule that begins with the same key.
const OFFERED: &[(Node, &str, &str)] = &[
    ((4, 8), "", "size = \"1GiB\", count = 8"),
    ((4, 8), "", "size = \"2MiB\", bytes = \"8GiB\""),
    ((4, 8), "", "size = \"2MiB\", percent = 100"),
    ((4, 8), "", "size = \"1GiB\", percent = 5"),
    ((4, 2), "", "size = \"1GiB\", percent = 10"),
    ((4, 1), "", "size = \"1GiB\", percent = 100"),
    ((4, 1), "", "size = \"1GiB\", percent = 1"),
    (
        (4, 8),
        "{ size = \"1GiB\", count = 6 }, ",
        "size = \"2MiB\", percent = 50",
    ),
    (
        (4, 64),
        "{ size = \"2MiB\", count = 31000 }, ",
        "size = \"1GiB\", percent = 50",
    ),
    (
        (4, 512),
        "{ size = \"2MiB\", percent = 97 }, ",
        "size = \"1GiB\", percent = 10",
    ),
];

#[test]
fn the_nearest_that_can_be_is_possible() {
    for (node, before, rule) in OFFERED {
        let topology = machine(&[*node], 1);
        let toml = |rule: &str| format!("profile.hugepages = [{before}{{ {rule} }}]");
        let Refusals(refusals) = plan(&topology, &declaration(&toml(rule))).unwrap_err();
        let [refusal] = refusals.as_slice() else {
            panic!("{rule}: {refusals:?}");
        };
        let Some(nearest) = &refusal.nearest else {
            panic!("{rule}: {refusal}");
        };
        // A size comes with its count; a count stays with the size that was asked for.
        let instead = if nearest.starts_with("size") {
            nearest.clone()
        } else {
            let (size, _) = rule.split_once(", ").unwrap();
            format!("{size}, {nearest}")
        };
        planned(&topology, &toml(&instead));
    }
    for limit in ["90%", "16GiB", "1MiB"] {
        let topology = machine(&[(4, 8)], 1);
        let toml = |limit: &str| {
            format!("[profile]\nmemory.arc_limit = {limit}\nhugepages = [{{ size = \"1GiB\", count = 4 }}]")
        };
        let Refusals(refusals) = plan(&topology, &declaration(&toml(&format!("\"{limit}\"")))).unwrap_err();
        let nearest = refusals[0].nearest.as_deref().unwrap();
        planned(&topology, &toml(nearest));
    }
}

#[test]
fn what_the_machine_does_not_have_is_refused() {
    let mut topology = machine(&[(4, 8)], 1);
    topology.cpu_model.smt = SmtState::ForcedOff;
    assert_eq!(
        refused(&topology, "profile.cpu.smt = \"on\""),
        [
            "`profile.cpu.smt`: `nosmt=force` on the kernel command line, or a mitigation, forbids it until the next boot; \
          possible: \"auto\""
        ]
    );
    topology.cpu_model.idle_limits = false;
    for states in ["shallow", "poll"] {
        assert_eq!(
            refused(&topology, &format!("profile.power.c_states = \"{states}\"")),
            [
                "`profile.power.c_states`: this kernel has no limit for idle states of a CPU (CONFIG_PM); possible: \"all\""
            ]
        );
    }
    planned(&topology, "profile.power.c_states = \"all\"");
    topology.cpu_model.vendor = "CentaurHauls".to_owned();
    assert_eq!(
        refused(&topology, "profile.power.p_states = \"active\""),
        [
            "`profile.power.p_states`: there is no P-state driver for a CPU of `CentaurHauls`; possible: \"auto\""
        ]
    );
}
