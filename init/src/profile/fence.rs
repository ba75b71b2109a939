//! Who runs on which CPU: interrupts, the kernel's background work, cgroups.

use std::os::unix::fs::PermissionsExt;

use axion_core::profile::PartitionKind;
use axion_core::topology::CpuSet;

use super::{ActionError, Files};

const IRQS: &str = "/proc/irq";

/// Moves every interrupt that can be moved, and says where new ones go. One whose file is read-only is managed by the
/// kernel, or wired to one CPU.
pub(super) fn interrupts(node: &Files<'_>, cpus: &CpuSet) -> Result<(), ActionError> {
    node.set(&format!("{IRQS}/default_smp_affinity"), &cpus.mask())?;
    let mut stay = CpuSet::default();
    for irq in numbers(node) {
        let file = format!("{IRQS}/{irq}/smp_affinity_list");
        let Some(allowed) = node.text(&file).and_then(|text| text.parse::<CpuSet>().ok()) else {
            continue;
        };
        let movable = std::fs::metadata(node.path(&file)).is_ok_and(|f| f.permissions().mode() & 0o222 != 0);
        if movable && !allowed.is_subset(cpus) && node.set(&file, &cpus.to_string()).is_err() {
            stay = stay.union(&CpuSet::from_iter([irq]));
        }
    }
    if stay.is_empty() {
        Ok(())
    } else {
        Err(ActionError::Interrupts(stay.to_string()))
    }
}

fn numbers(node: &Files<'_>) -> Vec<u32> {
    let entries = std::fs::read_dir(node.path(IRQS)).into_iter().flatten().flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

pub(super) fn workqueues(node: &Files<'_>, cpus: &CpuSet) -> Result<(), ActionError> {
    node.set("/sys/devices/virtual/workqueue/cpumask", &cpus.mask())
}

pub(super) fn cpuset(node: &Files<'_>, cgroup: &str, cpus: &CpuSet) -> Result<(), ActionError> {
    node.set(&format!("/sys/fs/cgroup/{cgroup}/cpuset.cpus"), &cpus.to_string())
}

/// Takes CPUs from everything else and gives them to a cgroup. The kernel takes the word whatever comes of it, and says
/// afterwards why not: `root invalid (reason)`.
pub(super) fn partition(
    node: &Files<'_>,
    cgroup: &str,
    cpus: &CpuSet,
    kind: PartitionKind,
) -> Result<(), ActionError> {
    cpuset(node, cgroup, cpus)?;
    let file = format!("/sys/fs/cgroup/{cgroup}/cpuset.cpus.partition");
    node.set(&file, kind.word())?;
    match node.text(&file).unwrap_or_default() {
        state if state == kind.word() => Ok(()),
        state => Err(ActionError::Partition {
            cgroup: cgroup.to_owned(),
            state,
        }),
    }
}
