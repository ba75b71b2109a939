//! What a VMM process is to do with the host's CPUs and memory nodes.

use axion_core::topology::CpuSet;
use serde::{Deserialize, Serialize};

/// A NUMA node of the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestNode {
    /// Bytes; a multiple of the page size, at least 32 MiB.
    pub size: u64,
    /// The host node that has all of its pages. Without it, the kernel takes them where it likes.
    #[serde(default)]
    pub host_node: Option<u32>,
    /// Its vCPUs, as in `0-3,8`; each vCPU is in one node. A node may have none.
    #[serde(default)]
    pub cpus: CpuSet,
    /// Distance to each guest node in order (ACPI SLIT): 10 to itself, 11 to 254 to others, 255 where unreachable. Empty:
    /// 20 to all others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distances: Vec<u8>,
}

/// CPUs as the guest sees them. vCPUs are numbered thread by thread, core by core, socket by socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CpuTopology {
    /// Sockets, at least 1.
    pub sockets: u32,
    /// Cores of a socket, at least 1.
    pub cores: u32,
    /// Threads of a core, 1 or 2.
    #[serde(default = "one")]
    pub threads: u32,
    /// Cores that share a level 3 cache; divides `cores`. Without it, all of a socket.
    #[serde(default)]
    pub l3_cores: Option<u32>,
}

const fn one() -> u32 {
    1
}

/// Where the threads of a VMM process run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The host CPU of each vCPU, in order, no two the same. Empty: vCPUs run where the process may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vcpus: Vec<u32>,
    /// Real-time priority (`SCHED_FIFO`) of vCPU threads, 1 to 99; needs `vcpus`, and the process needs an RLIMIT_RTPRIO of
    /// at least that, or the right to raise it.
    #[serde(default)]
    pub fifo_priority: Option<u8>,
    /// Host CPUs of all other threads, as in `0-1`. Empty: they run where the process may.
    #[serde(default)]
    pub housekeeping: CpuSet,
}

/// What happens to a VMM process that makes a forbidden system call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SandboxMode {
    /// It dies of SIGSYS.
    #[default]
    Enforce,
    /// The kernel logs it and lets it through; the file system is not restricted. For finding out what a new host or
    /// device needs.
    Log,
}
