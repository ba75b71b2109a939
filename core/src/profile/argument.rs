//! Kernel arguments as typed values, and how they are written.
//!
//! Each value knows all of its parameters, so that what belongs together (a hugepage size and its count) cannot be
//! written apart. Names and forms: Documentation/admin-guide/kernel-parameters.txt.

use serde::{Deserialize, Serialize};

use crate::cmdline::{HugepagePool, Pages, Param};
use crate::config::{Mitigations, PStates, PageSize};
use crate::topology::{CpuSet, IommuKind};

/// A kernel argument of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Argument {
    /// No scheduling domain, and managed interrupts elsewhere where possible.
    IsolatedCpus {
        /// Which.
        cpus: CpuSet,
    },
    /// No tick while one thread runs.
    NohzFull {
        /// Which.
        cpus: CpuSet,
    },
    /// RCU callbacks run elsewhere.
    RcuNocbs {
        /// Which.
        cpus: CpuSet,
    },
    /// Interrupts that are requested before init runs.
    IrqAffinity {
        /// Where they go.
        cpus: CpuSet,
    },
    /// Address translation for devices.
    Iommu {
        /// Whose.
        iommu: IommuKind,
        /// What it does.
        mode: IommuMode,
    },
    /// Mitigations of speculation faults.
    Mitigations {
        /// Which.
        policy: Mitigations,
    },
    /// Mode of the P-state driver.
    PStates {
        /// `intel_pstate` or `amd_pstate`.
        driver: String,
        /// Which.
        mode: PStates,
    },
    /// Hugepages that are reserved before anything can fragment memory.
    Hugepages {
        /// Page size.
        page_size: PageSize,
        /// So many on each of these nodes.
        nodes: Vec<NodePages>,
    },
}

/// Pages on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NodePages {
    /// NUMA node.
    pub node: u32,
    /// How many.
    pub pages: u64,
}

/// What an IOMMU does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum IommuMode {
    /// Nothing.
    Off,
    /// Translates for every device.
    On,
    /// Translates for devices that belong to VMs.
    Passthrough,
}

/// An argument and why it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PlannedArgument {
    /// The argument.
    pub argument: Argument,
    /// As it stands on the command line.
    pub text: String,
    /// Why.
    pub why: String,
}

impl PlannedArgument {
    pub(super) fn new(argument: Argument, why: impl Into<String>) -> Self {
        let params: Vec<String> = argument.params().iter().map(Param::to_string).collect();
        Self {
            argument,
            text: params.join(" "),
            why: why.into(),
        }
    }
}

impl Argument {
    /// Its parameters, in order.
    pub fn params(&self) -> Vec<Param> {
        // The keys are constants and the values hold neither quotes nor control characters: none is refused.
        let one = |key: &str, value: &str| Param::new(key, Some(value)).into_iter().collect();
        match self {
            Self::IsolatedCpus { cpus } => one("isolcpus", &format!("managed_irq,domain,{cpus}")),
            Self::NohzFull { cpus } => one("nohz_full", &cpus.to_string()),
            Self::RcuNocbs { cpus } => one("rcu_nocbs", &cpus.to_string()),
            Self::IrqAffinity { cpus } => one("irqaffinity", &cpus.to_string()),
            Self::Iommu { iommu, mode } => iommu_params(*iommu, *mode)
                .iter()
                .flat_map(|(key, value)| Param::new(key, Some(value)))
                .collect(),
            Self::Mitigations { policy } => match policy {
                Mitigations::Kernel => Vec::new(),
                Mitigations::AutoNosmt => one("mitigations", "auto,nosmt"),
                Mitigations::Off => one("mitigations", "off"),
            },
            Self::PStates { driver, mode } => match mode {
                PStates::Auto => Vec::new(),
                PStates::Active => one(driver, "active"),
                PStates::Passive => one(driver, "passive"),
                PStates::Off => one(driver, "disable"),
            },
            Self::Hugepages { page_size, nodes } => {
                let pool = HugepagePool {
                    page_size: Some(page_size.bytes()),
                    pages: Pages::PerNode(nodes.iter().map(|n| (n.node, n.pages)).collect()),
                };
                pool.params().unwrap_or_default()
            }
        }
    }
}

/// The kernel is built with Intel's translation off and with passthrough as default domain (kernel-config/host).
fn iommu_params(iommu: IommuKind, mode: IommuMode) -> &'static [(&'static str, &'static str)] {
    match (iommu, mode) {
        (IommuKind::Intel, IommuMode::Off) => &[("intel_iommu", "off")],
        (IommuKind::Intel, IommuMode::On) => &[("intel_iommu", "on"), ("iommu", "nopt")],
        (IommuKind::Intel, IommuMode::Passthrough) => &[("intel_iommu", "on"), ("iommu", "pt")],
        (IommuKind::Amd, IommuMode::Off) => &[("amd_iommu", "off")],
        (IommuKind::Virtio, IommuMode::Off) => &[],
        (IommuKind::Amd | IommuKind::Virtio, IommuMode::On) => &[("iommu", "nopt")],
        (IommuKind::Amd | IommuKind::Virtio, IommuMode::Passthrough) => &[("iommu", "pt")],
    }
}
