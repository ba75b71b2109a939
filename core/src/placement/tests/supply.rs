use super::*;
use crate::profile::Plan;

fn division(topology: &Topology, plan: Option<(&str, &str)>) -> [String; 3] {
    let plan = plan.map(|(housekeeping, isolated)| Plan {
        housekeeping: housekeeping.parse().unwrap(),
        isolated: isolated.parse().unwrap(),
        ..Plan::default()
    });
    let Division {
        host,
        shared,
        dedicated,
    } = Division::of(topology, plan.as_ref());
    [host, shared, dedicated].map(|cpus| cpus.to_string())
}

#[test]
fn the_kernel_decides_what_is_isolated() {
    let fenced = MACHINE.topology();
    let open = Machine { host: 8, ..MACHINE }.topology();
    for (topology, plan, expected) in [
        // hpc, in force.
        (&fenced, Some(("0,8", "1-7,9-15")), ["0,8", "0,8", "1-7,9-15"]),
        // hpc, and the kernel was not started again; or balanced.
        (&open, Some(("0,8", "1-7,9-15")), ["0,8", "1-7,9-15", ""]),
        // Off, on a machine whose operator isolates by hand.
        (&fenced, Some(("", "")), ["0,8", "0,8", "1-7,9-15"]),
        (&fenced, None, ["0,8", "0,8", "1-7,9-15"]),
        // Off.
        (&open, None, ["0-15", "0-15", ""]),
        // A machine that is not divided.
        (&open, Some(("0-15", "")), ["0-15", "0-15", ""]),
        // CPUs that are neither the host's nor the workloads'.
        (&fenced, Some(("0", "1-7,9-15")), ["0", "0", "1-7,9-15"]),
    ] {
        assert_eq!(division(topology, plan), expected, "{plan:?}");
    }
}

#[test]
fn half_a_core_is_none_and_an_offline_thread_does_not_count() {
    let smt = Machine {
        threads: 2,
        ..MACHINE
    };
    let mut topology = smt.topology();
    topology.cpus[17].isolated = false;
    topology.cpus[18].online = false;
    let supply = Supply::new(&topology, &Division::of(&topology, None));
    let threads: Vec<String> = supply.nodes[0]
        .cores
        .iter()
        .map(|core| core.threads.to_string())
        .collect();
    assert_eq!(threads, ["2", "3,19", "4,20", "5,21", "6,22", "7,23"]);
    assert_eq!(supply.nodes[0].host.to_string(), "0,16-17");
}

#[test]
fn hugepages_and_the_host_come_off_ordinary_memory() {
    let supply = MACHINE.supply();
    // 32 GiB, less 2 GiB and 8 GiB of hugepages, a 64th, and what the host keeps on a node.
    assert_eq!(supply.nodes[0].memory, (32 - 10) * GIB - 512 * MIB - 512 * MIB);
    assert_eq!(supply.nodes[1].memory, (32 - 10) * GIB - 512 * MIB - 256 * MIB);
}

#[test]
fn pages_that_somebody_else_has_are_not_free() {
    let mut topology = MACHINE.topology();
    topology.nodes[0].hugepages[1].free = 3;
    let supply = Supply::new(&topology, &Division::of(&topology, None));
    let free = Free::of(&supply, &Ledger::default());
    assert_eq!(free[0].pools, [(2 * MIB, 1024), (GIB, 3)]);
    let rested = supply.clone().at_rest();
    assert_eq!(
        Free::of(&rested, &Ledger::default())[0].pools,
        [(2 * MIB, 1024), (GIB, 8)]
    );
    // A VM that runs has its pages already; one that is to start does not.
    let on_0 = Wish {
        nodes: vec![0],
        ..dedicated(1, 2)
    };
    let (ledger, _) = placed(&supply, &[on_0]);
    assert_eq!(Free::of(&supply, &ledger)[0].pools[1], (GIB, 3));
}

#[test]
fn what_the_cache_of_zfs_may_take_is_not_promised() {
    const STATISTICS: &str =
        "proc/spl/kstat/zfs/arcstats = 9 1 0x01\\nname type data\\nc_min 4 1\\nc_max 4 4096";
    let unused = crate::fixture::root(STATISTICS);
    assert_eq!(super::super::cache_limit(unused.path()), 0);
    let used = crate::fixture::root(&format!("{STATISTICS}\nproc/spl/kstat/zfs/tank/state = ONLINE"));
    assert_eq!(super::super::cache_limit(used.path()), 4096);
    let node = |id, memory| {
        let mut node = Node::default();
        (node.id, node.memory) = (id, memory);
        node
    };
    let supply = Supply {
        nodes: vec![node(0, 6 << 30), node(1, 2 << 30), node(2, 0)],
        ..Supply::default()
    };
    let left: Vec<u64> = supply
        .clone()
        .with_cache(4 << 30)
        .nodes
        .iter()
        .map(|node| node.memory)
        .collect();
    assert_eq!(left, [3 << 30, 1 << 30, 0]);
    assert!(
        supply
            .with_cache(u64::MAX)
            .nodes
            .iter()
            .all(|node| node.memory == 0)
    );
}
