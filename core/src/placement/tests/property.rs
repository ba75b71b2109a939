//! Whatever VMs come and go.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn machines() -> impl Strategy<Value = Machine> {
    (
        1u32..=4,
        1u32..=8,
        1u32..=2,
        1u32..=2,
        1u32..=4,
        0u32..=2,
        0u64..=6,
    )
        .prop_map(|(nodes, caches, threads, host, cache, of_socket, gib)| Machine {
            nodes,
            cores: caches * cache,
            threads,
            cache,
            nodes_of_socket: of_socket.max(1),
            host: host.min(caches * cache),
            memory: 32,
            pages: (512, gib),
        })
}

fn wishes() -> impl Strategy<Value = Wish> {
    (
        any::<bool>(),
        1u32..=12,
        0u8..3,
        1u64..=6,
        0u8..3,
        any::<bool>(),
        prop::collection::vec(0u32..4, 0..2),
    )
        .prop_map(
            |(is_dedicated, cpus, threads, gib, pages, is_spread, nodes)| Wish {
                class: if is_dedicated {
                    VmClass::Dedicated
                } else {
                    VmClass::Shared
                },
                cpus,
                threads: [VmThreads::Auto, VmThreads::All, VmThreads::One][usize::from(threads)],
                memory: gib * GIB,
                hugepages: [None, Some(PageSize::TwoMiB), Some(PageSize::OneGiB)][usize::from(pages)],
                numa: if is_spread {
                    NumaPolicy::Spread
                } else {
                    NumaPolicy::Single
                },
                nodes,
            },
        )
}

#[derive(Debug, Clone)]
enum Step {
    Start(Wish),
    Stop(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => wishes().prop_map(Step::Start),
        1 => any::<prop::sample::Index>().prop_map(Step::Stop),
    ];
    prop::collection::vec(step, 1..24)
}

/// A placement is what was asked for, within its nodes.
fn is_right(supply: &Supply, wish: &Wish, placement: &Placement) {
    assert_eq!(placement.count(), usize::try_from(wish.cpus).unwrap());
    assert_eq!(
        placement.nodes.iter().map(|part| part.memory).sum::<u64>(),
        wish.memory
    );
    let numbers: Vec<u32> = placement
        .nodes
        .iter()
        .flat_map(|part| part.vcpus.iter())
        .collect();
    assert_eq!(numbers, (0..wish.cpus).collect::<Vec<_>>());
    assert!(wish.numa == NumaPolicy::Spread || placement.nodes.len() == 1);
    assert!(!placement.cpus.is_empty());
    for part in &placement.nodes {
        assert!(wish.nodes.is_empty() || wish.nodes.contains(&part.host_node));
        assert!(part.memory.is_multiple_of(placement.page_size) && part.memory >= LEAST_MEMORY);
        assert_eq!(part.distances.len(), placement.nodes.len());
    }
    if placement.class == VmClass::Shared {
        assert!(placement.reserved.is_empty() && placement.vcpus.is_empty());
        return;
    }
    let pins: CpuSet = placement.vcpus.iter().copied().collect();
    assert_eq!(pins.len(), placement.vcpus.len());
    assert!(pins.is_subset(&placement.reserved));
    assert!(placement.cpus.is_subset(&supply.host) && placement.cpus.intersection(&pins).is_empty());
    let topology = placement.topology.unwrap();
    assert_eq!(topology.sockets * topology.cores * topology.threads, wish.cpus);
    assert!(topology.cores.is_multiple_of(topology.l3_cores));
    for part in &placement.nodes {
        let node = supply.node(part.host_node).unwrap();
        let own: CpuSet = node.cores.iter().flat_map(|core| core.threads.iter()).collect();
        for vcpu in part.vcpus.iter() {
            assert!(own.contains(placement.vcpus[usize::try_from(vcpu).unwrap()]));
        }
    }
    caches_are_true(supply, placement);
}

/// vCPUs that the guest believes to share a core or a cache do.
fn caches_are_true(supply: &Supply, placement: &Placement) {
    let topology = placement.topology.unwrap();
    let core_of = |cpu: u32| {
        let cores = supply.nodes.iter().flat_map(|node| &node.cores);
        cores.clone().find(|core| core.threads.contains(cpu)).unwrap()
    };
    let chunks = |size: u32| placement.vcpus.chunks(usize::try_from(size).unwrap());
    for core in chunks(topology.threads) {
        assert!(core.iter().all(|cpu| core_of(*cpu) == core_of(core[0])));
    }
    for cache in chunks(topology.threads * topology.l3_cores) {
        assert!(
            cache
                .iter()
                .all(|cpu| core_of(*cpu).cache == core_of(cache[0]).cache)
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_given_twice_and_what_is_given_back_is_there(machine in machines(), steps in steps()) {
        let supply = machine.supply();
        let mut ledger = Ledger::default();
        let mut running: BTreeMap<String, Wish> = BTreeMap::new();
        for (index, step) in steps.into_iter().enumerate() {
            match step {
                Step::Start(wish) => match plan(&supply, &ledger, &wish) {
                    Ok(placement) => {
                        is_right(&supply, &wish, &placement);
                        assert_eq!(plan(&supply, &ledger, &wish).as_ref(), Ok(&placement));
                        assert!(holds(&supply, &ledger, &wish, &placement));
                        assert!(ledger.cpus().intersection(&placement.reserved).is_empty());
                        ledger.reserve(index.to_string(), placement);
                        running.insert(index.to_string(), wish);
                    }
                    Err(refused) => {
                        assert!(
                            !refused.shortages.is_empty() || refused.field != "numa",
                            "{wish:?}: {refused}"
                        );
                        for shortage in &refused.shortages {
                            assert!(shortage.available < shortage.wanted);
                        }
                    }
                },
                Step::Stop(which) if !running.is_empty() => {
                    let name = running.keys().nth(which.index(running.len())).unwrap().clone();
                    let before = Free::of(&supply, &ledger).iter().map(|f| f.cores.len()).sum::<usize>();
                    let placement = ledger.release(&name).unwrap();
                    let wish = running.remove(&name).unwrap();
                    assert!(holds(&supply, &ledger, &wish, &placement), "its place is free again");
                    let after = Free::of(&supply, &ledger).iter().map(|f| f.cores.len()).sum::<usize>();
                    assert!(after >= before);
                }
                Step::Stop(_) => {}
            }
            for node in &supply.nodes {
                assert!(ledger.memory(node.id, 4096) <= node.memory);
                for pool in &node.pools {
                    assert!(ledger.memory(node.id, pool.page_size) <= pool.total * pool.page_size);
                }
            }
        }
        let names: Vec<String> = ledger.iter().map(|(vm, _)| vm.to_owned()).collect();
        for name in names {
            ledger.release(&name);
        }
        let rested = supply.clone().at_rest();
        prop_assert_eq!(Free::of(&supply, &ledger), Free::of(&rested, &Ledger::default()));
    }

    /// What a refusal says to be possible is.
    #[test]
    fn what_is_possible_instead_is(machine in machines(), before in prop::collection::vec(wishes(), 0..6), wish in wishes()) {
        let supply = machine.supply();
        let mut ledger = Ledger::default();
        for (index, wish) in before.iter().enumerate() {
            if let Ok(placement) = plan(&supply, &ledger, wish) {
                ledger.reserve(index.to_string(), placement);
            }
        }
        let Err(refused) = plan(&supply, &ledger, &wish) else { return Ok(()) };
        if ["class", "hugepages", "nodes"].contains(&refused.field) {
            return Ok(());
        }
        for instead in &refused.instead {
            let (field, value) = instead.split_once(" = ").unwrap_or((instead, ""));
            let mut changed = wish.clone();
            match field {
                "cpus" => changed.cpus = value.parse().unwrap(),
                "memory" => {
                    let size: crate::quantity::ByteSize = value.trim_matches('"').parse().unwrap();
                    changed.memory = size.0;
                }
                "numa" => changed.numa = NumaPolicy::Spread,
                "any node" => changed.nodes.clear(),
                other => panic!("{other}"),
            }
            prop_assert!(plan(&supply, &ledger, &changed).is_ok(), "{wish:?}: {refused}");
        }
    }
}
