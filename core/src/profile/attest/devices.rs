//! Interrupts, bound drivers, virtual functions.

use std::os::unix::fs::PermissionsExt;

use super::{Finding, Probe};
use crate::topology::{CpuSet, read};

/// Interrupts that are neither where they belong nor can be moved are named at most so many times.
const NAMED: usize = 8;
/// Base class of bridges (PCI Code and ID Assignment 1.16, §1.7).
const BRIDGE: u32 = 0x06;

/// Where interrupts go. One whose file is read-only is managed by the kernel, a vector for each CPU, or wired to one CPU
/// (timers): it is counted and no drift.
pub(super) fn interrupts(probe: &Probe<'_>, wanted: &CpuSet) -> Finding {
    let directories = read::numbered(probe.path("/proc/irq"), "");
    let default = probe.text("/proc/irq/default_smp_affinity");
    let Some(default) = default.as_deref().and_then(CpuSet::from_mask) else {
        return Finding::impossible("not in this kernel", "the kernel does not show its interrupts");
    };
    let (mut there, mut fixed, mut astray) = (0usize, Vec::new(), Vec::new());
    for (irq, directory) in directories {
        let file = directory.join("smp_affinity_list");
        // What is effective counts: the kernel may aim at one CPU of a larger set. One that was moved while it was quiet
        // keeps its old aim until it occurs once more, and is then where it may be.
        let aimed = read::value::<CpuSet>(directory.join("effective_affinity_list"));
        let allowed = read::value::<CpuSet>(&file);
        let moved = allowed.as_ref().is_some_and(|cpus| cpus.is_subset(wanted));
        let Some(cpus) = aimed.filter(|cpus| !cpus.is_empty()).or(allowed) else {
            continue;
        };
        if moved || cpus.is_subset(wanted) {
            there += 1;
        } else if std::fs::metadata(&file).is_ok_and(|file| file.permissions().mode() & 0o222 == 0) {
            fixed.push(irq);
        } else {
            astray.push(irq);
        }
    }
    let mut text = format!("{there} there");
    if !fixed.is_empty() {
        text.push_str(&format!("; managed or immovable elsewhere: {}", named(&fixed)));
    }
    if !astray.is_empty() {
        text.push_str(&format!("; astray: {}", named(&astray)));
        return Finding::drifted(
            text,
            format!("write /proc/irq/N/smp_affinity_list of {}", named(&astray)),
        );
    }
    if !default.is_subset(wanted) {
        text.push_str(&format!("; new ones on {default}"));
        return Finding::drifted(text, "write /proc/irq/default_smp_affinity");
    }
    Finding::ok(text)
}

fn named(irqs: &[u32]) -> String {
    let list: CpuSet = irqs.iter().copied().take(NAMED).collect();
    match irqs.len().saturating_sub(NAMED) {
        0 => list.to_string(),
        more => format!("{list} and {more} more"),
    }
}

pub(super) fn virtual_functions(probe: &Probe<'_>, address: &str, wanted: u32, for_vms: bool) -> Finding {
    let file = format!("/sys/bus/pci/devices/{address}/sriov_numvfs");
    match probe.text(&file).and_then(|text| text.parse::<u32>().ok()) {
        None if probe.exists(&format!("/sys/bus/pci/devices/{address}")) => Finding::impossible(
            "no SR-IOV",
            "its driver, or the firmware's setup, has SR-IOV switched off",
        ),
        None => Finding::impossible("no such device", "the device is gone; look at its slot"),
        Some(0) => Finding::drifted("none", format!("write {wanted} to {file}")),
        Some(vfs) if vfs == wanted && for_vms => kept_functions(probe, address, wanted),
        Some(vfs) if vfs == wanted => Finding::ok(format!("{vfs} VFs")),
        Some(vfs) => Finding::drifted(format!("{vfs} VFs"), format!("write 0, then {wanted} to {file}")),
    }
}

/// Whether the virtual functions of `address` are with vfio-pci.
fn kept_functions(probe: &Probe<'_>, address: &str, vfs: u32) -> Finding {
    let mut astray = Vec::new();
    for vf in 0..vfs {
        let function = format!("/sys/bus/pci/devices/{address}/virtfn{vf}");
        if read::link_name(probe.path(&format!("{function}/iommu_group"))).is_none() {
            let fix = "reboot with the IOMMU on (`profile.iommu.mode`)";
            return Finding::needs_reboot(format!("{vfs} VFs, VF {vf} in no IOMMU group"), fix);
        }
        match read::link_name(probe.path(&format!("{function}/driver"))) {
            Some(driver) if driver == "vfio-pci" => {}
            other => astray.push(format!(
                "VF {vf} with {}",
                other.unwrap_or_else(|| "no driver".to_owned())
            )),
        }
    }
    if astray.is_empty() {
        Finding::ok(format!("{vfs} VFs for VMs"))
    } else {
        Finding::drifted(
            format!("{vfs} VFs, {}", astray.join(", ")),
            "bind them to vfio-pci",
        )
    }
}

/// A group with a function that a driver of the host has cannot be given to a VM (Documentation/driver-api/vfio.rst); a bridge's
/// own driver does no harm.
fn in_group(probe: &Probe<'_>, device: &str, address: &str, group: &str) -> Finding {
    let functions = read::entries(probe.path(&format!("{device}/iommu_group/devices")));
    let (mut with, mut held) = (Vec::new(), Vec::new());
    for (function, path) in functions.into_iter().filter(|(function, _)| function != address) {
        let is_bridge = read::hex(path.join("class")).is_some_and(|class| class >> 16 == BRIDGE);
        match read::link_name(path.join("driver")) {
            _ if is_bridge => {}
            Some(driver) if driver != "vfio-pci" => held.push(format!("{function} ({driver})")),
            _ => with.push(function),
        }
    }
    if !held.is_empty() {
        let held = held.join(", ");
        return Finding::impossible(
            format!("vfio-pci, group {group}, which {held} is in"),
            "give what is in the group away as well (`profile.vfio`): its functions reach each other",
        );
    }
    let with = if with.is_empty() {
        String::new()
    } else {
        format!(" with {}", with.join(", "))
    };
    Finding::ok(format!("vfio-pci, group {group}{with}"))
}

pub(super) fn vfio(probe: &Probe<'_>, address: &str) -> Finding {
    let device = format!("/sys/bus/pci/devices/{address}");
    if !probe.exists(&device) {
        return Finding::impossible("no such device", "the device is gone; look at its slot");
    }
    let driver = read::link_name(probe.path(&format!("{device}/driver")));
    let group = read::link_name(probe.path(&format!("{device}/iommu_group")));
    match (driver, group) {
        (Some(driver), Some(group)) if driver == "vfio-pci" => in_group(probe, &device, address, &group),
        (_, None) => Finding::needs_reboot(
            "in no IOMMU group",
            "reboot with the IOMMU on (`profile.iommu.mode`)",
        ),
        (Some(driver), Some(_)) => Finding::drifted(driver, "bind it to vfio-pci"),
        (None, Some(_)) => Finding::drifted("no driver", "bind it to vfio-pci"),
    }
}
