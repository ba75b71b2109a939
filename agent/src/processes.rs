//! What runs in user space, from `/proc`.
//!
//! A process may end between two reads; it is then left out, as it would have been a moment later.

use std::fs;
use std::path::Path;

use axion_api::host::Process;
use axion_core::topology::CpuSet;
use nix::unistd::{SysconfVar, sysconf};

/// Parent of every kernel thread (Documentation/core-api/kthread.rst: `kthreadd`), which is its own parent's only other child.
const KTHREADD: u32 = 2;

/// Every process below `proc`, by process id; threads of the kernel only where `kernel` says so.
pub fn read(proc: &Path, kernel: bool) -> Vec<Process> {
    let unit = |var, usual: u64| {
        sysconf(var)
            .ok()
            .flatten()
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(usual)
    };
    let (page, tick) = (unit(SysconfVar::PAGE_SIZE, 4096), unit(SysconfVar::CLK_TCK, 100));
    let Ok(entries) = fs::read_dir(proc) else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut processes: Vec<Process> = pids
        .filter_map(|pid| one(proc, pid, page, tick))
        .filter(|process| kernel || !process.kernel)
        .collect();
    processes.sort_unstable_by_key(|process| process.pid);
    processes
}

fn one(proc: &Path, pid: u32, page: u64, tick: u64) -> Option<Process> {
    let dir = proc.join(pid.to_string());
    let stat = fs::read_to_string(dir.join("stat")).ok()?;
    let cgroup = fs::read_to_string(dir.join("cgroup")).unwrap_or_default();
    let process = parse(pid, &stat, &cgroup, page, tick)?;
    Some(Process {
        cpus: allowed(&dir),
        ..process
    })
}

/// CPUs that any thread of the process in `dir` may run on.
fn allowed(dir: &Path) -> CpuSet {
    let threads = fs::read_dir(dir.join("task")).into_iter().flatten().flatten();
    let of_threads = threads.filter_map(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        cpus_in(&status)
    });
    of_threads.fold(CpuSet::default(), |all, cpus| all.union(&cpus))
}

/// `Cpus_allowed_list` of a `status` file (proc_pid_status(5)).
fn cpus_in(status: &str) -> Option<CpuSet> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    list.trim().parse().ok()
}

/// A process by its `stat` (proc_pid_stat(5)) and `cgroup` (cgroups(7)).
fn parse(pid: u32, stat: &str, cgroup: &str, page: u64, tick: u64) -> Option<Process> {
    // The name is in parentheses and may hold anything, parentheses too; field 3 follows the last one.
    let (start, rest) = stat.rsplit_once(')')?;
    let (_, name) = start.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |n: usize| fields.get(n.checked_sub(3)?).copied();
    let number = |n: usize| field(n)?.parse::<u64>().ok();
    let ticks = number(14)?.saturating_add(number(15)?);
    Some(Process {
        pid,
        kernel: pid == KTHREADD || number(4)? == u64::from(KTHREADD),
        name: name.to_owned(),
        cgroup: cgroup
            .lines()
            .find_map(|line| line.strip_prefix("0::"))
            .unwrap_or("/")
            .to_owned(),
        state: field(3)?.chars().next()?,
        threads: u32::try_from(number(20)?).ok()?,
        resident_bytes: number(24)?.saturating_mul(page),
        cpu_ms: ticks.saturating_mul(1000).checked_div(tick)?,
        cpus: CpuSet::default(),
    })
}

#[cfg(test)]
mod tests;
