//! PCI functions, disks and network interfaces.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Acs, PciLink, pci, read};

/// Address of a PCI function, `domain:bus:device.function` as in `0000:01:00.0`.
pub type PciAddress = String;

/// Whether `text` is the address of a PCI function.
pub fn is_pci_address(text: &str) -> bool {
    let parts: Vec<&str> = text.split([':', '.']).collect();
    let [domain, bus, device, function] = parts.as_slice() else {
        return false;
    };
    let separators: String = text.chars().filter(|c| matches!(c, ':' | '.')).collect();
    let is_hex = |part: &str, digits| part.len() == digits && part.bytes().all(|b| b.is_ascii_hexdigit());
    separators == "::." && is_hex(domain, 4) && is_hex(bus, 2) && is_hex(device, 2) && is_hex(function, 1)
}

/// What translates devices' addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum IommuKind {
    /// VT-d (ACPI table DMAR).
    Intel,
    /// AMD-Vi (ACPI table IVRS).
    Amd,
    /// virtio-iommu (ACPI table VIOT).
    Virtio,
}

impl IommuKind {
    pub(super) fn read(root: &Path) -> Option<Self> {
        let tables = root.join("sys/firmware/acpi/tables");
        let kinds = [("DMAR", Self::Intel), ("IVRS", Self::Amd), ("VIOT", Self::Virtio)];
        kinds
            .into_iter()
            .find(|(table, _)| tables.join(table).exists())
            .map(|(_, kind)| kind)
    }
}

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
    /// The physical function, where it is a virtual one.
    #[serde(default)]
    pub physical_function: Option<PciAddress>,
    /// Its link, where it is on PCI Express and has a partner.
    #[serde(default)]
    pub link: Option<PciLink>,
    /// How it can be reset, the kernel's choice first: `flr`, `pm`, `bus`. Without any, what a VM leaves behind stays.
    #[serde(default)]
    pub reset_methods: Vec<String>,
    /// What it keeps from its neighbours, where it can.
    #[serde(default)]
    pub acs: Option<Acs>,
    /// The bridge that it is behind; none where it is on a root bus.
    #[serde(default)]
    pub upstream: Option<PciAddress>,
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
    /// Can be unplugged: it says so itself, or hangs on USB, where many a disk says that it is built in.
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

impl PciDevice {
    /// Reads every function below `/sys/bus/pci/devices`.
    pub(super) fn read_all(root: &Path) -> Vec<Self> {
        let acs = pci::written_acs(root);
        let function = |(address, path): (String, PathBuf)| {
            let id = |name: &str| u16::try_from(read::hex(path.join(name))?).ok();
            let total = read::value(path.join("sriov_totalvfs"));
            let enabled = read::value(path.join("sriov_numvfs")).unwrap_or_default();
            Some(Self {
                vendor: id("vendor")?,
                device: id("device")?,
                class: read::hex(path.join("class")).unwrap_or_default(),
                driver: read::link_name(path.join("driver")),
                // The firmware that says nothing is -1.
                node: read::value(path.join("numa_node")),
                iommu_group: read::link_name(path.join("iommu_group")).and_then(|group| group.parse().ok()),
                sriov: total.filter(|vfs| *vfs > 0).map(|total| Sriov { total, enabled }),
                physical_function: read::link_name(path.join("physfn")),
                link: PciLink::read(&path),
                reset_methods: read::text(path.join("reset_method"))
                    .map(|methods| methods.split_whitespace().map(str::to_owned).collect())
                    .unwrap_or_default(),
                acs: acs.get(&address).copied(),
                upstream: upstream(&path),
                address,
            })
        };
        read::entries(root.join("sys/bus/pci/devices"))
            .into_iter()
            .filter_map(function)
            .collect()
    }
}

/// The directory of a function is in that of its bridge.
fn upstream(function: &Path) -> Option<PciAddress> {
    let path = function.canonicalize().ok()?;
    let above = path.parent()?.file_name()?.to_str()?;
    is_pci_address(above).then(|| above.to_owned())
}

/// The PCI function that `device` hangs on, itself or the nearest one above it, and that function's node.
fn behind(device: &Path, pci: &[PciDevice]) -> (Option<PciAddress>, Option<u32>) {
    let Ok(path) = device.canonicalize() else {
        return (None, None);
    };
    let function = path.components().rev().find_map(|part| {
        let part = part.as_os_str().to_str()?;
        pci.iter().find(|function| function.address == part)
    });
    (function.map(|f| f.address.clone()), function.and_then(|f| f.node))
}

impl Disk {
    /// Reads every whole disk below `/sys/block`.
    ///
    /// What has no device behind it (loop, ram, zram, zvols, device mapper, md) is no disk; neither are optical drives,
    /// eMMC boot areas, and the hidden paths of a multipath NVMe namespace.
    pub(super) fn read_all(root: &Path, pci: &[PciDevice]) -> Vec<Self> {
        let is_disk = |(name, path): &(String, PathBuf)| {
            let other = name.starts_with("sr") || name.starts_with("fd");
            let boot_area = name.starts_with("mmcblk") && name.contains("boot");
            path.join("device").exists() && !other && !boot_area && !read::flag(path.join("hidden"))
        };
        let disks = read::entries(root.join("sys/block")).into_iter().filter(is_disk);
        disks.map(|(name, path)| Self::read(name, &path, pci)).collect()
    }

    fn read(name: String, path: &Path, pci: &[PciDevice]) -> Self {
        let device = path.join("device");
        let kind = match name.as_str() {
            n if n.starts_with("nvme") => DiskKind::Nvme,
            n if n.starts_with("sd") => DiskKind::Scsi,
            n if n.starts_with("vd") => DiskKind::Virtio,
            _ => DiskKind::Other,
        };
        let (function, node) = behind(&device, pci);
        let sectors: u64 = read::value(path.join("size")).unwrap_or_default();
        let sector = |file: &str| read::value(path.join("queue").join(file)).unwrap_or(512);
        Self {
            kind,
            wwid: read::text(path.join("wwid")).or_else(|| read::text(device.join("wwid"))),
            serial: read::text(path.join("serial"))
                .or_else(|| read::text(device.join("serial")))
                .or_else(|| scsi_serial(&device)),
            model: read::text(device.join("model")),
            // sysfs counts 512-byte units whatever the disk's sector.
            size: sectors.saturating_mul(512),
            logical_sector: sector("logical_block_size"),
            physical_sector: sector("physical_block_size"),
            rotational: read::flag(path.join("queue/rotational")),
            removable: read::flag(path.join("removable")) || is_on_usb(&device),
            read_only: read::flag(path.join("ro")),
            pci: function,
            node,
            name,
        }
    }
}

/// Whether a device is below a USB bus: `usb1` (Documentation/driver-api/usb/usb.rst).
fn is_on_usb(device: &Path) -> bool {
    let is_bus = |part: &str| {
        let number = part.strip_prefix("usb");
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let path = device.canonicalize().unwrap_or_default();
    path.components()
        .any(|part| part.as_os_str().to_str().is_some_and(is_bus))
}

/// The unit serial number page of a SCSI device (SPC-5 §7.7.13): a 4-byte header, then ASCII.
fn scsi_serial(device: &Path) -> Option<String> {
    let page = std::fs::read(device.join("vpd_pg80")).ok()?;
    let serial = String::from_utf8_lossy(page.get(4..)?);
    let serial = serial.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!serial.is_empty()).then(|| serial.to_owned())
}

impl Nic {
    /// Reads every interface below `/sys/class/net` that has hardware (virtio included) behind it.
    pub(super) fn read_all(root: &Path, pci: &[PciDevice]) -> Vec<Self> {
        let interfaces = read::entries(root.join("sys/class/net")).into_iter();
        let physical = interfaces.filter(|(_, path)| path.join("device").exists());
        physical
            .map(|(name, path)| {
                let device = path.join("device");
                let (function, node) = behind(&device, pci);
                Self {
                    name,
                    mac: read::text(path.join("address")).unwrap_or_default(),
                    driver: read::link_name(device.join("driver")),
                    // Reading fails while the interface is down.
                    carrier: read::value::<u8>(path.join("carrier")).map(|carrier| carrier == 1),
                    // -1 where the driver does not know.
                    speed_mbps: read::value(path.join("speed")),
                    mtu: read::value(path.join("mtu")).unwrap_or_default(),
                    pci: function,
                    node,
                }
            })
            .collect()
    }
}
