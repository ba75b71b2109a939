use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn topology(sockets: u32, cores: u32, threads: u32, l3_cores: Option<u32>) -> Topology {
    Topology::new(CpuTopology {
        sockets,
        cores,
        threads,
        l3_cores,
    })
}

#[test]
fn ids_are_indices_where_counts_are_powers_of_two() {
    let ids: Vec<_> = (0..32)
        .map(|cpu| topology(2, 8, 2, Some(4)).apic_id(cpu))
        .collect();
    assert_eq!(ids, (0..32).collect::<Vec<_>>());
}

#[test]
fn ids_have_holes_where_they_are_not() {
    let ids = |topology: Topology| {
        (0..topology.cpus())
            .map(|cpu| topology.apic_id(cpu))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(topology(2, 3, 1, None)), [0, 1, 2, 4, 5, 6]);
    assert_eq!(
        ids(topology(1, 6, 2, Some(3))),
        [0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13]
    );
    assert_eq!(ids(topology(3, 1, 1, None)), [0, 1, 2]);
}

proptest! {
    #[test]
    fn ids_are_unique_and_say_who_shares_what(
        sockets in 1u32..5, caches in 1u32..5, cores in 1u32..10, threads in 1u32..3,
    ) {
        let t = topology(sockets, caches * cores, threads, Some(cores));
        prop_assert_eq!(t.cpus(), sockets * caches * cores * threads);
        let ids: BTreeSet<_> = (0..t.cpus()).map(|cpu| t.apic_id(cpu)).collect();
        prop_assert_eq!(u32::try_from(ids.len()).unwrap(), t.cpus());
        prop_assert_eq!(ids.last().copied(), Some(t.max_apic_id()));
        for (shift, cpus) in [
            (t.core_shift(), t.cpus_of_core()),
            (t.cache_shift(), t.cpus_of_cache()),
            (t.socket_shift(), t.cpus_of_socket()),
        ] {
            for cpu in 0..t.cpus() {
                prop_assert_eq!(
                    t.apic_id(cpu) >> shift == t.apic_id(0) >> shift,
                    cpu / cpus == 0,
                );
            }
        }
    }
}
