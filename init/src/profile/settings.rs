//! Switches and settings: a value in a file.

use axion_core::profile::sysctl_file;
use axion_core::topology::CpuSet;

use super::{ActionError, Files};

pub(super) fn smt(node: &Files<'_>, on: bool) -> Result<(), ActionError> {
    const FILE: &str = "/sys/devices/system/cpu/smt/control";
    let control = node.text(FILE).unwrap_or_else(|| "notimplemented".to_owned());
    let wanted = if on { "on" } else { "off" };
    match (control.as_str(), on) {
        ("on" | "off", _) if control == wanted => Ok(()),
        ("on" | "off", _) => node.set(FILE, wanted),
        (_, false) => Ok(()),
        (_, true) => Err(ActionError::Smt { wanted, control }),
    }
}

/// A kernel without the feature has no such file.
pub(super) fn off_where_present(node: &Files<'_>, file: &str) -> Result<(), ActionError> {
    match node.text(file) {
        None => Ok(()),
        Some(value) if value == "0" => Ok(()),
        Some(_) => node.set(file, "0"),
    }
}

pub(super) fn sysctl(node: &Files<'_>, name: &str, value: &str) -> Result<(), ActionError> {
    let file = sysctl_file(name).ok_or_else(|| ActionError::Setting(name.to_owned()))?;
    node.set(&file, value)
}

pub(super) fn transparent_hugepages(node: &Files<'_>, policy: &str) -> Result<(), ActionError> {
    const FILE: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
    if policy == "never" && !node.exists(FILE) {
        return Ok(());
    }
    node.set(FILE, policy)
}

/// A file of each CPU that is online; the first that is refused is named, the others are written all the same.
pub(super) fn per_cpu(node: &Files<'_>, cpus: &CpuSet, file: &str, value: &str) -> Result<(), ActionError> {
    let online = node
        .text("/sys/devices/system/cpu/online")
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| cpus.clone());
    let write = |cpu| node.set(&format!("/sys/devices/system/cpu/cpu{cpu}/{file}"), value);
    let results: Vec<_> = cpus.intersection(&online).iter().map(write).collect();
    results.into_iter().collect()
}

/// A parameter of a module that is loaded; one that is not gets it when it is.
pub(super) fn parameter(
    node: &Files<'_>,
    module: &str,
    name: &str,
    value: &str,
    live: bool,
) -> Result<(), ActionError> {
    let directory = format!("/sys/module/{}", module.replace('-', "_"));
    let file = format!("{directory}/parameters/{name}");
    match node.text(&file) {
        _ if !node.exists(&directory) => Ok(()),
        Some(effective) if effective == value => Ok(()),
        Some(effective) if !live => Err(ActionError::Parameter {
            module: module.to_owned(),
            name: name.to_owned(),
            value: effective,
        }),
        _ => node.set(&file, value),
    }
}
