//! What is in force for a running machine, as the kernel says.

use axion_core::topology::CpuSet;
use serde::{Deserialize, Serialize};

use super::placement::SandboxMode;
use crate::vm::{GuestCpuModel, HugepageSize};

/// What was asked of the host for a machine, and what is so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InForce {
    /// The CPU that the guest sees.
    #[serde(default)]
    pub cpu_model: GuestCpuModel,
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
    /// What its unit may use. The agent reads it; a VMM does not see it.
    #[serde(default)]
    pub unit: Option<UnitLimits>,
    /// Its process. The agent reads it.
    #[serde(default)]
    pub process: Option<ProcessState>,
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

/// What the unit of a VM may use, as it was read back from its cgroup (cgroup-v2.rst).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UnitLimits {
    /// CPUs on which its threads may run (cpuset.cpus.effective).
    pub cpus: CpuSet,
    /// Its share of CPU time among the VMs when there is not enough (cpu.weight).
    pub cpu_weight: u32,
    /// Most CPU time, percent of one CPU (cpu.max); `None`: no limit.
    pub cpu_limit: Option<u32>,
    /// Most ordinary memory, bytes (memory.max); `None`: no limit. Hugepages are not in it.
    pub memory_max: Option<u64>,
}

/// The process of a VMM as the kernel shows it to others (proc(5)), whatever the process says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ProcessState {
    /// Its user.
    pub uid: u32,
    /// Capabilities that any of its threads has, as bits (capabilities(7)).
    pub capabilities: u64,
    /// Threads.
    pub threads: u32,
    /// Threads whose system calls are filtered (seccomp(2)).
    pub filtered: u32,
    /// Threads that gain no privileges by a program that they start (`no_new_privs`).
    pub unprivileged: u32,
    /// Namespaces that are not the node's, of those of which others see it: `mnt`, `net`, `pid`, `user`.
    pub namespaces: Vec<String>,
}
