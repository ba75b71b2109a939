use super::*;

fn refused(supply: &Supply, ledger: &Ledger, wish: &Wish) -> (String, &'static str) {
    let refused = plan(supply, ledger, wish).unwrap_err();
    (refused.to_string(), refused.field)
}

#[test]
fn what_is_missing_is_said_for_each_node() {
    let supply = MACHINE.supply();
    let (ledger, _) = placed(&supply, &[dedicated(4, 6), dedicated(6, 4)]);
    let none = Ledger::default();
    let two_mib = Wish {
        hugepages: Some(PageSize::TwoMiB),
        ..dedicated(2, 3)
    };
    for (ledger, wish, field, text) in [
        (
            &none,
            dedicated(8, 1),
            "cpus",
            "no node has room for the VM: node 0: isolated cores: 8 wanted, 7 free of 7; node 1: isolated cores: 8 \
             wanted, 7 free of 7; possible: cpus = 7",
        ),
        (
            &none,
            dedicated(8, 2),
            "cpus",
            "no node has room for the VM: node 0: isolated cores: 8 wanted, 7 free of 7; node 1: isolated cores: 8 \
             wanted, 7 free of 7; possible: cpus = 7 or numa = \"spread\"",
        ),
        (
            &none,
            dedicated(2, 9),
            "memory",
            "no node has room for the VM: node 0: pages of 1GiB: 9 wanted, 8 free of 8; node 1: pages of 1GiB: 9 \
             wanted, 8 free of 8; possible: memory = \"8GiB\"",
        ),
        (
            &ledger,
            dedicated(2, 5),
            "memory",
            "no node has room for the VM: node 0: pages of 1GiB: 5 wanted, 2 free of 8; node 1: isolated cores: 2 \
             wanted, 1 free of 7; node 1: pages of 1GiB: 5 wanted, 4 free of 8; possible: memory = \"2GiB\"",
        ),
        (
            &none,
            two_mib,
            "memory",
            "no node has room for the VM: node 0: pages of 2MiB: 1536 wanted, 1024 free of 1024; node 1: pages of \
             2MiB: 1536 wanted, 1024 free of 1024; possible: memory = \"2GiB\" or numa = \"spread\"",
        ),
        (
            &none,
            spread(dedicated(16, 2)),
            "cpus",
            "no 2 nodes have room for an equal part of the VM each: node 0: isolated cores: 8 wanted, 7 free of 7; \
             node 1: isolated cores: 8 wanted, 7 free of 7; possible: cpus = 14",
        ),
        (
            &none,
            shared(2, 1),
            "cpus",
            "no node has room for the VM: node 0: CPUs for shared VMs: 2 wanted, there are 1; node 1: CPUs for \
             shared VMs: 2 wanted, there are 1; possible: cpus = 1 or numa = \"spread\"",
        ),
        (
            &none,
            shared(1, 40),
            "memory",
            "no node has room for the VM: node 0: memory: 40GiB wanted, 21GiB free of 21GiB; node 1: memory: 40GiB \
             wanted, 21760MiB free of 21760MiB; possible: memory = \"21760MiB\" or numa = \"spread\"",
        ),
        (
            &none,
            Wish {
                nodes: vec![1],
                ..dedicated(8, 2)
            },
            "cpus",
            "no node has room for the VM: node 1: isolated cores: 8 wanted, 7 free of 7; possible: cpus = 7",
        ),
    ] {
        assert_eq!(
            refused(&supply, ledger, &wish),
            (text.to_owned(), field),
            "{wish:?}"
        );
    }
}

#[test]
fn each_lack_is_there_for_programs() {
    let supply = MACHINE.supply();
    let refused = plan(&supply, &Ledger::default(), &dedicated(8, 9)).unwrap_err();
    assert_eq!(
        refused.shortages[1],
        Shortage {
            node: 0,
            resource: Resource::Hugepages(PageSize::OneGiB),
            wanted: 9,
            available: 8,
            total: 8,
            nearest: 8 * GIB,
        }
    );
    let refusals: Vec<(String, Option<String>)> = refused
        .refusals()
        .into_iter()
        .map(|refusal| (refusal.key, refusal.nearest))
        .collect();
    let of_a_node = [
        ("cpus".to_owned(), Some("cpus = 7".to_owned())),
        ("memory".to_owned(), Some("memory = \"8GiB\"".to_owned())),
    ];
    assert_eq!(refusals, [of_a_node.clone(), of_a_node].concat());
}

#[test]
fn what_cannot_be_on_any_machine_of_the_kind() {
    let supply = MACHINE.supply();
    let smt = Machine {
        threads: 2,
        ..MACHINE
    }
    .supply();
    let none_isolated = Machine { host: 8, ..MACHINE }.supply();
    let all = Wish {
        threads: VmThreads::All,
        ..dedicated(3, 1)
    };
    for (supply, wish, field, text) in [
        (&supply, dedicated(0, 1), "cpus", "at least 1 vCPU"),
        (
            &supply,
            Wish {
                memory: GIB + MIB,
                ..dedicated(1, 1)
            },
            "memory",
            "1025MiB; it must be a multiple of 1GiB",
        ),
        (
            &supply,
            Wish {
                memory: 16 * MIB,
                ..shared(1, 1)
            },
            "memory",
            "16MiB; at least 32MiB are needed",
        ),
        (
            &supply,
            Wish {
                hugepages: None,
                ..dedicated(1, 1)
            },
            "hugepages",
            "possible: hugepages = \"2MiB\"",
        ),
        (
            &supply,
            Wish {
                nodes: vec![0, 7],
                ..dedicated(1, 1)
            },
            "nodes",
            "node 7 does not exist; there are 0-1",
        ),
        (
            &none_isolated,
            dedicated(1, 1),
            "class",
            "`profile.mode = \"hpc\"` in the machine config isolates cores",
        ),
        (
            &smt,
            all,
            "threads",
            "a core has 2 threads: 3 vCPUs on a node do not fill cores; possible: cpus = 2",
        ),
        (&supply, spread(dedicated(9, 2)), "cpus", "possible: cpus = 8"),
    ] {
        let (said, of) = refused(supply, &Ledger::default(), &wish);
        assert!(said.contains(text), "{said}");
        assert_eq!(of, field, "{said}");
    }
    let nothing = Supply::default();
    let (said, _) = refused(&nothing, &Ledger::default(), &shared(1, 1));
    assert_eq!(said, "the machine shows no node");
}
