//! Who may run on which CPU: every thread of the node, below an injected root.

use std::collections::BTreeMap;
use std::path::Path;

use crate::paths;
use crate::topology::{CpuSet, read};

/// Flag of a thread of the kernel's own (`PF_KTHREAD`, include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;
/// Work queues' rescuers: they sleep until memory is short, and then go where the work is stuck. The kernel keeps them free.
const RESCUER: &str = "kworker/R-";

/// A thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// Its process.
    pub process: u32,
    /// Its id.
    pub id: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// Whether it is the kernel's own.
    pub kernel: bool,
    /// Its cgroup, `/axion.slice/agent`.
    pub cgroup: String,
    /// Where it may run.
    pub allowed: CpuSet,
    /// Where it ran last.
    pub last_cpu: u32,
}

impl Thread {
    /// Every thread below `/proc`. One that ends meanwhile is left out.
    pub fn read_all(root: &Path) -> Vec<Self> {
        let processes = read::numbered(root.join("proc"), "");
        let threads = processes.into_iter().flat_map(|(process, directory)| {
            let cgroup = read::text(directory.join("cgroup")).unwrap_or_default();
            let cgroup = cgroup.strip_prefix("0::").unwrap_or_default().to_owned();
            let threads = read::numbered(directory.join("task"), "").into_iter();
            threads.filter_map(move |(id, directory)| Self::read(process, id, &directory, &cgroup))
        });
        threads.collect()
    }

    fn read(process: u32, id: u32, directory: &Path, cgroup: &str) -> Option<Self> {
        let stat = read::text(directory.join("stat"))?;
        // The name is in parentheses and may hold any byte, parentheses too (proc_pid_stat(5)).
        let (head, fields) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let status = read::text(directory.join("status"))?;
        let allowed = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some(Self {
            process,
            id,
            name: name.to_owned(),
            // Field 9, where the state after the name is field 3.
            kernel: fields.get(6)?.parse::<u64>().ok()? & KERNEL_THREAD != 0,
            cgroup: cgroup.to_owned(),
            allowed: allowed.trim().parse().ok()?,
            // Field 39.
            last_cpu: fields.get(36)?.parse().ok()?,
        })
    }

    /// Whether it belongs to a VM, or to what is measured in a VM's place.
    fn is_workload(&self) -> bool {
        let slice = self
            .cgroup
            .strip_prefix('/')
            .and_then(|path| path.strip_prefix(paths::VMS_CGROUP));
        slice.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// Threads of the host that ran last on one of `isolated` and may do so again. Threads that belong to one CPU do there what
/// only that CPU can.
pub fn strays<'t>(threads: &'t [Thread], isolated: &CpuSet) -> Vec<&'t Thread> {
    let is_stray = |thread: &&Thread| {
        let of_a_cpu = thread.kernel && (thread.allowed.len() == 1 || thread.name.starts_with(RESCUER));
        isolated.contains(thread.last_cpu)
            && !thread.allowed.intersection(isolated).is_empty()
            && !of_a_cpu
            && !thread.is_workload()
    };
    threads.iter().filter(is_stray).collect()
}

/// CPUs of `isolated` on which a thread of a VM may run, each with the name of the VM's unit.
pub fn taken_by_vms(threads: &[Thread], isolated: &CpuSet) -> BTreeMap<u32, String> {
    let mut taken = BTreeMap::new();
    for thread in threads {
        let below = thread.cgroup.strip_prefix('/').unwrap_or_default();
        let unit = below
            .strip_prefix(paths::VMS_CGROUP)
            .and_then(|rest| rest.strip_prefix('/'));
        let unit = unit
            .and_then(|rest| rest.split('/').next())
            .filter(|unit| unit.starts_with("vm-"));
        if let Some(unit) = unit {
            for cpu in thread.allowed.intersection(isolated).iter() {
                taken.entry(cpu).or_insert_with(|| unit.to_owned());
            }
        }
    }
    taken
}

#[cfg(test)]
mod tests;
