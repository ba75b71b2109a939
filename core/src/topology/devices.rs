//! PCI functions, disks and network interfaces.

use serde::{Deserialize, Serialize};

/// Address of a PCI function, `domain:bus:device.function` as in `0000:01:00.0`.
pub type PciAddress = String;

/// One PCI function.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PciDevice {
    /// Where it is.
    pub address: PciAddress,
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Class code: base class, subclass, programming interface.
    pub class: u32,
    /// Driver bound to it.
    pub driver: Option<String>,
    /// NUMA node it is attached to, where the firmware says.
    pub node: Option<u32>,
    /// IOMMU group.
    pub iommu_group: Option<u32>,
    /// Virtual functions, where it can have them.
    pub sriov: Option<Sriov>,
}

/// SR-IOV state of a physical function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Sriov {
    /// Virtual functions it can have.
    pub total: u32,
    /// Virtual functions it has now.
    pub enabled: u32,
}

/// What a disk is attached by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DiskKind {
    /// NVMe namespace.
    Nvme,
    /// SATA, SAS or USB, through the SCSI layer.
    Scsi,
    /// virtio-blk.
    Virtio,
    /// Anything else.
    #[default]
    Other,
}

/// One whole disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Disk {
    /// Kernel name, `nvme0n1`. Not stable: identify a disk by `wwid` or `serial`.
    pub name: String,
    /// How it is attached.
    pub kind: DiskKind,
    /// World-wide identifier.
    pub wwid: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Capacity, bytes.
    pub size: u64,
    /// Logical sector, bytes.
    pub logical_sector: u32,
    /// Physical sector, bytes.
    pub physical_sector: u32,
    /// Spinning.
    pub rotational: bool,
    /// Can be unplugged by its bus's own word (USB sticks).
    pub removable: bool,
    /// Write-protected.
    pub read_only: bool,
    /// PCI function it hangs on.
    pub pci: Option<PciAddress>,
    /// NUMA node.
    pub node: Option<u32>,
}

/// One network interface with hardware behind it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Nic {
    /// Kernel name.
    pub name: String,
    /// MAC address.
    pub mac: String,
    /// Driver.
    pub driver: Option<String>,
    /// Whether a cable with a partner is there; `None` while the interface is down.
    pub carrier: Option<bool>,
    /// Mbit/s, where the link is up and the driver knows.
    pub speed_mbps: Option<u32>,
    /// MTU, bytes.
    pub mtu: u32,
    /// PCI function it is.
    pub pci: Option<PciAddress>,
    /// NUMA node.
    pub node: Option<u32>,
}
