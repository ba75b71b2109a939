//! What a node has for VMs, and who has it.

use axion_core::placement::Placement;
use axion_core::topology::CpuSet;
use serde::{Deserialize, Serialize};

/// What the node has for VMs (`GET /v1/capacity`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Capacity {
    /// CPUs that the host keeps.
    pub host_cpus: CpuSet,
    /// NUMA nodes, by number.
    pub nodes: Vec<NodeCapacity>,
    /// VMs that have something, by name: from their start on until they are off.
    pub reservations: Vec<Reservation>,
}

/// What a NUMA node has for VMs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeCapacity {
    /// Its number.
    pub node: u32,
    /// CPUs of shared VMs.
    pub shared_cpus: CpuSet,
    /// vCPUs of shared VMs that are on them.
    pub shared_vcpus: u64,
    /// CPUs of dedicated VMs, in whole cores.
    pub dedicated_cpus: CpuSet,
    /// Those that no VM has.
    pub dedicated_free: CpuSet,
    /// Cores of dedicated VMs.
    pub cores: u64,
    /// Those that no VM has.
    pub cores_free: u64,
    /// Memory in ordinary pages: what hugepages and the host leave, bytes.
    pub memory: u64,
    /// What of it no VM has, bytes.
    pub memory_free: u64,
    /// Hugepages, by size.
    pub hugepages: Vec<PoolCapacity>,
}

/// Hugepages of one size on a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolCapacity {
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages.
    pub total: u64,
    /// Pages that VMs have.
    pub reserved: u64,
    /// Pages that can be had: neither a VM's nor in use by something else.
    pub free: u64,
}

/// What a VM has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Reservation {
    /// Name of the VM.
    pub vm: String,
    /// Where it is.
    pub placement: Placement,
}
