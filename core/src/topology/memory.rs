//! NUMA nodes and their hugepages.

use serde::{Deserialize, Serialize};

use super::CpuSet;

/// One NUMA node. A machine without NUMA is node 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NumaNode {
    /// Linux number.
    pub id: u32,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Installed memory that the kernel manages, bytes.
    pub memory_total: u64,
    /// Unused memory, bytes.
    pub memory_free: u64,
    /// Pools of hugepages, by page size.
    pub hugepages: Vec<Hugepages>,
    /// Relative distance to each node, in the order of the nodes (ACPI SLIT; 10 is local).
    pub distances: Vec<u32>,
}

/// A pool of hugepages of one size on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Hugepages {
    /// Page size, bytes.
    pub page_size: u64,
    /// Pages in the pool.
    pub total: u64,
    /// Pages not in use.
    pub free: u64,
}
