//! Validation of NUMA nodes, CPU topology, placement and the dedicated class.

use axion_api::vm::HugepageSize;
use axion_api::vmm::{CpuTopology, GuestNode, VmmConfig};
use axion_core::topology::CpuSet;

use super::{ConfigError, value};
use crate::arch::layout;
use crate::arch::topology::Topology;
use crate::memory::{HostNodes, page_size};
use crate::numa::{LOCAL, MAX_NODES};

/// Checks what can be checked without looking at the host; says what CPUs the guest is to see.
pub(super) fn check(config: &VmmConfig) -> Result<Topology, ConfigError> {
    check_nodes(config)?;
    let wanted = match config.topology {
        Some(topology) => check_topology(config.cpus, topology)?,
        None => default_topology(config)?,
    };
    let topology = Topology::new(wanted);
    check_caches(&config.memory.nodes, &topology)?;
    check_placement(config)?;
    Ok(topology)
}

/// Checks what depends on the host's CPUs and nodes.
pub(super) fn check_host(config: &VmmConfig, host: &HostNodes) -> Result<(), ConfigError> {
    let online = host.online_cpus();
    let allowed = || format!("this host's CPUs are {online}");
    let placement = &config.placement;
    for (vcpu, cpu) in placement.vcpus.iter().enumerate() {
        if !online.contains(*cpu) {
            return Err(value(format!("placement.vcpus[{vcpu}]"), cpu, allowed()));
        }
    }
    if placement.housekeeping.iter().any(|cpu| !online.contains(cpu)) {
        return Err(value(
            "placement.housekeeping",
            &placement.housekeeping,
            allowed(),
        ));
    }
    if !config.dedicated {
        return Ok(());
    }
    for (index, node) in config.memory.nodes.iter().enumerate() {
        let Some(host_node) = node.host_node else { continue };
        let local = host.cpus(host_node);
        for (vcpu, cpu) in (0..).zip(&placement.vcpus) {
            if node.cpus.contains(vcpu) && !local.contains(*cpu) {
                let allowed = format!(
                    "a dedicated machine's vCPUs run where their memory is: \
                     vCPU {vcpu} is of guest node {index} on host node {host_node}, whose CPUs are {local}"
                );
                return Err(value(format!("placement.vcpus[{vcpu}]"), cpu, allowed));
            }
        }
    }
    Ok(())
}

fn check_nodes(config: &VmmConfig) -> Result<(), ConfigError> {
    let memory = &config.memory;
    if memory.nodes.is_empty() {
        return Ok(());
    }
    if memory.nodes.len() > MAX_NODES {
        let count = format!("{} nodes", memory.nodes.len());
        return Err(value("memory.nodes", &count, format!("at most {MAX_NODES}")));
    }
    let page = page_size(memory.hugepages);
    let mut seen = CpuSet::default();
    for (index, node) in memory.nodes.iter().enumerate() {
        let field = |name: &str| format!("memory.nodes[{index}].{name}");
        if node.size < layout::MIN_MEMORY || !node.size.is_multiple_of(page) {
            let least = layout::MIN_MEMORY;
            let allowed = format!("at least {least} bytes, and a multiple of the page size {page}");
            return Err(value(field("size"), &node.size, allowed));
        }
        if node
            .cpus
            .iter()
            .any(|cpu| cpu >= config.cpus || seen.contains(cpu))
        {
            let allowed = format!("vCPUs below {}, each in one node", config.cpus);
            return Err(value(field("cpus"), &node.cpus, allowed));
        }
        seen = seen.iter().chain(node.cpus.iter()).collect();
        if !node.distances.is_empty() && !are_distances(&node.distances, index, memory.nodes.len()) {
            let allowed = format!(
                "one for each of {} nodes: {LOCAL} to itself, {} to 255 to others",
                memory.nodes.len(),
                LOCAL + 1
            );
            return Err(value(
                field("distances"),
                &format!("{:?}", node.distances),
                allowed,
            ));
        }
    }
    let missing: CpuSet = (0..config.cpus).filter(|cpu| !seen.contains(*cpu)).collect();
    if !missing.is_empty() {
        let what = format!("no node for vCPUs {missing}");
        return Err(value("memory.nodes", &what, "each vCPU is in one node"));
    }
    let sum = memory
        .nodes
        .iter()
        .try_fold(0u64, |sum, node| sum.checked_add(node.size));
    if sum != Some(memory.size) {
        let sum = sum.map_or_else(|| "more than 64 bits".to_owned(), |sum| sum.to_string());
        return Err(value(
            "memory.size",
            &memory.size,
            format!("the sum of the nodes' sizes, {sum}"),
        ));
    }
    Ok(())
}

fn are_distances(distances: &[u8], own: usize, nodes: usize) -> bool {
    let fits = |(to, distance): (usize, &u8)| {
        if to == own {
            *distance == LOCAL
        } else {
            *distance > LOCAL
        }
    };
    distances.len() == nodes && distances.iter().enumerate().all(fits)
}

fn check_topology(cpus: u32, topology: CpuTopology) -> Result<CpuTopology, ConfigError> {
    let CpuTopology {
        sockets,
        cores,
        threads,
        l3_cores,
    } = topology;
    if !(1..=2).contains(&threads) {
        return Err(value("topology.threads", &threads, "1 or 2"));
    }
    let product = sockets
        .checked_mul(cores)
        .and_then(|cores| cores.checked_mul(threads));
    if product != Some(cpus) {
        let what = format!("{sockets} sockets of {cores} cores of {threads} threads");
        return Err(value("topology", &what, format!("as many as cpus, {cpus}")));
    }
    if let Some(l3_cores) = l3_cores.filter(|l3| *l3 == 0 || !cores.is_multiple_of(*l3)) {
        let allowed = format!("a divisor of topology.cores, {cores}");
        return Err(value("topology.l3_cores", &l3_cores, allowed));
    }
    Ok(topology)
}

/// One socket for each node, of one-threaded cores.
fn default_topology(config: &VmmConfig) -> Result<CpuTopology, ConfigError> {
    let nodes = &config.memory.nodes;
    let populated: Vec<_> = nodes.iter().filter(|node| !node.cpus.is_empty()).collect();
    let sockets = u32::try_from(populated.len()).unwrap_or(u32::MAX).max(1);
    let cores = config.cpus / sockets;
    let fits = |(socket, node): (u32, &&GuestNode)| {
        node.cpus
            .iter()
            .eq(socket * cores..socket.saturating_add(1).saturating_mul(cores))
    };
    if !(0..).zip(&populated).all(fits) {
        let allowed = "sockets, cores and threads, unless every node has the same number of vCPUs in order";
        return Err(value("topology", &"nothing", allowed));
    }
    Ok(CpuTopology {
        sockets,
        cores,
        threads: 1,
        l3_cores: None,
    })
}

/// A cache is in one node: operating systems take what shares one for near.
fn check_caches(nodes: &[GuestNode], topology: &Topology) -> Result<(), ConfigError> {
    let shared = topology.cpus_of_cache();
    for (index, node) in nodes.iter().enumerate() {
        let split = |cpu: u32| {
            let first = cpu / shared * shared;
            (first..first + shared).any(|other| !node.cpus.contains(other))
        };
        if let Some(cpu) = node.cpus.iter().find(|cpu| split(*cpu)) {
            let first = cpu / shared * shared;
            let allowed = format!(
                "vCPUs {first} to {} share a level 3 cache by the topology, and have to share a node",
                first + shared - 1
            );
            return Err(value(format!("memory.nodes[{index}].cpus"), &node.cpus, allowed));
        }
    }
    Ok(())
}

fn check_placement(config: &VmmConfig) -> Result<(), ConfigError> {
    let placement = &config.placement;
    let pinned = u32::try_from(placement.vcpus.len()).unwrap_or(u32::MAX);
    if pinned != 0 && pinned != config.cpus {
        let count = format!("{pinned} CPUs");
        return Err(value(
            "placement.vcpus",
            &count,
            format!("one for each of {} vCPUs, or none", config.cpus),
        ));
    }
    let mut taken = std::collections::BTreeSet::new();
    for (vcpu, cpu) in placement.vcpus.iter().enumerate() {
        if !taken.insert(cpu) {
            let allowed = "a host CPU that no other vCPU has";
            return Err(value(format!("placement.vcpus[{vcpu}]"), cpu, allowed));
        }
    }
    if let Some(priority) = placement.fifo_priority {
        if !(1..=99).contains(&priority) {
            return Err(value("placement.fifo_priority", &priority, "1 to 99"));
        }
        if pinned == 0 {
            let allowed = "placement.vcpus has to be given with it";
            return Err(value("placement.fifo_priority", &priority, allowed));
        }
    }
    if config.dedicated && config.memory.hugepages == HugepageSize::None {
        return Err(value(
            "dedicated",
            &true,
            "memory.hugepages has to be 2MiB or 1GiB",
        ));
    }
    if config.dedicated && pinned == 0 {
        return Err(value(
            "dedicated",
            &true,
            "placement.vcpus has to name a host CPU for each vCPU",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
