//! Who runs on which CPU: interrupts, the kernel's background work, cgroups.

use std::os::unix::fs::PermissionsExt;
use std::thread;

use axion_core::profile::PartitionKind;
use axion_core::topology::CpuSet;

use super::{ActionError, Files};

const IRQS: &str = "/proc/irq";

/// Moves every interrupt that can be moved, and says where new ones go. One whose file is read-only is managed by the
/// kernel, or wired to one CPU.
pub(super) fn interrupts(node: &Files<'_>, cpus: &CpuSet) -> Result<(), ActionError> {
    node.set(&format!("{IRQS}/default_smp_affinity"), &cpus.mask())?;
    let mut stay = CpuSet::default();
    for irq in numbers(node, IRQS) {
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

/// Entries of a directory that are numbers, in order.
fn numbers(node: &Files<'_>, directory: &str) -> Vec<u32> {
    let entries = std::fs::read_dir(node.path(directory))
        .into_iter()
        .flatten()
        .flatten();
    let mut numbers: Vec<u32> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// Where unbound work runs, and threads of the kernel that are not of one CPU: those that reclaim a node's memory would run
/// on all of the node's CPUs.
pub(super) fn workqueues(node: &Files<'_>, cpus: &CpuSet) -> Result<(), ActionError> {
    node.set("/sys/devices/virtual/workqueue/cpumask", &cpus.mask())?;
    for thread in numbers(node, "/proc") {
        if let Some(target) = kernel_thread_target(node, thread, cpus) {
            // The kernel keeps the threads that it has bound itself.
            let _ = move_thread(thread, &target);
        }
    }
    Ok(())
}

/// Where a thread of the kernel should run instead; `None` for a process, and for a thread that is where it should be or is a
/// CPU's own.
pub(super) fn kernel_thread_target(node: &Files<'_>, thread: u32, cpus: &CpuSet) -> Option<CpuSet> {
    let status = node.text(&format!("/proc/{thread}/status"))?;
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(value.trim())
    };
    let is_kernels = field("PPid:")? == "2";
    let allowed: CpuSet = field("Cpus_allowed_list:")?.parse().ok()?;
    if !is_kernels || allowed.len() < 2 || allowed.is_subset(cpus) {
        return None;
    }
    let near = allowed.intersection(cpus);
    Some(if near.is_empty() { cpus.clone() } else { near })
}

fn move_thread(thread: u32, cpus: &CpuSet) -> nix::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    for cpu in cpus.iter() {
        set.set(usize::try_from(cpu).unwrap_or(usize::MAX))?;
    }
    let thread = i32::try_from(thread).map_err(|_| nix::errno::Errno::ESRCH)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(thread), &set)
}

/// Sets the period of the deadline server that lends time to ordinary threads; a kernel without it, or one that is locked, has
/// no such file to write.
///
/// Each file is written from its own CPU. The kernel stops the server for the change, and 6.12 does so twice where it was not
/// running; a thread of ours on that CPU has it run (kernel/sched/deadline.c, `dl_server_stop`).
pub(super) fn fair_server(node: &Files<'_>, period_ns: u64, cpus: &CpuSet) -> Result<(), ActionError> {
    let set = |cpu: u32| {
        let file = format!("/sys/kernel/debug/sched/fair_server/cpu{cpu}/period");
        if node.text(&file).is_none() {
            return Ok(());
        }
        let own = CpuSet::from_iter([cpu]);
        move_thread(0, &own).map_err(|source| ActionError::Pin { cpu, source })?;
        node.set(&file, &period_ns.to_string())
    };
    let all = || cpus.iter().map(set).collect::<Vec<_>>().into_iter().collect();
    // On a thread of its own, for the caller's stays where it is.
    thread::scope(|scope| {
        let done = scope.spawn(all).join();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
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
