//! The IOMMU, devices that are kept for VMs, network functions that are split.
//!
//! What the node itself needs is not given away unless the operator insists ([`host_use`]): controllers of the disks that it
//! boots from or has its pools on, interfaces by which it is reached, and the last interface of all.

use std::collections::BTreeMap;

use super::{Draft, isolation};
use crate::config::{DeviceChoice, IommuChoice, SriovRule};
use crate::profile::uses::{fits, host_use};
use crate::profile::{Action, Argument, IommuMode};
use crate::topology::{Nic, PciDevice, Topology};

/// Base class of bridges (PCI Code and ID Assignment 1.16, §1.7).
pub(super) const BRIDGE: u32 = 0x06;

pub(super) fn plan(draft: &mut Draft<'_>) {
    iommu(draft);
    let bound = vfio(draft);
    sriov(draft, &bound);
    for (address, forced) in bound {
        let address = address.to_owned();
        draft.action(Action::VfioBind { address, forced }, "kept for VMs");
    }
}

fn iommu(draft: &mut Draft<'_>) {
    let profile = draft.profile();
    let for_vms = !profile.vfio.is_empty() || !profile.sriov.is_empty();
    let needed = !profile.vfio.is_empty() || profile.sriov.iter().any(|rule| rule.vfio);
    let (mode, why) = match profile.iommu.mode {
        IommuChoice::Auto if for_vms => (IommuMode::Passthrough, "devices are given to VMs"),
        IommuChoice::Auto => return,
        IommuChoice::Off => (IommuMode::Off, "as `profile.iommu.mode` says"),
        IommuChoice::On => (
            IommuMode::On,
            "the host's devices reach only the memory they are given",
        ),
        IommuChoice::Passthrough => (
            IommuMode::Passthrough,
            "devices of VMs are translated, the host's cost nothing",
        ),
    };
    if mode == IommuMode::Off && needed {
        let what = if profile.vfio.is_empty() {
            "virtual functions of `profile.sriov`"
        } else {
            "devices of `profile.vfio`"
        };
        let reason = format!("{what} cannot be given to VMs without it");
        draft.refuse("profile.iommu.mode", reason, Some("\"passthrough\"".to_owned()));
        return;
    }
    match draft.topology.iommu {
        Some(iommu) => draft.argument(Argument::Iommu { iommu, mode }, why),
        None if mode == IommuMode::Off => {}
        None if needed || draft.profile().iommu.mode != IommuChoice::Auto => {
            let (key, nearest) = if !draft.profile().vfio.is_empty() {
                ("profile.vfio", "vfio = []")
            } else if needed {
                ("profile.sriov", "vfio = false")
            } else {
                ("profile.iommu.mode", "\"auto\"")
            };
            let reason = "the firmware shows no IOMMU (no ACPI table DMAR, IVRS or VIOT); its setup may have VT-d or \
                          AMD-Vi switched off";
            draft.refuse(key, reason, Some(nearest.to_owned()));
        }
        None => draft.note("the firmware shows no IOMMU: virtual functions cannot be given to VMs"),
    }
}

/// The functions to bind, each with whether the operator insists.
fn vfio<'t>(draft: &mut Draft<'t>) -> BTreeMap<&'t str, bool> {
    let topology = draft.topology;
    let mut bound: BTreeMap<&str, bool> = BTreeMap::new();
    for (index, rule) in draft.profile().vfio.iter().enumerate() {
        let key = format!("profile.vfio[{index}]");
        let chosen: Vec<&PciDevice> = topology
            .pci
            .iter()
            .filter(|f| is_chosen(&rule.device, f))
            .collect();
        if chosen.is_empty() {
            let reason = format!("there is no device `{}`", rule.device);
            draft.refuse(format!("{key}.device"), reason, similar(topology, &rule.device));
        }
        for function in chosen {
            if function.class >> 16 == BRIDGE {
                let reason = format!("{} is a bridge, which cannot be given to a VM", function.address);
                draft.refuse(&key, reason, behind(topology, function));
                continue;
            }
            if !rule.force
                && let Some(use_) = host_use(topology, draft.declaration, function)
            {
                let reason = format!("{} {use_}", function.address);
                draft.refuse(
                    &key,
                    reason,
                    Some("force = true, to give it away all the same".to_owned()),
                );
                continue;
            }
            *bound.entry(&function.address).or_default() |= rule.force;
        }
    }
    last_interface(draft, &bound);
    isolation::check(draft, &bound);
    bound
}

fn is_chosen(choice: &DeviceChoice, function: &PciDevice) -> bool {
    match choice {
        DeviceChoice::Address(address) => function.address == *address,
        DeviceChoice::Id { vendor, device } => (function.vendor, function.device) == (*vendor, *device),
        DeviceChoice::Class(digits) => {
            format!("{:06x}", function.class).starts_with(digits) && function.class >> 16 != BRIDGE
        }
    }
}

/// What is behind a bridge, as rules.
fn behind(topology: &Topology, bridge: &PciDevice) -> Option<String> {
    let below = topology.pci.iter().filter(|function| {
        function.upstream.as_ref() == Some(&bridge.address) && function.class >> 16 != BRIDGE
    });
    let found: Vec<String> = below
        .map(|function| format!("\"{}\"", function.address))
        .collect();
    (!found.is_empty()).then(|| found.join(" or "))
}

/// Devices that could have been meant.
fn similar(topology: &Topology, choice: &DeviceChoice) -> Option<String> {
    let near = |function: &&PciDevice| match choice {
        DeviceChoice::Address(address) => {
            let bus = address.get(..7).unwrap_or_default();
            function.address.starts_with(bus)
        }
        DeviceChoice::Id { vendor, .. } => function.vendor == *vendor,
        DeviceChoice::Class(digits) => {
            let base = digits.get(..2).unwrap_or_default();
            format!("{:06x}", function.class).starts_with(base)
        }
    };
    let found: Vec<String> = topology
        .pci
        .iter()
        .filter(|function| function.class >> 16 != BRIDGE)
        .filter(near)
        .map(|f| format!("\"{}\" ({:04x}:{:04x})", f.address, f.vendor, f.device))
        .collect();
    (!found.is_empty()).then(|| found.join(" or "))
}

/// A node without any interface is out of reach.
fn last_interface(draft: &mut Draft<'_>, bound: &BTreeMap<&str, bool>) {
    let nics = &draft.topology.nics;
    let fate = |nic: &Nic| nic.pci.as_deref().and_then(|address| bound.get(address));
    let given: Vec<&Nic> = nics.iter().filter(|nic| fate(nic).is_some()).collect();
    if given.len() == nics.len() && given.iter().any(|nic| fate(nic) == Some(&false)) {
        let names: Vec<&str> = given.iter().map(|nic| nic.name.as_str()).collect();
        let reason = format!(
            "gives away every network interface ({}), and the node with them",
            names.join(", ")
        );
        draft.refuse(
            "profile.vfio",
            reason,
            Some("force = true, to give them away all the same".to_owned()),
        );
    }
}

fn sriov(draft: &mut Draft<'_>, bound: &BTreeMap<&str, bool>) {
    let topology = draft.topology;
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, rule) in draft.profile().sriov.iter().enumerate() {
        let key = format!("profile.sriov[{index}]");
        let Some((nic, function)) = physical_function(draft, &key, rule) else {
            continue;
        };
        let total = function.sriov.map_or(0, |sriov| sriov.total);
        if let Some(earlier) = taken.insert(&function.address, index) {
            let reason = format!("{} is split by `profile.sriov[{earlier}]` already", nic.name);
            draft.refuse(&key, reason, None);
        } else if bound.contains_key(function.address.as_str()) {
            let reason = format!("{} is given away whole by `profile.vfio`", nic.name);
            draft.refuse(&key, reason, None);
        } else if total == 0 {
            let can: Vec<&str> = topology
                .nics
                .iter()
                .filter(|nic| {
                    let own = topology
                        .pci
                        .iter()
                        .find(|f| nic.pci.as_deref() == Some(&f.address));
                    own.is_some_and(|f| f.sriov.is_some())
                })
                .map(|nic| nic.name.as_str())
                .collect();
            let reason = format!("{} cannot be split (it has no SR-IOV)", nic.name);
            draft.refuse(&key, reason, (!can.is_empty()).then(|| can.join(" or ")));
        } else if rule.vfs > total {
            let reason = format!(
                "{} can have {total} virtual functions, not {}",
                nic.name, rule.vfs
            );
            draft.refuse(format!("{key}.vfs"), reason, Some(total.to_string()));
        } else {
            let action = Action::VirtualFunctions {
                address: function.address.clone(),
                interface: nic.name.clone(),
                vfs: rule.vfs,
                macs: macs(rule),
                vlan: rule.vlan,
                trust: rule.trust,
                vfio: rule.vfio,
            };
            draft.action(
                action,
                "each can be given to a VM, which then reaches the wire by itself",
            );
        }
    }
}

/// The one interface that a rule means, and its function.
fn physical_function<'t>(
    draft: &mut Draft<'t>,
    key: &str,
    rule: &SriovRule,
) -> Option<(&'t Nic, &'t PciDevice)> {
    let topology = draft.topology;
    let found: Vec<(&Nic, &PciDevice)> = topology
        .nics
        .iter()
        .filter(|nic| fits(&rule.r#match, nic))
        .filter_map(|nic| {
            let function = topology
                .pci
                .iter()
                .find(|f| nic.pci.as_deref() == Some(&f.address))?;
            Some((nic, function))
        })
        .collect();
    if let [one] = found.as_slice() {
        return Some(*one);
    }
    let names = |nics: &mut dyn Iterator<Item = &'t Nic>| {
        let names: Vec<&str> = nics.map(|nic| nic.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(" or "))
    };
    let (reason, nearest) = if found.is_empty() {
        (
            "no interface on PCI fits".to_owned(),
            names(&mut topology.nics.iter()),
        )
    } else {
        let fitting = names(&mut found.iter().map(|(nic, _)| *nic));
        (format!("{} interfaces fit; one is meant", found.len()), fitting)
    };
    draft.refuse(format!("{key}.match"), reason, nearest);
    None
}

/// Addresses that count up from the first.
fn macs(rule: &SriovRule) -> Vec<String> {
    let Some(mac) = &rule.mac else {
        return Vec::new();
    };
    let first = u64::from_str_radix(&mac.replace(':', ""), 16).unwrap_or_default();
    let address = |n: u32| {
        let [_, _, bytes @ ..] = (first.wrapping_add(u64::from(n))).to_be_bytes();
        bytes.map(|byte| format!("{byte:02x}")).join(":")
    };
    (0..rule.vfs).map(address).collect()
}
