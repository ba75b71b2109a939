use std::fs;

use proptest::prelude::*;

use super::super::tests::config;
use super::*;

fn refused(change: impl FnOnce(&mut VmmConfig)) -> String {
    let mut config = numa();
    change(&mut config);
    check(&config).unwrap_err().to_string()
}

fn node(mib: u64, cpus: &str) -> GuestNode {
    GuestNode {
        size: mib << 20,
        cpus: cpus.parse().unwrap(),
        ..Default::default()
    }
}

/// Two nodes of two vCPUs.
fn numa() -> VmmConfig {
    let mut config = config();
    config.cpus = 4;
    config.memory.nodes = vec![node(64, "0-1"), node(64, "2-3")];
    config
}

fn topology(sockets: u32, cores: u32, threads: u32, l3_cores: Option<u32>) -> Option<CpuTopology> {
    Some(CpuTopology {
        sockets,
        cores,
        threads,
        l3_cores,
    })
}

#[test]
fn nodes_become_sockets_where_nothing_else_is_said() {
    let made = check(&numa()).unwrap();
    assert_eq!(
        (made.sockets(), made.cpus_of_socket(), made.cpus_of_core()),
        (2, 2, 1)
    );
    let made = check(&config()).unwrap();
    assert_eq!((made.sockets(), made.cpus_of_socket()), (1, 1));
    let mut far = numa();
    far.memory.size += 32 << 20;
    far.memory.nodes.push(node(32, ""));
    assert_eq!(check(&far).unwrap().sockets(), 2, "memory alone makes no socket");
    assert!(
        refused(|c| c.memory.nodes = vec![node(64, "0"), node(64, "1-3")]).starts_with("topology: nothing")
    );
    assert!(
        refused(|c| c.memory.nodes = vec![node(64, "0,2"), node(64, "1,3")]).starts_with("topology: nothing")
    );
}

#[test]
fn nodes_have_all_memory_and_each_vcpu_once() {
    assert_eq!(
        refused(|c| c.memory.nodes[1].size = 63 << 20),
        "memory.size: 134217728 is not allowed; the sum of the nodes' sizes, 133169152"
    );
    assert_eq!(
        refused(|c| c.memory.nodes[1].size = 31 << 20),
        "memory.nodes[1].size: 32505856 is not allowed; at least 33554432 bytes, and a multiple of the page size 4096"
    );
    assert!(refused(|c| c.memory.nodes[1].size = u64::MAX - 4095).ends_with("more than 64 bits"));
    let each = "is not allowed; vCPUs below 4, each in one node";
    assert_eq!(
        refused(|c| c.memory.nodes[1] = node(64, "1-3")),
        format!("memory.nodes[1].cpus: 1-3 {each}")
    );
    assert_eq!(
        refused(|c| c.memory.nodes[1] = node(64, "2-4")),
        format!("memory.nodes[1].cpus: 2-4 {each}")
    );
    assert_eq!(
        refused(|c| c.memory.nodes[1] = node(64, "3")),
        "memory.nodes: no node for vCPUs 2 is not allowed; each vCPU is in one node"
    );
}

#[test]
fn distances_are_those_of_a_slit() {
    for bad in [vec![10], vec![11, 10], vec![10, 10], vec![10, 20, 20]] {
        assert_eq!(
            refused(|c| c.memory.nodes[0].distances = bad.clone()),
            format!(
                "memory.nodes[0].distances: {bad:?} is not allowed; \
                 one for each of 2 nodes: 10 to itself, 11 to 255 to others"
            )
        );
    }
    let mut good = numa();
    good.memory.nodes[1].distances = vec![255, 10];
    check(&good).unwrap();
}

#[test]
fn topology_is_that_of_the_vcpus() {
    assert_eq!(
        refused(|c| c.topology = topology(2, 2, 2, None)),
        "topology: 2 sockets of 2 cores of 2 threads is not allowed; as many as cpus, 4"
    );
    assert!(refused(|c| c.topology = topology(0, 0, 1, None)).contains("as many as cpus"));
    assert!(refused(|c| c.topology = topology(u32::MAX, 2, 2, None)).contains("as many as cpus"));
    assert_eq!(
        refused(|c| c.topology = topology(1, 1, 4, None)),
        "topology.threads: 4 is not allowed; 1 or 2"
    );
    assert_eq!(
        refused(|c| c.topology = topology(1, 4, 1, Some(3))),
        "topology.l3_cores: 3 is not allowed; a divisor of topology.cores, 4"
    );
    assert_eq!(
        refused(|c| c.topology = topology(1, 4, 1, None)),
        "memory.nodes[0].cpus: 0-1 is not allowed; \
         vCPUs 0 to 3 share a level 3 cache by the topology, and have to share a node"
    );
    let mut good = numa();
    good.topology = topology(1, 4, 1, Some(2));
    check(&good).unwrap();
}

#[test]
fn vcpus_have_a_cpu_each_or_none() {
    assert_eq!(
        refused(|c| c.placement.vcpus = vec![1, 2]),
        "placement.vcpus: 2 CPUs is not allowed; one for each of 4 vCPUs, or none"
    );
    assert_eq!(
        refused(|c| c.placement.vcpus = vec![1, 2, 3, 2]),
        "placement.vcpus[3]: 2 is not allowed; a host CPU that no other vCPU has"
    );
    assert_eq!(
        refused(|c| c.placement.fifo_priority = Some(1)),
        "placement.fifo_priority: 1 is not allowed; placement.vcpus has to be given with it"
    );
    assert_eq!(
        refused(|c| c.placement.fifo_priority = Some(100)),
        "placement.fifo_priority: 100 is not allowed; 1 to 99"
    );
}

#[test]
fn dedicated_needs_hugepages_and_cpus() {
    assert_eq!(
        refused(|c| c.dedicated = true),
        "dedicated: true is not allowed; memory.hugepages has to be 2MiB or 1GiB"
    );
    assert_eq!(
        refused(|c| {
            c.dedicated = true;
            c.memory.hugepages = HugepageSize::TwoMiB;
        }),
        "dedicated: true is not allowed; placement.vcpus has to name a host CPU for each vCPU"
    );
}

#[test]
fn host_has_the_cpus_where_the_memory_is() {
    let sys = tempfile::tempdir().unwrap();
    for (file, text) in [
        ("cpu/online", "0-7"),
        ("node/node0/cpulist", "0-3"),
        ("node/node1/cpulist", "4-7"),
    ] {
        let path = sys.path().join("devices/system").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let host = HostNodes::new(sys.path());
    let mut config = numa();
    config.placement.vcpus = vec![1, 2, 6, 8];
    let refused = |config: &VmmConfig| check_host(config, &host).unwrap_err().to_string();
    assert_eq!(
        refused(&config),
        "placement.vcpus[3]: 8 is not allowed; this host's CPUs are 0-7"
    );
    config.placement.vcpus[3] = 3;
    config.memory.nodes[1].host_node = Some(1);
    check_host(&config, &host).unwrap();
    config.dedicated = true;
    assert_eq!(
        refused(&config),
        "placement.vcpus[3]: 3 is not allowed; a dedicated machine's vCPUs run where their memory is: \
         vCPU 3 is of guest node 1 on host node 1, whose CPUs are 4-7"
    );
    config.placement.vcpus[3] = 7;
    check_host(&config, &host).unwrap();
    config.placement.housekeeping = "0,9".parse().unwrap();
    assert_eq!(
        refused(&config),
        "placement.housekeeping: 0,9 is not allowed; this host's CPUs are 0-7"
    );
}

proptest! {
    #[test]
    fn any_topology_is_accepted_or_refused(
        cpus in 1u32..64, sockets in 0u32..5, cores in 0u32..20, threads in 0u32..4, l3 in prop::option::of(0u32..9),
    ) {
        let mut config = config();
        config.cpus = cpus;
        config.topology = topology(sockets, cores, threads, l3);
        if let Ok(made) = check(&config) {
            prop_assert_eq!(made.cpus(), cpus);
            prop_assert!(made.max_apic_id() >= cpus - 1);
        }
    }
}
