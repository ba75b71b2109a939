//! PCI functions.

use axion_api::host::Device;
use axion_core::topology::{Acs, PciLink};

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, fields, or_dash};

/// The driver of a function that is kept for VMs.
const VFIO: &str = "vfio-pci";

/// Every function.
pub fn list(devices: &[Device], style: &Style) -> String {
    let mut table = Table::new([
        left("ADDRESS"),
        left("ID"),
        shrinking("CLASS"),
        right("NODE"),
        right("GROUP"),
        shrinking("DRIVER"),
        left("LINK"),
        right("VFS"),
        shrinking("CARRIES"),
    ]);
    for device in devices {
        let function = &device.function;
        let driver = function.driver.as_deref().unwrap_or("-");
        let tone = if driver == VFIO { Tone::Good } else { Tone::Plain };
        table.row([
            (&function.address).into(),
            id(device).into(),
            (&device.class_name).into(),
            or_dash(function.node).into(),
            or_dash(function.iommu_group).into(),
            Cell::new(driver, tone),
            or_dash(function.link.map(|link| lanes(link.width, link.speed_mts))).into(),
            or_dash(
                function
                    .sriov
                    .map(|sriov| format!("{}/{}", sriov.enabled, sriov.total)),
            )
            .into(),
            device.carries.join(",").into(),
        ]);
    }
    table.render(style)
}

/// One function, with all that is known.
pub fn show(device: &Device, style: &Style) -> String {
    let function = &device.function;
    let names = |names: &[String]| {
        if names.is_empty() {
            "-".to_owned()
        } else {
            names.join(", ")
        }
    };
    let resets = if function.reset_methods.is_empty() {
        "none: what a VM leaves in it stays".to_owned()
    } else {
        function.reset_methods.join(", ")
    };
    let rows = [
        ("Address", function.address.clone()),
        ("Id", id(device)),
        ("Class", format!("{} ({:06x})", device.class_name, function.class)),
        ("Driver", or_dash(function.driver.as_ref())),
        ("NUMA node", or_dash(function.node)),
        ("IOMMU group", or_dash(function.iommu_group)),
        ("Goes with", names(&device.goes_with)),
        ("Carries", names(&device.carries)),
        (
            "Link",
            function.link.as_ref().map_or_else(|| "-".to_owned(), link),
        ),
        (
            "Virtual functions",
            function.sriov.map_or_else(
                || "-".to_owned(),
                |sriov| format!("{} of {}", sriov.enabled, sriov.total),
            ),
        ),
        ("Function of", or_dash(function.physical_function.as_ref())),
        ("Resets", resets),
        ("Access control", access_control(function.acs)),
    ];
    fields(&rows, style)
}

fn id(device: &Device) -> String {
    format!("{:04x}:{:04x}", device.function.vendor, device.function.device)
}

/// `x16 8.0`: lanes and GT/s.
fn lanes(width: u32, speed_mts: u32) -> String {
    format!("x{width} {}.{}", speed_mts / 1000, speed_mts % 1000 / 100)
}

fn link(link: &PciLink) -> String {
    let now = lanes(link.width, link.speed_mts);
    if link.is_reduced() {
        format!(
            "{now} GT/s, of {} GT/s",
            lanes(link.max_width, link.max_speed_mts)
        )
    } else {
        format!("{now} GT/s")
    }
}

fn access_control(acs: Option<Acs>) -> String {
    match acs {
        None => "none".to_owned(),
        Some(acs) if acs.isolates() => "on: what is behind it reaches the IOMMU only".to_owned(),
        Some(acs) => format!("not on (can {:#04x}, does {:#04x})", acs.capable, acs.enabled),
    }
}

#[cfg(test)]
mod tests;
