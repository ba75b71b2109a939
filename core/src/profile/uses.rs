//! What the host does with its disks and interfaces, so that a plan keeps it.
//!
//! ```text
//! the config says   boot volume, disks of `storage.pools`, `network.interfaces` or DHCP on every interface
//! the node shows    the running slot, pools on disks, addresses that are in use             ([`HostUses`])
//! ```
//! The first is known to every plan. The second is found by whoever plans on the node itself: init before it binds
//! anything, and for previews.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Declaration;
use crate::config::{DiskChoice, InterfaceMatch};
use crate::topology::{Disk, Nic, PciDevice, Topology};

/// Base class and subclass of Ethernet controllers (PCI Code and ID Assignment 1.16, §1.3).
const ETHERNET: u32 = 0x0200;

/// What a node does with its hardware, beyond what its config says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostUses {
    /// Disks.
    pub disks: Vec<DiskUse>,
    /// Interfaces.
    pub interfaces: Vec<InterfaceUse>,
}

/// What a disk holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskUse {
    /// Kernel name of the whole disk: `nvme0n1`.
    pub disk: String,
    /// What it holds.
    pub holding: Holding,
}

/// What a disk can hold that the node needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holding {
    /// The installation that the node was started from.
    RunningSlot,
    /// A part of a pool that the node has, or imports at its start.
    Pool(String),
}

/// An address that an interface carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceUse {
    /// Kernel name: `eth0`.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
}

/// How the host uses a PCI function, in words that follow its address; `None` where nothing is known of it.
pub fn host_use(topology: &Topology, declaration: &Declaration, function: &PciDevice) -> Option<String> {
    let behind = |pci: &Option<String>| pci.as_deref() == Some(&function.address);
    let mut disks = topology.disks.iter().filter(|disk| behind(&disk.pci));
    let mut nics = topology.nics.iter().filter(|nic| behind(&nic.pci));
    disks
        .find_map(|disk| disk_use(declaration, disk))
        .or_else(|| declared_slot(declaration, function))
        .or_else(|| nics.find_map(|nic| interface_use(declaration, function, nic)))
}

fn disk_use(declaration: &Declaration, disk: &Disk) -> Option<String> {
    let controller = |what: &str| format!("is the controller of {}, which {what}", disk.name);
    if declaration
        .boot_devices
        .iter()
        .any(|device| is_part_of(device, &disk.name))
    {
        return Some(controller("the node boots from"));
    }
    let held = declaration.uses.disks.iter().find(|held| held.disk == disk.name);
    if let Some(held) = held {
        return Some(match &held.holding {
            Holding::RunningSlot => controller("holds the running slot"),
            Holding::Pool(pool) => controller(&format!("holds pool {pool}")),
        });
    }
    let rule = declaration
        .pools
        .iter()
        .find(|rule| rule.disks.iter().any(|choice| choice.fits(disk)))?;
    Some(controller(&format!(
        "is declared for pool {} (`storage.pools`)",
        rule.name
    )))
}

/// A pool's disk by its slot is known before it has shown itself.
fn declared_slot(declaration: &Declaration, function: &PciDevice) -> Option<String> {
    let slot = DiskChoice::Pci(function.address.clone());
    let rule = declaration.pools.iter().find(|rule| rule.disks.contains(&slot))?;
    Some(format!("is declared for pool {} (`storage.pools`)", rule.name))
}

fn interface_use(declaration: &Declaration, function: &PciDevice, nic: &Nic) -> Option<String> {
    let own = &declaration.network.interfaces;
    if own.iter().any(|interface| fits(&interface.r#match, nic)) {
        return Some(format!("is {}, which `network.interfaces` configures", nic.name));
    }
    let carries = |used: &&InterfaceUse| used.interface == nic.name;
    if let Some(used) = declaration.uses.interfaces.iter().find(carries) {
        return Some(format!(
            "is {}, which carries {}, by which the node is reached",
            nic.name, used.address
        ));
    }
    // Which of them will have the node's address is known only once the network is up.
    let asked = own.is_empty() && function.class >> 8 == ETHERNET;
    asked.then(|| {
        format!(
            "is {}, on which the node asks for its address, as on every interface while `network.interfaces` names none",
            nic.name
        )
    })
}

/// Whether `/dev/sda1` or `/dev/nvme0n1p1` is the disk or a partition of it.
fn is_part_of(device: &str, disk: &str) -> bool {
    let rest = device.trim_start_matches("/dev/").strip_prefix(disk);
    rest.is_some_and(|rest| rest.trim_start_matches('p').bytes().all(|b| b.is_ascii_digit()))
}

/// Whether `nic` is an interface that is meant.
pub(super) fn fits(wanted: &InterfaceMatch, nic: &Nic) -> bool {
    let same = |wanted: &Option<String>, is: &str| {
        wanted
            .as_deref()
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(is))
    };
    same(&wanted.name, &nic.name)
        && same(&wanted.mac, &nic.mac)
        && same(&wanted.pci, nic.pci.as_deref().unwrap_or_default())
}
