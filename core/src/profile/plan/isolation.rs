//! Whether a device that is given away is alone: what shares its IOMMU group, and which bridge is to blame.
//!
//! Functions of a group reach each other without the IOMMU. The kernel puts them together where something above them, or
//! themselves, may pass a transaction on that it should send up: a bridge without Access Control Services, or with them
//! switched off (drivers/iommu/iommu.c, `pci_device_group`).

use std::collections::BTreeMap;

use super::Draft;
use super::device::BRIDGE;
use crate::topology::{PciDevice, Topology};

/// Functions of one IOMMU group go together or not at all. What is not alone is noted.
pub(super) fn check(draft: &mut Draft<'_>, bound: &BTreeMap<&str, bool>) {
    let topology = draft.topology;
    let is_bound = |function: &&PciDevice| bound.contains_key(function.address.as_str());
    for function in topology.pci.iter().filter(is_bound) {
        let breaker = breaker(topology, function);
        let Some(group) = function.iommu_group else {
            foretell(draft, function, breaker);
            continue;
        };
        let others: Vec<&PciDevice> = devices(topology)
            .filter(|other| other.iommu_group == Some(group) && other.address != function.address)
            .collect();
        let because = breaker
            .map(|bridge| format!(": {}", blame(bridge)))
            .unwrap_or_default();
        let apart: Vec<&PciDevice> = others.iter().copied().filter(|other| !is_bound(other)).collect();
        if !apart.is_empty() {
            let rules: Vec<String> = apart
                .iter()
                .map(|other| format!("{{ device = \"{}\" }}", other.address))
                .collect();
            let reason = format!(
                "{} shares IOMMU group {group} with {}, which are not given away with it{because}",
                function.address,
                named(&apart)
            );
            let nearest = format!("these too: {}", rules.join(", "));
            draft.refuse("profile.vfio", reason, Some(nearest));
        } else if !others.is_empty() {
            draft.note(format!(
                "{} shares IOMMU group {group} with {}: they reach each other, and go to one VM together{because}",
                function.address,
                named(&others)
            ));
        }
    }
}

/// What will be of a device whose group is not known, as the IOMMU is off.
fn foretell(draft: &mut Draft<'_>, function: &PciDevice, breaker: Option<&PciDevice>) {
    let topology = draft.topology;
    let Some(bridge) = breaker else { return };
    let behind: Vec<&PciDevice> = devices(topology)
        .filter(|other| other.address != function.address)
        .filter(|other| above(topology, other).any(|upper| upper.address == bridge.address))
        .collect();
    if !behind.is_empty() {
        draft.note(format!(
            "{} will share its IOMMU group with {}: {}",
            function.address,
            named(&behind),
            blame(bridge)
        ));
    }
}

fn devices(topology: &Topology) -> impl Iterator<Item = &PciDevice> {
    topology
        .pci
        .iter()
        .filter(|function| function.class >> 16 != BRIDGE)
}

/// The bridges above a function, the nearest first.
fn above<'t>(topology: &'t Topology, function: &'t PciDevice) -> impl Iterator<Item = &'t PciDevice> {
    let bridge = |below: &&'t PciDevice| {
        let address = below.upstream.as_ref()?;
        topology.pci.iter().find(|upper| upper.address == *address)
    };
    // Not more levels than there are buses: what sysfs says is a tree, what a client sends need not be.
    std::iter::successors(bridge(&function), move |below| bridge(below)).take(256)
}

/// The nearest bridge that does not send everything to the IOMMU; none where nothing is known of access control.
fn breaker<'t>(topology: &'t Topology, function: &'t PciDevice) -> Option<&'t PciDevice> {
    let known = topology.pci.iter().any(|function| function.acs.is_some());
    let lets_through = |bridge: &&PciDevice| !bridge.acs.is_some_and(|acs| acs.isolates());
    above(topology, function).filter(|_| known).find(lets_through)
}

fn blame(bridge: &PciDevice) -> String {
    let lack = match bridge.acs {
        None => "has no access control (ACS)",
        Some(_) => "has access control (ACS) switched off",
    };
    format!("the bridge {} above {lack}", bridge.address)
}

fn named(functions: &[&PciDevice]) -> String {
    let addresses: Vec<&str> = functions
        .iter()
        .map(|function| function.address.as_str())
        .collect();
    addresses.join(", ")
}
