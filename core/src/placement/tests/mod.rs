//! Machines as small tables, and what VMs get on them.

mod property;
mod refusals;
mod resize;
mod supply;
mod table;

use super::*;
use crate::topology::{Cpu, Hugepages, NumaNode, Topology};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// A machine of equal nodes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Machine {
    pub nodes: u32,
    pub cores: u32,
    pub threads: u32,
    /// Cores that share a last-level cache.
    pub cache: u32,
    /// Nodes of a socket.
    pub nodes_of_socket: u32,
    /// Cores of each node that the host keeps, the lowest ones.
    pub host: u32,
    /// Memory of a node, GiB.
    pub memory: u64,
    /// Pages of 2 MiB and of 1 GiB of each node.
    pub pages: (u64, u64),
}

pub(super) const MACHINE: Machine = Machine {
    nodes: 2,
    cores: 8,
    threads: 1,
    cache: 4,
    nodes_of_socket: 1,
    host: 1,
    memory: 32,
    pages: (1024, 8),
};

impl Machine {
    /// Threads are numbered as Linux does: the first of every core, then the second ones.
    pub fn topology(&self) -> Topology {
        let cores = self.nodes * self.cores;
        let cpus = |core: u32| (0..self.threads).map(move |thread| core + thread * cores);
        let cpu = |id: u32| {
            let core = id % cores;
            let node = core / self.cores;
            let first = core / self.cache * self.cache;
            Cpu {
                id,
                online: true,
                socket: node / self.nodes_of_socket,
                core,
                node,
                siblings: cpus(core).collect(),
                llc: (first..first + self.cache).flat_map(cpus).collect(),
                isolated: core % self.cores >= self.host,
            }
        };
        let node = |id: u32| NumaNode {
            id,
            cpus: (id * self.cores..(id + 1) * self.cores).flat_map(cpus).collect(),
            memory_total: self.memory * GIB,
            memory_free: self.memory * GIB,
            hugepages: vec![
                Hugepages {
                    page_size: 2 * MIB,
                    total: self.pages.0,
                    free: self.pages.0,
                },
                Hugepages {
                    page_size: GIB,
                    total: self.pages.1,
                    free: self.pages.1,
                },
            ],
            distances: (0..self.nodes)
                .map(|other| match other {
                    _ if other == id => 10,
                    _ if other / self.nodes_of_socket == id / self.nodes_of_socket => 12,
                    _ => 32,
                })
                .collect(),
        };
        Topology {
            cpus: (0..cores * self.threads).map(cpu).collect(),
            nodes: (0..self.nodes).map(node).collect(),
            ..Topology::default()
        }
    }

    pub fn supply(&self) -> Supply {
        let topology = self.topology();
        Supply::new(&topology, &Division::of(&topology, None))
    }
}

/// A dedicated VM with pages of 1 GiB.
pub(super) fn dedicated(cpus: u32, gib: u64) -> Wish {
    Wish {
        class: VmClass::Dedicated,
        cpus,
        memory: gib * GIB,
        hugepages: Some(PageSize::OneGiB),
        ..Wish::default()
    }
}

pub(super) fn shared(cpus: u32, gib: u64) -> Wish {
    Wish {
        cpus,
        memory: gib * GIB,
        ..Wish::default()
    }
}

pub(super) fn spread(wish: Wish) -> Wish {
    Wish {
        numa: NumaPolicy::Spread,
        ..wish
    }
}

/// `vcpus | nodes | socketsxcoresxthreads l3`, short enough for a table.
pub(super) fn told(placement: &Placement) -> String {
    let vcpus: Vec<String> = placement.vcpus.iter().map(ToString::to_string).collect();
    let nodes: Vec<String> = placement
        .nodes
        .iter()
        .map(|part| format!("{}:{}@{}MiB", part.host_node, part.vcpus, part.memory / MIB))
        .collect();
    let topology = placement.topology.map_or_else(
        || "-".to_owned(),
        |t| format!("{}x{}x{} l3 {}", t.sockets, t.cores, t.threads, t.l3_cores),
    );
    format!("{} | {} | {topology}", vcpus.join(","), nodes.join(" "))
}

/// Places the VMs one after the other.
#[track_caller]
pub(super) fn placed(supply: &Supply, wishes: &[Wish]) -> (Ledger, Vec<Placement>) {
    let mut ledger = Ledger::default();
    let mut placements = Vec::new();
    for (index, wish) in wishes.iter().enumerate() {
        let placement = plan(supply, &ledger, wish).unwrap_or_else(|e| panic!("{index}: {e}"));
        ledger.reserve(format!("vm{index}"), placement.clone());
        placements.push(placement);
    }
    (ledger, placements)
}
