//! What the node is, how it booted, what runs on it.

use axion_core::secure_boot::SecureBoot;
use axion_core::topology::{CpuSet, PciDevice, Topology, class_name};
use serde::{Deserialize, Serialize};

use crate::keys::StateLock;

pub use crate::init::{LogEntry, Phase, UnitState, UnitStatus};
use crate::recovery::{CrashSummary, MissingFirmware};

/// The node (`GET /v1/host`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Host {
    /// Host name.
    pub hostname: String,
    /// Stable identity of the machine: 32 hex digits.
    pub machine_id: String,
    /// This boot: a UUID.
    pub boot_id: String,
    /// Version of Axion.
    pub version: String,
    /// Kernel release.
    pub kernel: String,
    /// Seconds since the kernel started.
    pub uptime_seconds: u64,
    /// Whether state survives a reboot; false while it lives in memory.
    pub persistent_state: bool,
    /// Why the state that should survive is locked, where it is: the node runs with one in memory meanwhile.
    pub state_lock: Option<StateLock>,
    /// Whether firmware checks what it starts, and whether the kernel keeps to it.
    #[serde(default)]
    pub secure_boot: SecureBoot,
    /// Whether the clock was set by NTP in this boot; until then it is the RTC's.
    pub time_synchronized: bool,
    /// Addresses of the host with their prefix length, loopback and link-local ones left out.
    pub addresses: Vec<String>,
    /// Fingerprint of the node's CA: `sha256:` and 64 hex digits.
    pub ca_fingerprint: String,
    /// Memory, bytes.
    pub memory: Memory,
    /// Share of CPU time in use since the last request for it, 0 to 1, over all CPUs.
    pub cpu_usage: f32,
    /// How the kernel before this one ended, where that was unexpected.
    #[serde(default)]
    pub last_crash: Option<CrashSummary>,
    /// Firmware that drivers asked for in this boot and did not get.
    #[serde(default)]
    pub missing_firmware: Vec<MissingFirmware>,
    /// Hardware.
    pub topology: Topology,
}

/// Memory of the node, bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Memory {
    /// What the kernel manages.
    pub total: u64,
    /// What a new process could get.
    pub available: u64,
}

/// How the node booted (`GET /v1/host/boot`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct BootReport {
    /// Milliseconds from the kernel's start to init's first instruction.
    pub kernel_ms: u64,
    /// Milliseconds from the kernel's start to the end of the last phase; `None` while booting.
    pub ready_ms: Option<u64>,
    /// Phases in order, both stages.
    pub phases: Vec<Phase>,
}

/// One effective value of the machine config (`GET /v1/host/config`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConfigValue {
    /// Dotted name: `network.dns`.
    pub key: String,
    /// Value, as TOML.
    pub value: String,
    /// Where it came from: `default`, a file, a URL, the kernel command line.
    pub source: String,
    /// What changing it takes: `live`, `restart-service`, `reboot`.
    pub change: String,
}

/// The machine config in force (`GET /v1/host/config`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostConfig {
    /// Every value.
    pub values: Vec<ConfigValue>,
    /// Documents that were refused, each with its reason and line.
    pub rejected: Vec<String>,
    /// What this version does not know and has left out of documents that are in force, each with its line.
    #[serde(default)]
    pub ignored: Vec<String>,
}

/// A process of the node (`GET /v1/host/processes`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Process {
    /// Process id.
    pub pid: u32,
    /// Whether it is a thread of the kernel.
    pub kernel: bool,
    /// Name of its program, at most 15 bytes.
    pub name: String,
    /// Its cgroup: `/axion.slice/agent`, `/vms.slice/vm-hello`.
    pub cgroup: String,
    /// State as proc_pid_stat(5) has it: `R` running, `S` sleeping, `D` waiting for a disk, `Z` ended but not reaped.
    pub state: char,
    /// Threads.
    pub threads: u32,
    /// Memory of its own and shared that is present, bytes.
    pub resident_bytes: u64,
    /// CPU time used, milliseconds.
    pub cpu_ms: u64,
    /// CPUs that any of its threads may run on.
    pub cpus: CpuSet,
}

/// A PCI function of the node (`GET /v1/host/devices`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Device {
    /// What it is.
    #[serde(flatten)]
    pub function: PciDevice,
    /// Name of its class: `NVMe controller`.
    pub class_name: String,
    /// Disks and network interfaces of the host that it carries: `nvme0n1`, `eth0`.
    pub carries: Vec<String>,
    /// The other functions of its IOMMU group that go to a VM with it, bridges left out.
    pub goes_with: Vec<String>,
}

/// Base class of bridges, which stay with the host (PCI Code and ID Assignment 1.16, §1.7).
const BRIDGE: u32 = 0x06;

impl Device {
    /// Every PCI function of `topology`.
    pub fn all(topology: &Topology) -> Vec<Self> {
        let functions = topology.pci.iter();
        functions.map(|function| Self::of(topology, function)).collect()
    }

    fn of(topology: &Topology, function: &PciDevice) -> Self {
        let disks = topology.disks.iter().map(|disk| (&disk.name, &disk.pci));
        let nics = topology.nics.iter().map(|nic| (&nic.name, &nic.pci));
        let own = |(name, pci): (&String, &Option<String>)| {
            (pci.as_ref() == Some(&function.address)).then(|| name.clone())
        };
        let beside = topology.pci.iter().filter(|other| {
            function.iommu_group.is_some()
                && other.iommu_group == function.iommu_group
                && other.address != function.address
                && other.class >> 16 != BRIDGE
        });
        Self {
            class_name: class_name(function.class).to_owned(),
            carries: disks.chain(nics).filter_map(own).collect(),
            goes_with: beside.map(|other| other.address.clone()).collect(),
            function: function.clone(),
        }
    }
}

/// What `POST /v1/host/power` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PowerAction {
    /// Stop everything in order and restart the machine.
    Reboot,
    /// Stop everything in order and power the machine off.
    PowerOff,
}

/// Body of `POST /v1/host/power`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PowerRequest {
    /// What to do.
    pub action: PowerAction,
}
