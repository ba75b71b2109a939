//! The boot profile as an operator declares it: `[profile]` of the machine config.
//!
//! Every key has a default that leaves the decision to [`crate::profile::plan`], which knows the machine; what is given
//! here is what the operator knows better.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::InterfaceMatch;
use crate::quantity::{ByteSize, as_text};
use crate::topology::{CpuSet, is_pci_address};

/// The boot profile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// What the keys that say `auto` mean.
    pub mode: ProfileMode,
    /// Which CPUs the host keeps, and how far it stays away from the others.
    pub cpu: ProfileCpu,
    /// Frequencies and idle states.
    pub power: ProfilePower,
    /// Transparent hugepages, ZFS's cache.
    pub memory: ProfileMemory,
    /// Hugepages to reserve. Absent: `hpc` reserves half of each large node, the others nothing.
    pub hugepages: Option<Vec<HugepageRule>>,
    /// Address translation for devices.
    pub iommu: ProfileIommu,
    /// Devices that are kept for VMs.
    pub vfio: Vec<VfioRule>,
    /// Network functions that are split into virtual ones.
    pub sriov: Vec<SriovRule>,
    /// KVM.
    pub kvm: ProfileKvm,
    /// How a boot comes to kernel arguments that the loader did not give. Auto: kexec, but on platforms that do not survive it.
    pub restart: RestartChoice,
    /// Prove the isolation once after each boot.
    pub proof_at_boot: bool,
}

/// What the keys that say `auto` mean.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ProfileMode {
    /// Cores that nothing but a pinned workload runs on: no scheduler, no tick, no callbacks. Takes kernel arguments.
    Hpc,
    /// Cores that the host keeps off, among which the kernel spreads the VMs. Takes no kernel argument.
    #[default]
    Balanced,
    /// The kernel's own behaviour.
    Off,
}

impl fmt::Display for ProfileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hpc => "hpc",
            Self::Balanced => "balanced",
            Self::Off => "off",
        })
    }
}

/// CPUs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileCpu {
    /// CPUs that the host, its services and the devices' interrupts keep.
    pub housekeeping: CpuChoice,
    /// CPUs for workloads. Auto: those that are not kept.
    pub isolated: CpuChoice,
    /// Simultaneous multithreading.
    pub smt: Smt,
    /// CPUs without a scheduler tick while one thread runs. Auto: the isolated ones in `hpc`, else none.
    pub nohz_full: CpuChoice,
    /// CPUs whose RCU callbacks run elsewhere. Auto: the isolated ones in `hpc`, else none.
    pub rcu_nocbs: CpuChoice,
    /// Where interrupts go.
    pub irqs: IrqPolicy,
    /// Mitigations of speculation faults.
    pub mitigations: Mitigations,
}

/// Power against latency.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfilePower {
    /// Frequency governor. Auto: `performance` in `hpc` where the machine has it, else the kernel's.
    pub governor: Governor,
    /// How deeply isolated CPUs may sleep. Auto: `shallow` in `hpc`, else `all`.
    pub c_states: CStates,
    /// Mode of the vendor's P-state driver. Auto: the kernel's.
    pub p_states: PStates,
}

/// Memory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileMemory {
    /// Transparent hugepages.
    pub transparent_hugepages: TransparentHugepages,
    /// Most memory that ZFS's cache may take. Auto: a sixteenth of the memory in `hpc`, else an eighth.
    pub arc_limit: ArcLimit,
}

/// IOMMU.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileIommu {
    /// What it does.
    pub mode: IommuChoice,
}

/// KVM.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileKvm {
    /// Large pages of guests are not executable. Auto: off where the CPU is not affected by iTLB multihit, else the kernel's.
    pub nx_huge_pages: NxHugePages,
    /// How long the host looks for work of a shared vCPU that has halted before the CPU is given away, microseconds, 0 to 1000.
    /// Absent: 0 in `hpc`, else the kernel's.
    pub halt_poll_us: Option<u32>,
}

/// Whether large pages of guests are not executable, a mitigation of iTLB multihit (CVE-2018-12207).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NxHugePages {
    /// Off where that is safe.
    #[default]
    Auto,
    /// They are not: KVM splits them where a guest runs code.
    On,
    /// They are.
    Off,
}

/// How a boot comes to kernel arguments that the loader did not give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartChoice {
    /// By platform.
    #[default]
    Auto,
    /// The kernel starts itself again, without the firmware.
    Kexec,
    /// They are stored for the next start, and the machine restarts through its firmware.
    Reboot,
}

/// Which CPUs: `auto`, `none`, or a list as in `2-15,18`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum CpuChoice {
    /// The planner decides.
    #[default]
    Auto,
    /// No CPU.
    None,
    /// These.
    List(CpuSet),
}

const CPU_CHOICE_FORM: &str = "`auto`, `none` or a CPU list, as in `2-15,18`";

impl FromStr for CpuChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            list => match list.parse::<CpuSet>() {
                Ok(cpus) if !cpus.is_empty() => Ok(Self::List(cpus)),
                _ => Err(format!("`{list}` is not {CPU_CHOICE_FORM}")),
            },
        }
    }
}

impl fmt::Display for CpuChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::None => f.write_str("none"),
            Self::List(cpus) => cpus.fmt(f),
        }
    }
}
as_text!(CpuChoice, CPU_CHOICE_FORM);

/// Simultaneous multithreading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Smt {
    /// As the machine has it.
    #[default]
    Auto,
    /// Every thread of a core.
    On,
    /// One thread of each core.
    Off,
}

/// Where interrupts go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IrqPolicy {
    /// To the CPUs that the host keeps.
    #[default]
    Housekeeping,
    /// Where the kernel puts them.
    Kernel,
}

/// Mitigations of speculation faults.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mitigations {
    /// The kernel's default.
    #[default]
    Kernel,
    /// All, and no multithreading on CPUs that leak between threads.
    AutoNosmt,
    /// None: only where every tenant trusts every other.
    Off,
}

/// Frequency governor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Governor {
    /// By mode.
    #[default]
    Auto,
    /// The highest frequency.
    Performance,
    /// The lowest, or with a P-state driver that decides by itself, its own choice.
    Powersave,
    /// By the scheduler's load.
    Schedutil,
}

/// How deeply isolated CPUs may sleep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CStates {
    /// By mode.
    #[default]
    Auto,
    /// As deeply as the machine can.
    All,
    /// Only into states that are left within 10 µs.
    Shallow,
    /// Not at all: an idle CPU spins.
    Poll,
}

/// Mode of the vendor's P-state driver.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PStates {
    /// The kernel's default.
    #[default]
    Auto,
    /// The hardware decides within the governor's hints.
    Active,
    /// The governor decides.
    Passive,
    /// The driver is not used.
    Off,
}

/// Transparent hugepages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum TransparentHugepages {
    /// For everything.
    Always,
    /// For memory that asks for it: guests' memory does.
    #[default]
    Madvise,
    /// For nothing.
    Never,
}

/// What the IOMMU does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IommuChoice {
    /// `passthrough` where `vfio` or `sriov` need it, else the kernel's default.
    #[default]
    Auto,
    /// Off: no device can be given to a VM.
    Off,
    /// The host's devices are translated too.
    On,
    /// Only devices that belong to VMs are translated.
    Passthrough,
}

/// Hugepages of one size on one node or on each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HugepageRule {
    /// Page size.
    pub size: PageSize,
    /// Where. A rule that names a node replaces one for each node there.
    #[serde(default)]
    pub node: NodeChoice,
    /// So many pages on the node; one of `count`, `bytes`, `percent` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// So much memory of the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<ByteSize>,
    /// Such a share of the node's memory, 1 to 100, rounded down to whole pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u64>,
}

/// Size of a hugepage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum PageSize {
    /// 2 MiB.
    #[serde(rename = "2MiB")]
    TwoMiB,
    /// 1 GiB.
    #[serde(rename = "1GiB")]
    OneGiB,
}

impl PageSize {
    /// In bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::TwoMiB => 2 << 20,
            Self::OneGiB => 1 << 30,
        }
    }
}

impl fmt::Display for PageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ByteSize(self.bytes()).fmt(f)
    }
}

/// A NUMA node's number, or `"each"`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodeChoice {
    /// Every node that has memory.
    #[default]
    Each,
    /// This one.
    Node(u32),
}

impl Serialize for NodeChoice {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Each => s.serialize_str("each"),
            Self::Node(node) => s.serialize_u32(*node),
        }
    }
}

impl<'de> Deserialize<'de> for NodeChoice {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Choice;
        impl serde::de::Visitor<'_> for Choice {
            type Value = NodeChoice;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a NUMA node's number or `\"each\"`")
            }
            fn visit_i64<E: serde::de::Error>(self, node: i64) -> Result<NodeChoice, E> {
                let unexpected = || E::invalid_value(serde::de::Unexpected::Signed(node), &self);
                u32::try_from(node)
                    .map(NodeChoice::Node)
                    .map_err(|_| unexpected())
            }
            fn visit_u64<E: serde::de::Error>(self, node: u64) -> Result<NodeChoice, E> {
                let unexpected = || E::invalid_value(serde::de::Unexpected::Unsigned(node), &self);
                u32::try_from(node)
                    .map(NodeChoice::Node)
                    .map_err(|_| unexpected())
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<NodeChoice, E> {
                match text {
                    "each" => Ok(NodeChoice::Each),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }
        }
        d.deserialize_any(Choice)
    }
}

/// Most memory that ZFS's cache may take: `auto`, a size, or a share of the machine's memory as in `10%`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ArcLimit {
    /// By mode.
    #[default]
    Auto,
    /// So much.
    Bytes(ByteSize),
    /// So much of a hundred.
    Percent(u64),
}

const ARC_LIMIT_FORM: &str = "`auto`, a size as in `8GiB`, or a share of the memory from `1%` to `90%`";

impl FromStr for ArcLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let parsed = match text.strip_suffix('%') {
            Some(share) => share
                .parse()
                .ok()
                .filter(|share| (1..=90).contains(share))
                .map(Self::Percent),
            None => text.parse().ok().map(Self::Bytes),
        };
        parsed.ok_or_else(|| format!("`{text}` is not {ARC_LIMIT_FORM}"))
    }
}

impl fmt::Display for ArcLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Bytes(size) => size.fmt(f),
            Self::Percent(share) => write!(f, "{share}%"),
        }
    }
}
as_text!(ArcLimit, ARC_LIMIT_FORM);

/// Devices that are kept for VMs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VfioRule {
    /// Which.
    pub device: DeviceChoice,
    /// Even where the host needs it: the boot disk's controller, a management interface.
    #[serde(default)]
    pub force: bool,
}

/// PCI functions: an address, all of a kind (`vendor:device`), or all of a class (`class:0302`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The one at this address, `0000:41:00.0`.
    Address(String),
    /// Every one with these ids, `10de:2204`.
    Id {
        /// Vendor.
        vendor: u16,
        /// Device.
        device: u16,
    },
    /// Every one whose class code begins with these 2, 4 or 6 hex digits.
    Class(String),
}

const DEVICE_FORM: &str = "a PCI address, as in `0000:41:00.0`, vendor and device, as in `10de:2204`, or a class, as in `class:0302`";

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is not {DEVICE_FORM}");
        let lower = text.to_ascii_lowercase();
        let is_hex = |digits: &str| digits.bytes().all(|b| b.is_ascii_hexdigit());
        if is_pci_address(&lower) {
            return Ok(Self::Address(lower));
        }
        if let Some(class) = lower.strip_prefix("class:") {
            let sound = matches!(class.len(), 2 | 4 | 6) && is_hex(class);
            return sound.then(|| Self::Class(class.to_owned())).ok_or_else(refuse);
        }
        let id = |digits: &str| {
            let sound = digits.len() == 4 && is_hex(digits);
            sound.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
        };
        let ids = lower.split_once(':').map(|(v, d)| (id(v), id(d)));
        match ids {
            Some((Some(vendor), Some(device))) => Ok(Self::Id { vendor, device }),
            _ => Err(refuse()),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => f.write_str(address),
            Self::Id { vendor, device } => write!(f, "{vendor:04x}:{device:04x}"),
            Self::Class(class) => write!(f, "class:{class}"),
        }
    }
}
as_text!(DeviceChoice, DEVICE_FORM);

/// A network function that is split into virtual ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SriovRule {
    /// Which interface; every given part must fit, and exactly one interface.
    pub r#match: InterfaceMatch,
    /// How many virtual functions, from 1.
    pub vfs: u32,
    /// MAC address of the first; the others count up from it. Absent: the driver's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// VLAN that all are put into, 1 to 4094.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Guests may change their MAC address and listen to everything.
    #[serde(default)]
    pub trust: bool,
    /// They are kept for VMs: bound to vfio-pci.
    #[serde(default)]
    pub vfio: bool,
}
