//! What stage 2 does, as typed values. Each can be repeated: what is as it should be stays.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::NodePages;
use crate::config::{PageSize, TransparentHugepages};
use crate::quantity::ByteSize;
use crate::topology::{CpuSet, PciAddress};

/// Something to do while the node runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Action {
    /// `/sys/devices/system/cpu/smt/control`.
    Smt {
        /// `on` or `off`.
        on: bool,
    },
    /// `/proc/sys/kernel/numa_balancing` is 0, where the kernel has it.
    NumaBalancingOff,
    /// `/sys/kernel/mm/ksm/run` is 0, where the kernel has it.
    KsmOff,
    /// A file below `/proc/sys`.
    Sysctl {
        /// Name with dots.
        name: String,
        /// Value.
        value: String,
    },
    /// `nr_hugepages` of each node.
    Hugepages {
        /// Page size.
        page_size: PageSize,
        /// So many on each of these nodes.
        nodes: Vec<NodePages>,
    },
    /// `/sys/kernel/mm/transparent_hugepage/enabled`.
    TransparentHugepages {
        /// Which.
        policy: TransparentHugepages,
    },
    /// `/proc/irq/default_smp_affinity`, and `/proc/irq/*/smp_affinity_list` of every interrupt that can be moved.
    IrqAffinity {
        /// Where they go.
        cpus: CpuSet,
    },
    /// `/sys/devices/virtual/workqueue/cpumask`.
    WorkqueueCpumask {
        /// Where unbound work runs.
        cpus: CpuSet,
    },
    /// `cpuset.cpus` of a cgroup (cgroup v2).
    Cpuset {
        /// Its path below the root of the cgroups.
        cgroup: String,
        /// Where its processes run.
        cpus: CpuSet,
    },
    /// `cpuset.cpus` and `cpuset.cpus.partition` of a cgroup (cgroup v2).
    CpusetPartition {
        /// Its path below the root of the cgroups.
        cgroup: String,
        /// Its CPUs, which nothing else then has.
        cpus: CpuSet,
        /// Who spreads threads over them.
        partition: PartitionKind,
    },
    /// `/sys/kernel/debug/sched/fair_server/cpuN/period` of each CPU, where the kernel has it.
    FairServerPeriod {
        /// Nanoseconds, 100,000 to 4,194,304,000.
        period_ns: u64,
        /// Whose.
        cpus: CpuSet,
    },
    /// `scaling_governor` of each CPU.
    Governor {
        /// Which.
        governor: String,
        /// Whose.
        cpus: CpuSet,
    },
    /// `power/pm_qos_resume_latency_us` of each CPU.
    IdleLatency {
        /// How long leaving an idle state may take.
        limit: IdleLimit,
        /// Whose.
        cpus: CpuSet,
    },
    /// A parameter of a kernel module, given when it is loaded, or written where it is loaded and that is possible.
    ModuleParameter {
        /// Module.
        module: String,
        /// Parameter.
        name: String,
        /// Value.
        value: String,
        /// Whether it can be changed while the module is loaded.
        live: bool,
    },
    /// A kernel module is loaded.
    LoadModule {
        /// Its name.
        name: String,
    },
    /// `sriov_numvfs` of a physical function, and what each virtual function is given.
    VirtualFunctions {
        /// The physical function.
        address: PciAddress,
        /// Its network interface.
        interface: String,
        /// How many.
        vfs: u32,
        /// MAC addresses in order; empty: the driver's.
        macs: Vec<String>,
        /// VLAN of all.
        vlan: Option<u16>,
        /// Whether guests may change their MAC address and listen to everything.
        trust: bool,
        /// Whether they are bound to vfio-pci.
        #[serde(default)]
        vfio: bool,
    },
    /// `driver_override` of a function is `vfio-pci`, and it is bound to it.
    VfioBind {
        /// The function.
        address: PciAddress,
        /// Whether it is bound even where the host uses it.
        #[serde(default)]
        forced: bool,
    },
}

/// How CPUs of a partition are scheduled (`cpuset.cpus.partition`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PartitionKind {
    /// A scheduling domain of its own: the kernel spreads the threads.
    Root,
    /// None: every thread is pinned by whoever made it.
    Isolated,
}

impl PartitionKind {
    /// As `cpuset.cpus.partition` has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Isolated => "isolated",
        }
    }
}

/// How long leaving an idle state may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum IdleLimit {
    /// So many microseconds.
    Microseconds(u32),
    /// No time at all: the CPU spins.
    Zero,
}

impl IdleLimit {
    /// As `pm_qos_resume_latency_us` has it, where `0` means no limit (Documentation/ABI/testing/sysfs-devices-power).
    pub fn word(self) -> String {
        match self {
            Self::Microseconds(us) => us.to_string(),
            Self::Zero => "n/a".to_owned(),
        }
    }
}

impl TransparentHugepages {
    /// As the kernel has it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Madvise => "madvise",
            Self::Never => "never",
        }
    }
}

impl Action {
    /// A short name for lists: `cpu.governor`.
    pub fn key(&self) -> String {
        match self {
            Self::Smt { .. } => "cpu.smt".to_owned(),
            Self::NumaBalancingOff => "memory.numa-balancing".to_owned(),
            Self::KsmOff => "memory.ksm".to_owned(),
            Self::Sysctl { name, .. } => format!("sysctl.{name}"),
            Self::Hugepages { page_size, .. } => format!("hugepages.{page_size}"),
            Self::TransparentHugepages { .. } => "memory.thp".to_owned(),
            Self::IrqAffinity { .. } => "cpu.irqs".to_owned(),
            Self::WorkqueueCpumask { .. } => "cpu.workqueues".to_owned(),
            Self::Cpuset { cgroup, .. } => format!("cpu.cpuset.{cgroup}"),
            Self::CpusetPartition { cgroup, .. } => format!("cpu.partition.{cgroup}"),
            Self::FairServerPeriod { .. } => "cpu.fair-server".to_owned(),
            Self::Governor { .. } => "power.governor".to_owned(),
            Self::IdleLatency { .. } => "power.idle-latency".to_owned(),
            Self::ModuleParameter { module, name, .. } => format!("module.{module}.{name}"),
            Self::LoadModule { name } => format!("module.{name}"),
            Self::VirtualFunctions { interface, .. } => format!("sriov.{interface}"),
            Self::VfioBind { address, .. } => format!("vfio.{address}"),
        }
    }
}

/// What is wanted, without the name of the thing.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Smt { on: true } => f.write_str("on"),
            Self::Smt { on: false } | Self::NumaBalancingOff | Self::KsmOff => f.write_str("off"),
            Self::Sysctl { value, .. } => f.write_str(value),
            Self::Hugepages { nodes, .. } => f.write_str(&pages(nodes)),
            Self::TransparentHugepages { policy } => f.write_str(policy.word()),
            Self::IrqAffinity { cpus } | Self::WorkqueueCpumask { cpus } | Self::Cpuset { cpus, .. } => {
                write!(f, "on {cpus}")
            }
            Self::CpusetPartition { cpus, partition, .. } => write!(f, "{} {cpus}", partition.word()),
            Self::FairServerPeriod { period_ns, cpus } => {
                write!(f, "each {} s on {cpus}", period_ns / 1_000_000_000)
            }
            Self::Governor { governor, cpus } => write!(f, "{governor} on {cpus}"),
            Self::IdleLatency { limit, cpus } => match limit {
                IdleLimit::Microseconds(us) => write!(f, "{us} us on {cpus}"),
                IdleLimit::Zero => write!(f, "no idle state on {cpus}"),
            },
            Self::ModuleParameter { value, .. } => match value.parse::<u64>() {
                Ok(bytes) if bytes >= 1 << 20 => write!(f, "{}", ByteSize(bytes)),
                _ => f.write_str(value),
            },
            Self::LoadModule { .. } => f.write_str("loaded"),
            Self::VirtualFunctions {
                vfs,
                macs,
                vlan,
                trust,
                vfio,
                ..
            } => {
                write!(f, "{vfs} VFs")?;
                macs.first().map_or(Ok(()), |mac| write!(f, " from {mac}"))?;
                vlan.map_or(Ok(()), |vlan| write!(f, " vlan {vlan}"))?;
                f.write_str(if *trust { " trusted" } else { "" })?;
                f.write_str(if *vfio { " for VMs" } else { "" })
            }
            Self::VfioBind { .. } => f.write_str("vfio-pci"),
        }
    }
}

/// The file of a kernel setting: `net.ipv4.ip_forward` is `/proc/sys/net/ipv4/ip_forward`; a `/` in the name stands for a
/// dot (sysctl(8)). `None` for what is no such name.
pub fn sysctl_file(name: &str) -> Option<String> {
    let swapped: String = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect();
    let sound = swapped
        .split('/')
        .all(|part| !part.is_empty() && part != "." && part != "..");
    sound.then(|| format!("/proc/sys/{swapped}"))
}

/// `0:16,1:16`.
pub(super) fn pages(nodes: &[NodePages]) -> String {
    let parts: Vec<String> = nodes.iter().map(|n| format!("{}:{}", n.node, n.pages)).collect();
    parts.join(",")
}

/// An action and why it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlannedAction {
    /// The action.
    pub action: Action,
    /// What it is about: `cpu.irqs`, `hugepages.2MiB`.
    pub key: String,
    /// What it brings about.
    pub text: String,
    /// Why.
    pub why: String,
}

impl PlannedAction {
    pub(super) fn new(action: Action, why: impl Into<String>) -> Self {
        Self {
            key: action.key(),
            text: action.to_string(),
            action,
            why: why.into(),
        }
    }
}
