//! What the machine is made of, read from `/sys` and `/proc` below an injected root.
//!
//! Reading never fails as a whole: a file that is missing or malformed leaves its field empty, because an inventory
//! with a hole is of more use at 3 a.m. than none.

mod cpu;
mod devices;
mod memory;
mod pci;
mod platform;
pub(crate) mod read;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use cpu::{Cpu, CpuModel, CpuSet, CpuSetError, SmtState};
pub use devices::{Disk, DiskKind, IommuKind, Nic, PciAddress, PciDevice, Sriov, is_pci_address};
pub use memory::{Hugepages, NumaNode};
pub use pci::{Acs, PciLink, class_name, read_acs, write_acs};
pub use platform::Platform;

/// Everything known about the machine's hardware.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Topology {
    /// What the firmware calls the machine.
    #[serde(default)]
    pub platform: Platform,
    /// Processor model.
    pub cpu_model: CpuModel,
    /// Online and offline CPUs, by number.
    pub cpus: Vec<Cpu>,
    /// NUMA nodes, by number.
    pub nodes: Vec<NumaNode>,
    /// What translates devices' addresses, as the firmware's tables say, switched on or not.
    #[serde(default)]
    pub iommu: Option<IommuKind>,
    /// PCI functions, by address.
    pub pci: Vec<PciDevice>,
    /// Whole disks, by name.
    pub disks: Vec<Disk>,
    /// Network interfaces that have hardware behind them, by name.
    pub nics: Vec<Nic>,
}

impl Topology {
    /// Reads `/sys` and `/proc` below `root` (`/` on a running node).
    pub fn read(root: &std::path::Path) -> Self {
        let nodes = NumaNode::read_all(root);
        let pci = PciDevice::read_all(root);
        Self {
            platform: Platform::read(root),
            cpu_model: CpuModel::read(root),
            cpus: Cpu::read_all(root, &nodes),
            disks: Disk::read_all(root, &pci),
            nics: Nic::read_all(root, &pci),
            iommu: IommuKind::read(root),
            nodes,
            pci,
        }
    }
}
