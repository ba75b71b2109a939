//! What a PCI function can do: its link, its resets, what it keeps from its neighbours; names of classes.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::PciAddress;
use super::read;
use crate::paths;

/// A PCI Express link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PciLink {
    /// Speed now, millions of transfers a second: 8000 is 8 GT/s.
    pub speed_mts: u32,
    /// Lanes now.
    pub width: u32,
    /// Highest speed, millions of transfers a second.
    pub max_speed_mts: u32,
    /// Most lanes.
    pub max_width: u32,
}

impl PciLink {
    /// The link of the function at `path`; none where there is none, or no cable, card or partner.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let speed = |file: &str| megatransfers(&read::text(path.join(file))?);
        // 0 and 255 are how the kernel says that it does not know.
        let width = |file: &str| read::value::<u32>(path.join(file)).filter(|width| (1..=64).contains(width));
        Some(Self {
            speed_mts: speed("current_link_speed")?,
            width: width("current_link_width")?,
            max_speed_mts: speed("max_link_speed")?,
            max_width: width("max_link_width")?,
        })
    }

    /// Whether it is slower than both ends could be as far as this function knows.
    pub const fn is_reduced(&self) -> bool {
        self.speed_mts < self.max_speed_mts || self.width < self.max_width
    }
}

/// `8.0 GT/s PCIe`.
fn megatransfers(text: &str) -> Option<u32> {
    let number = text.split_whitespace().next()?;
    let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
    let tenths: u32 = tenths.get(..1)?.parse().ok()?;
    Some(whole.parse::<u32>().ok()?.checked_mul(1000)? + tenths * 100)
}

/// Access Control Services: what a bridge or a function of several keeps from reaching its neighbours without the IOMMU
/// (PCI Express Base 6.0, §7.7.11). Bits as in the registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Acs {
    /// ACS Capability Register: what it can do.
    pub capable: u16,
    /// ACS Control Register: what is switched on.
    pub enabled: u16,
}

/// Source Validation, P2P Request Redirect, P2P Completion Redirect, Upstream Forwarding.
const ISOLATING: u16 = 0b1_1101;
/// Id of the capability (PCI Code and ID Assignment 1.16, §3).
const ACS_ID: u32 = 0x000d;
/// Where extended capabilities begin in the configuration space.
const EXTENDED: usize = 0x100;
/// More capabilities than fit: the list is a loop.
const MOST_CAPABILITIES: usize = (0x1000 - EXTENDED) / 8;

impl Acs {
    /// Whether it sends everything to the IOMMU, so that what is behind it needs no common group.
    pub const fn isolates(&self) -> bool {
        self.enabled & ISOLATING == ISOLATING
    }

    /// Finds it in a function's configuration space. `None` where the function has none, or only the part is there that
    /// everyone may read.
    pub fn of_config_space(config: &[u8]) -> Option<Self> {
        let half = |at: usize| Some(u16::from_le_bytes(config.get(at..at + 2)?.try_into().ok()?));
        let word = |at: usize| Some(u32::from_le_bytes(config.get(at..at + 4)?.try_into().ok()?));
        let mut at = EXTENDED;
        for _ in 0..MOST_CAPABILITIES {
            let header = word(at)?;
            if header == 0 || header == u32::MAX {
                return None;
            }
            if header & 0xffff == ACS_ID {
                return Some(Self {
                    capable: half(at + 4)?,
                    enabled: half(at + 6)?,
                });
            }
            at = usize::try_from(header >> 20).ok()? & !3;
            if at < EXTENDED {
                return None;
            }
        }
        None
    }
}

/// ACS of every function by its configuration space, which only root may read whole.
pub fn read_acs(root: &Path) -> BTreeMap<PciAddress, Acs> {
    let functions = read::entries(root.join("sys/bus/pci/devices")).into_iter();
    functions
        .filter_map(|(address, path)| {
            let config = std::fs::read(path.join("config")).ok()?;
            Some((address, Acs::of_config_space(&config)?))
        })
        .collect()
}

/// What [`read_acs`] found, for those who may not: a line for each function.
pub fn write_acs(found: &BTreeMap<PciAddress, Acs>) -> String {
    let line = |(address, acs): (&PciAddress, &Acs)| format!("{address} {} {}\n", acs.capable, acs.enabled);
    found.iter().map(line).collect()
}

/// What init wrote down below `root`.
pub(super) fn written_acs(root: &Path) -> BTreeMap<PciAddress, Acs> {
    let text = read::text(root.join(paths::PCI_ACS.trim_start_matches('/'))).unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split(' ');
        let address = words.next()?.to_owned();
        let (capable, enabled) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((address, Acs { capable, enabled }))
    };
    text.lines().filter_map(line).collect()
}

/// Name of a class code (base class, subclass, programming interface), by PCI Code and ID Assignment 1.16, §1.
pub fn class_name(class: u32) -> &'static str {
    match (class >> 16 & 0xff, class >> 8 & 0xff) {
        (0x01, 0x00) => "SCSI controller",
        (0x01, 0x01) => "IDE controller",
        (0x01, 0x04) => "RAID controller",
        (0x01, 0x06) => "SATA controller",
        (0x01, 0x07) => "SAS controller",
        (0x01, 0x08) => "NVMe controller",
        (0x01, _) => "storage controller",
        (0x02, 0x00) => "Ethernet controller",
        (0x02, 0x07) => "InfiniBand controller",
        (0x02, _) => "network controller",
        (0x03, 0x00) => "VGA controller",
        (0x03, 0x02) => "3D controller",
        (0x03, _) => "display controller",
        (0x04, _) => "multimedia device",
        (0x05, _) => "memory controller",
        (0x06, 0x00) => "host bridge",
        (0x06, 0x01) => "ISA bridge",
        (0x06, 0x04) => "PCI bridge",
        (0x06, _) => "bridge",
        (0x07, 0x00) => "serial controller",
        (0x07, _) => "communication controller",
        (0x08, 0x06) => "IOMMU",
        (0x08, _) => "system peripheral",
        (0x09, _) => "input controller",
        (0x0b, 0x40) => "co-processor",
        (0x0b, _) => "processor",
        (0x0c, 0x03) => "USB controller",
        (0x0c, 0x05) => "SMBus",
        (0x0c, _) => "serial bus controller",
        (0x0d, _) => "wireless controller",
        (0x10, _) => "encryption controller",
        (0x11, _) => "signal processing controller",
        (0x12, _) => "processing accelerator",
        (0x13, _) => "instrumentation",
        _ => "device",
    }
}
