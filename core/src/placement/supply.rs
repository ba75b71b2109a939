//! What a machine has for VMs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::profile::{Plan, reserve};
use crate::topology::{CpuSet, Hugepages, Topology, read};

/// Distance to a node that the firmware says nothing of (ACPI 6.5 §5.2.17).
const REMOTE: u32 = 20;
/// Distance of a node to itself.
const LOCAL: u32 = 10;

/// Which CPUs are for what, as the boot profile divides them and the kernel has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Division {
    /// CPUs that the host keeps; device threads of dedicated VMs run there.
    pub host: CpuSet,
    /// CPUs of shared VMs.
    pub shared: CpuSet,
    /// CPUs of dedicated VMs: those that the kernel's scheduler leaves alone.
    pub dedicated: CpuSet,
}

impl Division {
    /// The division of a machine whose boot profile is `plan`. What a plan isolates by a partition alone (`balanced`) is
    /// for shared VMs: the kernel spreads them over it. Where CPUs are out of scheduling (`hpc`, or `isolcpus` on the
    /// operator's own command line), nothing that is not pinned is put there, and shared VMs are with the host.
    pub fn of(topology: &Topology, plan: Option<&Plan>) -> Self {
        let online: CpuSet = topology.cpus.iter().filter(|c| c.online).map(|c| c.id).collect();
        let fenced: CpuSet = topology
            .cpus
            .iter()
            .filter(|cpu| cpu.online && cpu.isolated)
            .map(|cpu| cpu.id)
            .collect();
        let planned = |of: fn(&Plan) -> &CpuSet| {
            let cpus = plan.map(|plan| of(plan).intersection(&online));
            cpus.unwrap_or_default()
        };
        let (kept, given) = (planned(|plan| &plan.housekeeping), planned(|plan| &plan.isolated));
        let host = match kept.difference(&fenced) {
            kept if !kept.is_empty() => kept,
            _ => online.difference(&fenced),
        };
        let host = if host.is_empty() { online } else { host };
        let dedicated = fenced.difference(&host);
        let given = given.difference(&dedicated);
        let shared = if dedicated.is_empty() && !given.is_empty() {
            given
        } else {
            host.clone()
        };
        Self {
            host,
            shared,
            dedicated,
        }
    }
}

/// A core of dedicated VMs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Core {
    /// Its threads that are online.
    pub threads: CpuSet,
    /// Physical package.
    pub socket: u32,
    /// Its last-level cache, by the lowest CPU that shares it.
    pub cache: u32,
}

/// A NUMA node for VMs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    /// Linux number.
    pub id: u32,
    /// CPUs of shared VMs.
    pub shared: CpuSet,
    /// CPUs that the host keeps.
    pub host: CpuSet,
    /// Cores of dedicated VMs, by lowest thread.
    pub cores: Vec<Core>,
    /// Memory in ordinary pages that VMs can have in all, bytes.
    pub memory: u64,
    /// Pools of hugepages, as the kernel has them now.
    pub pools: Vec<Hugepages>,
    /// Distance to each node, by its number.
    distances: BTreeMap<u32, u32>,
}

impl Node {
    /// Distance to another node, 10 to itself.
    pub fn distance(&self, other: u32) -> u32 {
        let default = if other == self.id { LOCAL } else { REMOTE };
        self.distances.get(&other).copied().unwrap_or(default)
    }

    /// The pool of pages of so many bytes.
    pub fn pool(&self, page_size: u64) -> Option<&Hugepages> {
        self.pools.iter().find(|pool| pool.page_size == page_size)
    }
}

/// What a machine has for VMs, whoever has it now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Supply {
    /// Its nodes, by number.
    pub nodes: Vec<Node>,
    /// CPUs that the host keeps, of all nodes.
    pub host: CpuSet,
}

impl Supply {
    /// What `topology` has, divided by `division`. Ordinary memory is what hugepages and the host leave; what ZFS's
    /// cache may take of it is [`Supply::with_cache`]'s.
    pub fn new(topology: &Topology, division: &Division) -> Self {
        let ids: Vec<u32> = topology.nodes.iter().map(|node| node.id).collect();
        let nodes = topology.nodes.iter().map(|node| {
            let pools = node.hugepages.iter();
            let pooled = pools.fold(0u64, |sum, pool| {
                sum.saturating_add(pool.page_size.saturating_mul(pool.total))
            });
            let kept = pooled.saturating_add(reserve(topology, node));
            Node {
                id: node.id,
                shared: division.shared.intersection(&node.cpus),
                host: division.host.intersection(&node.cpus),
                cores: cores(topology, node.id, &division.dedicated),
                memory: node.memory_total.saturating_sub(kept),
                pools: node.hugepages.clone(),
                distances: ids.iter().copied().zip(node.distances.iter().copied()).collect(),
            }
        });
        Self {
            nodes: nodes.collect(),
            host: division.host.clone(),
        }
    }

    /// The same machine while ZFS's cache may take so many bytes: each node gives the part of its ordinary memory.
    #[must_use]
    pub fn with_cache(mut self, cache: u64) -> Self {
        let all = self
            .nodes
            .iter()
            .fold(0u64, |sum, node| sum.saturating_add(node.memory));
        for node in &mut self.nodes {
            let part = u128::from(cache) * u128::from(node.memory) / u128::from(all.max(1));
            let part = u64::try_from(part).unwrap_or(u64::MAX);
            node.memory = node.memory.saturating_sub(part);
        }
        self
    }

    /// The same machine when nobody has anything.
    #[must_use]
    pub fn at_rest(mut self) -> Self {
        for pool in self.nodes.iter_mut().flat_map(|node| &mut node.pools) {
            pool.free = pool.total;
        }
        self
    }

    /// A node by its number.
    pub fn node(&self, id: u32) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }
}

/// Most bytes that ZFS's cache may take on the node below `root`; 0 while no pool is in use. It fills up with time and gives way
/// slowly, so that what it may take is nobody else's.
pub fn cache_limit(root: &Path) -> u64 {
    let directory = root.join("proc/spl/kstat/zfs");
    let in_use = read::entries(&directory)
        .iter()
        .any(|(_, path)| path.join("state").exists());
    let statistics = read::text(directory.join("arcstats")).filter(|_| in_use);
    let limit = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some("c_max")).then(|| words.nth(1)?.parse().ok())?
    };
    statistics
        .and_then(|text| text.lines().find_map(limit))
        .unwrap_or(0)
}

/// The cores of a node that are dedicated as a whole.
fn cores(topology: &Topology, node: u32, dedicated: &CpuSet) -> Vec<Core> {
    let online: CpuSet = topology.cpus.iter().filter(|c| c.online).map(|c| c.id).collect();
    let here = topology.cpus.iter().filter(|cpu| cpu.node == node && cpu.online);
    let core = |cpu: &crate::topology::Cpu| {
        let siblings = cpu.siblings.intersection(&online);
        let threads = if siblings.contains(cpu.id) {
            siblings
        } else {
            CpuSet::from_iter([cpu.id])
        };
        let first = threads.first() == Some(cpu.id);
        (first && threads.is_subset(dedicated)).then(|| Core {
            threads,
            socket: cpu.socket,
            cache: cpu.llc.first().unwrap_or(cpu.id),
        })
    };
    here.filter_map(core).collect()
}
