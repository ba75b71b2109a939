//! Where a VM goes: which CPUs, which memory of which NUMA node, and what its guest sees of that.
//!
//! ```text
//! topology + boot profile ── Division, Supply ──┐
//! placements of the VMs that run ── Ledger ─────┼── plan ──► Placement | Refused
//! what a VM asks for ── Wish ───────────────────┘
//! ```
//!
//! Everything here is pure, and the same question has the same answer. A VM keeps to one node unless its [`NumaPolicy`]
//! lets it be spread; it is refused rather than put across nodes quietly. [`Refused`] names for each node what it lacks, and
//! what could be had instead, tried out before it is said.
//!
//! | class     | CPUs                                                     | memory                              |
//! |-----------|----------------------------------------------------------|-------------------------------------|
//! | shared    | those of its node that are for all: vCPUs move on them   | of its node, counted, any page size |
//! | dedicated | isolated cores of its own, whole, a vCPU on each thread  | hugepages of the nodes of its cores |
//!
//! Room is chosen by best fit: the node, and in it the last-level cache, that is left with the least, so that large pieces
//! stay for large VMs. Shared VMs go where the fewest vCPUs are for each CPU.

mod ledger;
mod plan;
mod refused;
mod resize;
mod select;
mod supply;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use ledger::{Free, Ledger};
pub use plan::{holds, plan};
pub use refused::{Refused, Resource, Shortage};
pub use resize::{block_size, resize};
pub use supply::{Core, Division, Node, Supply, cache_limit};

use crate::config::PageSize;
use crate::topology::CpuSet;

/// Least memory of a guest and of each of its nodes, bytes.
pub const LEAST_MEMORY: u64 = 32 << 20;
/// Step of memory in ordinary pages, bytes.
pub const STEP: u64 = 2 << 20;

/// How a VM gets its CPUs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum VmClass {
    /// It shares CPUs with other VMs, by weight and limit.
    #[default]
    Shared,
    /// Each vCPU has an isolated CPU to itself, of cores that nobody else has; memory is hugepages of the same nodes.
    Dedicated,
}

/// Whether a VM may be on several NUMA nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NumaPolicy {
    /// One node, or not at all.
    #[default]
    Single,
    /// As few nodes as it takes, an equal part on each; the guest sees a node for each.
    Spread,
}

/// How many threads of a core are vCPUs of a dedicated VM; the core is its own in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum VmThreads {
    /// All, where the vCPUs fill whole cores; else one.
    #[default]
    Auto,
    /// Every thread; the guest sees its siblings.
    All,
    /// One; the others stay idle.
    One,
}

/// What a VM asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// How it gets its CPUs.
    pub class: VmClass,
    /// vCPUs, at least 1.
    pub cpus: u32,
    /// vCPUs of a core.
    pub threads: VmThreads,
    /// Memory, bytes: a multiple of the page size, or of [`STEP`].
    pub memory: u64,
    /// Hugepages that back it; `None`: ordinary pages.
    pub hugepages: Option<PageSize>,
    /// Whether it may be spread.
    pub numa: NumaPolicy,
    /// Host nodes that it may be on; empty: all.
    pub nodes: Vec<u32>,
}

impl Wish {
    /// What memory is counted in, bytes.
    fn step(&self) -> u64 {
        self.hugepages.map_or(STEP, PageSize::bytes)
    }
}

/// Where a VM is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Placement {
    /// How it gets its CPUs.
    pub class: VmClass,
    /// Its part of each host node, in the order of the guest's nodes.
    pub nodes: Vec<NodePart>,
    /// Bytes of the pages that back its memory: 4096, 2 MiB or 1 GiB.
    pub page_size: u64,
    /// Host CPU of each vCPU, in order. Empty in a shared VM, whose vCPUs move on `cpus`.
    pub vcpus: Vec<u32>,
    /// CPUs that no other VM has: the cores of `vcpus`, idle threads included.
    pub reserved: CpuSet,
    /// CPUs of its other threads (devices, control); in a shared VM of all its threads.
    pub cpus: CpuSet,
    /// CPUs as the guest sees them; without it one socket of cores with one thread.
    pub topology: Option<GuestTopology>,
}

/// A VM's part of a host node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodePart {
    /// The host node.
    pub host_node: u32,
    /// Bytes of its memory.
    pub memory: u64,
    /// Whether the memory is bound to the node; a host with one node has nothing else.
    pub bound: bool,
    /// vCPUs, by number.
    pub vcpus: CpuSet,
    /// Distances to each of the guest's nodes that the guest is told (ACPI SLIT; 10 is local).
    pub distances: Vec<u8>,
}

/// CPUs as a guest sees them. vCPUs are numbered thread by thread, core by core, socket by socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct GuestTopology {
    /// Sockets.
    pub sockets: u32,
    /// Cores of a socket.
    pub cores: u32,
    /// Threads of a core.
    pub threads: u32,
    /// Cores that share a level 3 cache.
    pub l3_cores: u32,
}

impl Placement {
    /// CPUs on which any of its threads runs.
    pub fn used(&self) -> CpuSet {
        self.cpus.iter().chain(self.vcpus.iter().copied()).collect()
    }

    /// vCPUs in all.
    pub fn count(&self) -> usize {
        self.nodes.iter().map(|part| part.vcpus.len()).sum()
    }
}
