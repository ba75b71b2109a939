use super::*;

#[track_caller]
fn check(machine: Machine, wishes: &[Wish], expected: &[&str]) {
    let (_, placements) = placed(&machine.supply(), wishes);
    let told: Vec<String> = placements.iter().map(told).collect();
    assert_eq!(told, expected);
}

#[test]
fn vcpus_are_pinned_to_cores_of_one_cache_of_one_node() {
    // The first cache of a node has three cores for VMs, the second four.
    check(
        MACHINE,
        &[dedicated(3, 1), dedicated(4, 1), dedicated(4, 2)],
        &[
            "1,2,3 | 0:0-2@1024MiB | 1x3x1 l3 3",
            "4,5,6,7 | 0:0-3@1024MiB | 1x4x1 l3 4",
            "12,13,14,15 | 1:0-3@2048MiB | 1x4x1 l3 4",
        ],
    );
}

#[test]
fn small_vms_fill_what_is_begun() {
    check(
        MACHINE,
        &[dedicated(5, 1), dedicated(2, 1), dedicated(7, 1)],
        &[
            "1,4,5,6,7 | 0:0-4@1024MiB | 1x5x1 l3 1",
            "2,3 | 0:0-1@1024MiB | 1x2x1 l3 2",
            "9,10,11,12,13,14,15 | 1:0-6@1024MiB | 1x7x1 l3 1",
        ],
    );
}

#[test]
fn threads_of_a_core_go_together() {
    let smt = Machine {
        threads: 2,
        ..MACHINE
    };
    let one = Wish {
        threads: VmThreads::One,
        ..dedicated(2, 1)
    };
    check(
        smt,
        &[dedicated(4, 1), dedicated(3, 1), one],
        &[
            // The guest's siblings are the host's.
            "1,17,2,18 | 0:0-3@1024MiB | 1x2x2 l3 2",
            // Three do not fill cores: each has one to itself, and a fourth, odd one is left.
            "4,5,6 | 0:0-2@1024MiB | 1x3x1 l3 3",
            "3,7 | 0:0-1@1024MiB | 1x2x1 l3 1",
        ],
    );
    let (ledger, _) = placed(&smt.supply(), &[dedicated(4, 1), dedicated(3, 1)]);
    assert_eq!(
        ledger.cpus().to_string(),
        "1-2,4-6,17-18,20-22",
        "idle siblings too"
    );
}

#[test]
fn a_vm_is_spread_only_where_it_may_and_must() {
    check(
        MACHINE,
        &[
            spread(dedicated(8, 4)),
            spread(dedicated(3, 2)),
            spread(dedicated(3, 2)),
        ],
        &[
            "4,5,6,7,12,13,14,15 | 0:0-3@2048MiB 1:4-7@2048MiB | 2x4x1 l3 4",
            "1,2,3 | 0:0-2@2048MiB | 1x3x1 l3 3",
            "9,10,11 | 1:0-2@2048MiB | 1x3x1 l3 3",
        ],
    );
    // Parts of several caches: what is common to all is what the guest sees.
    check(
        MACHINE,
        &[spread(dedicated(10, 2))],
        &["1,4,5,6,7,9,12,13,14,15 | 0:0-4@1024MiB 1:5-9@1024MiB | 2x5x1 l3 1"],
    );
}

#[test]
fn distances_are_the_hosts() {
    let machine = Machine {
        nodes: 4,
        nodes_of_socket: 2,
        ..MACHINE
    };
    let (_, placements) = placed(&machine.supply(), &[dedicated(4, 8), spread(dedicated(8, 16))]);
    let [_, far] = placements.as_slice() else {
        panic!();
    };
    // Node 0 is full; nodes 2 and 3 are of one socket.
    assert_eq!(
        told(far),
        "20,21,22,23,28,29,30,31 | 2:0-3@8192MiB 3:4-7@8192MiB | 1x8x1 l3 4"
    );
    let distances: Vec<&[u8]> = far.nodes.iter().map(|part| part.distances.as_slice()).collect();
    assert_eq!(distances, [[10, 12], [12, 10]]);
}

#[test]
fn device_threads_are_the_hosts() {
    let (_, placements) = placed(&MACHINE.supply(), &[dedicated(2, 1), spread(dedicated(8, 2))]);
    let cpus: Vec<String> = placements.iter().map(|p| p.cpus.to_string()).collect();
    assert_eq!(cpus, ["0", "0,8"]);
    // A node without a CPU of the host.
    let mut topology = Machine { nodes: 1, ..MACHINE }.topology();
    topology.nodes.push(crate::topology::NumaNode {
        id: 1,
        cpus: "8-9".parse().unwrap(),
        hugepages: topology.nodes[0].hugepages.clone(),
        ..Default::default()
    });
    for id in [8, 9] {
        topology.cpus.push(Cpu {
            id,
            node: 1,
            llc: "8-9".parse().unwrap(),
            siblings: CpuSet::from_iter([id]),
            ..topology.cpus[7].clone()
        });
    }
    let supply = Supply::new(&topology, &Division::of(&topology, None));
    let on_1 = Wish {
        nodes: vec![1],
        ..dedicated(2, 1)
    };
    let placement = plan(&supply, &Ledger::default(), &on_1).unwrap();
    assert_eq!(
        (placement.vcpus, placement.cpus.to_string()),
        (vec![8, 9], "0".to_owned())
    );
}

#[test]
fn shared_vms_go_where_the_cpus_are_least_in_use() {
    let machine = Machine { host: 4, ..MACHINE };
    let supply = machine.supply();
    let (ledger, placements) = placed(&supply, &[shared(2, 1), shared(4, 1), shared(2, 1), shared(1, 1)]);
    let nodes: Vec<u32> = placements.iter().map(|p| p.nodes[0].host_node).collect();
    assert_eq!(nodes, [0, 1, 0, 0]);
    assert_eq!(placements[1].cpus.to_string(), "8-11");
    assert!(
        placements
            .iter()
            .all(|p| p.vcpus.is_empty() && p.reserved.is_empty())
    );
    assert_eq!(placements[1].topology, None);
    assert_eq!((ledger.shared_vcpus(0), ledger.memory(0, 4096)), (5, 3 * GIB));
    // Dedicated cores are not touched by them.
    assert!(plan(&supply, &ledger, &dedicated(4, 8)).is_ok());
}

#[test]
fn a_shared_vm_that_is_spread_has_its_memory_counted_on_each_node() {
    let machine = Machine { host: 4, ..MACHINE };
    let (ledger, placements) = placed(&machine.supply(), &[spread(shared(5, 28))]);
    assert_eq!(
        told(&placements[0]),
        " | 0:0-2@14336MiB 1:3-4@14336MiB | 1x5x1 l3 1"
    );
    assert_eq!(placements[0].cpus.to_string(), "0-3,8-11");
    assert_eq!(placements[0].nodes[0].distances, [10, 11]);
    assert_eq!(ledger.memory(1, 4096), 14 * GIB);
}

#[test]
fn what_runs_stays_where_it_is_unless_the_machine_is_another_one() {
    let supply = MACHINE.supply();
    let wish = dedicated(4, 2);
    let placement = plan(&supply, &Ledger::default(), &wish).unwrap();
    let mut ledger = Ledger::default();
    assert!(holds(&supply, &ledger, &wish, &placement));
    for other in [
        dedicated(3, 2),
        dedicated(4, 1),
        shared(4, 2),
        Wish {
            hugepages: Some(PageSize::TwoMiB),
            ..wish.clone()
        },
    ] {
        assert!(!holds(&supply, &ledger, &other, &placement), "{other:?}");
    }
    let without = |change: fn(&mut Topology)| {
        let mut topology = MACHINE.topology();
        change(&mut topology);
        Supply::new(&topology, &Division::of(&topology, None))
    };
    let not_isolated = without(|topology| topology.cpus[4].isolated = false);
    assert!(!holds(&not_isolated, &ledger, &wish, &placement));
    let no_pages = without(|topology| topology.nodes[0].hugepages[1].total = 1);
    assert!(!holds(&no_pages, &ledger, &wish, &placement));
    let no_node = without(|topology| topology.nodes.clear());
    assert!(!holds(&no_node, &ledger, &wish, &placement));
    ledger.reserve("other", placement.clone());
    assert!(!holds(&supply, &ledger, &wish, &placement));
    ledger.release("other").unwrap();
    assert!(holds(&supply, &ledger, &wish, &placement));
}
