//! What is in force for a running machine, as the kernel says, and what it counts.

use axion_core::topology::CpuSet;
use serde::{Deserialize, Serialize};

use super::placement::SandboxMode;
use crate::vm::HugepageSize;

/// What was asked of the host for a machine, and what is so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InForce {
    /// Exits that were to be disabled.
    pub exits_wanted: Vec<DisabledExit>,
    /// Exits that are disabled.
    pub exits_disabled: Vec<DisabledExit>,
    /// Real-time priority (`SCHED_FIFO`) that the threads of the vCPUs were to have.
    #[serde(default)]
    pub fifo_wanted: Option<u8>,
    /// Threads of the vCPUs, in order.
    pub vcpus: Vec<VcpuThread>,
    /// Memory of each guest node, in order.
    pub memory: Vec<NodeMemory>,
    /// What the process cannot do.
    pub sandbox: SandboxState,
}

/// An instruction that need not leave the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DisabledExit {
    /// HLT: an idle vCPU keeps its CPU.
    Hlt,
    /// PAUSE: a spinning vCPU keeps its CPU.
    Pause,
    /// MONITOR and MWAIT are the CPU's own.
    Mwait,
}

/// The thread of a vCPU.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VcpuThread {
    /// Its id, as in `/proc/PID/task`.
    pub thread: u32,
    /// Initial APIC id that the guest sees.
    pub apic_id: u32,
    /// Guest node.
    pub node: u32,
    /// Host CPU that was asked for.
    pub wanted: Option<u32>,
    /// Host CPUs on which it may run.
    pub cpus: CpuSet,
    /// Its real-time priority (`SCHED_FIFO`); `None` is ordinary scheduling.
    pub fifo_priority: Option<u8>,
}

/// What backs the memory of a guest node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeMemory {
    /// Bytes.
    pub size: u64,
    /// Host node that was asked for.
    pub wanted: Option<u32>,
    /// Host node to which the kernel binds it.
    pub bound: Option<u32>,
    /// Pages.
    pub hugepages: HugepageSize,
    /// Milliseconds that filling in took; `None` where pages appear when the guest touches them.
    pub prefault_ms: Option<u64>,
    /// Where pages were found that were looked up, evenly spread over the node, when it had been filled in.
    pub samples: Vec<NodeSample>,
}

/// Pages of a guest node that are on one host node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodeSample {
    /// The host node.
    pub host_node: u32,
    /// Pages that were found there.
    pub pages: u64,
}

/// The sandbox of a VMM process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SandboxState {
    /// What its seccomp filters do.
    pub mode: SandboxMode,
    /// How much of what was asked of Landlock this kernel knows.
    pub landlock: Coverage,
    /// Namespaces of its own, as in `/proc/PID/ns`; those that this host does not grant are missing.
    pub namespaces: Vec<String>,
    /// Its root directory has nothing but its run directory and what sysfs says about memory.
    pub empty_root: bool,
}

/// How much is in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Coverage {
    /// Nothing.
    #[default]
    None,
    /// A part: the kernel is older than the newest rule.
    Part,
    /// All.
    Full,
}

/// Answer of `GET /v1/vm/metrics`. Counters begin at 0 with the process and go on through resets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmmMetrics {
    /// Exits of each vCPU, in order.
    pub vcpus: Vec<VcpuExits>,
    /// How long requests took, of each queue of each disk, in order.
    #[serde(default)]
    pub disks: Vec<Vec<QueueLatencies>>,
}

/// How long requests of a queue took, from when they were found in the ring to when the guest could see their end. Those
/// that failed are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLatencies {
    /// Reads.
    pub reads: Latency,
    /// Writes.
    pub writes: Latency,
    /// Flushes.
    pub flushes: Latency,
}

/// A histogram of times, nanoseconds, each known to a sixteenth of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Sum of all.
    pub total_ns: u64,
    /// The longest.
    pub longest_ns: u64,
    /// Upper end of a bucket, exclusive, and how many are in it; in order, without those that are empty. Each power of two
    /// from 2^6 to 2^40 is an end.
    pub buckets: Vec<(u64, u64)>,
}

impl Latency {
    /// How many there are.
    pub fn count(&self) -> u64 {
        let counts = self.buckets.iter().map(|(_, count)| count);
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many took less than `ns`, which is an end of a bucket.
    pub fn below(&self, ns: u64) -> u64 {
        let below = self.buckets.iter().take_while(|(end, _)| *end <= ns);
        below.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// What the share `quantile` (0 to 1) of them took at most; 0 where there are none.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        // Counts are far below 2^53, and the share is cut to its range.
        let wanted = (self.count() as f64 * quantile.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0u64;
        let found = self.buckets.iter().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= wanted
        });
        found.map_or(0, |(end, _)| *end)
    }

    /// Adds what `other` has.
    pub fn merge(&mut self, other: &Self) {
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        for (end, count) in &other.buckets {
            match self.buckets.binary_search_by_key(end, |(end, _)| *end) {
                Ok(place) => {
                    if let Some((_, mine)) = self.buckets.get_mut(place) {
                        *mine = mine.saturating_add(*count);
                    }
                }
                Err(place) => self.buckets.insert(place, (*end, *count)),
            }
        }
    }
}

/// How often a vCPU has left the guest for the VMM, by reason. Exits that KVM handles itself are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuExits {
    /// Reads of an I/O port.
    pub port_reads: u64,
    /// Writes to an I/O port.
    pub port_writes: u64,
    /// Reads of a memory-mapped register.
    pub mmio_reads: u64,
    /// Writes to a memory-mapped register.
    pub mmio_writes: u64,
    /// Ends of level-triggered interrupts.
    pub interrupt_ends: u64,
    /// Interrupted by a signal, as for pause and reset.
    pub interrupted: u64,
    /// Woken up while it waited for INIT.
    pub init_waits: u64,
    /// All others: triple faults, system events, failures.
    pub others: u64,
}
