//! What the kernel says of a running VM: of its unit's cgroup (cgroup-v2.rst) and of its process (proc(5)).
//!
//! Both can be read by anybody, and neither is what the VMM says of itself: a guest may have taken it over. Where
//! namespaces are concerned, `/proc/PID/ns` is for the process's owner; what others see of them is
//!
//! | namespace | is not the node's where                                                              |
//! |-----------|--------------------------------------------------------------------------------------|
//! | `mnt`     | the root directory is another mount (`mountinfo`)                                    |
//! | `net`     | the list of interfaces is another file (`net/dev`): there is one for each namespace  |
//! | `pid`     | it has more than one process id (`NSpid` in `status`)                                |
//! | `user`    | users are other ones (`uid_map`)                                                     |

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use axion_api::vmm::InForce;
use axion_api::vmm::in_force::{ProcessState, UnitLimits};

use super::record::unit_name;

/// Cgroups of VMs (`init/src/units/cgroup.rs`).
const CGROUPS: &str = "/sys/fs/cgroup/vms.slice";
/// Processes.
pub const PROCESSES: &str = "/proc";
/// `Seccomp` in `status` where system calls are filtered (`SECCOMP_MODE_FILTER`).
const FILTERED: &str = "2";

/// The cgroup of a VM.
pub fn cgroup(name: &str) -> PathBuf {
    Path::new(CGROUPS).join(unit_name(name))
}

/// Adds what the kernel says of a VM, whose VMM is the process `pid`, to what the VMM says.
pub fn add(in_force: &mut InForce, name: &str, pid: u32) {
    in_force.unit = limits(&cgroup(name));
    in_force.process = None;
    if let Some(Found { process, threads }) = find(Path::new(PROCESSES), pid) {
        in_force.process = Some(process);
        // What the VMM knows them by is of its own PID namespace.
        for vcpu in &mut in_force.vcpus {
            vcpu.thread = threads.get(&vcpu.thread).copied().unwrap_or(vcpu.thread);
        }
    }
}

/// The limits of a cgroup; `None` where it is gone.
fn limits(cgroup: &Path) -> Option<UnitLimits> {
    let read = |file: &str| fs::read_to_string(cgroup.join(file)).ok();
    let number = |file: &str| read(file)?.trim().parse().ok();
    let cpus = read("cpuset.cpus.effective")?.trim().parse().ok()?;
    Some(UnitLimits {
        cpus,
        cpu_weight: u32::try_from(number("cpu.weight")?).ok()?,
        cpu_limit: read("cpu.max").as_deref().and_then(percent),
        memory_max: number("memory.max"),
    })
}

/// `cpu.max`, a quota and a period in microseconds, as percent of one CPU; `max` is no limit.
fn percent(text: &str) -> Option<u32> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    u32::try_from(quota.saturating_mul(100).checked_div(period)?).ok()
}

/// A process that was found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    process: ProcessState,
    /// Threads by what they are called in the innermost PID namespace.
    threads: BTreeMap<u32, u32>,
}

/// What tells a namespace of the process in a directory from others of its kind.
type Mark = fn(&Path) -> Option<String>;

/// The process `pid` below `proc`; `None` where it has ended.
fn find(proc: &Path, pid: u32) -> Option<Found> {
    let directory = proc.join(pid.to_string());
    let own = proc.join("self");
    let mut found = Found::default();
    let process = &mut found.process;
    for thread in fs::read_dir(directory.join("task")).ok()?.flatten() {
        // It may end at any moment.
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else {
            continue;
        };
        let word = |name: &str| field(&status, name)?.split_whitespace().next();
        let capabilities = ["CapPrm", "CapEff", "CapInh", "CapAmb"];
        let bits = capabilities
            .iter()
            .filter_map(|name| u64::from_str_radix(word(name)?, 16).ok());
        process.capabilities |= bits.fold(0, |all, bits| all | bits);
        process.threads += 1;
        process.filtered += u32::from(word("Seccomp") == Some(FILTERED));
        process.unprivileged += u32::from(word("NoNewPrivs") == Some("1"));
        let ids: Vec<u32> = field(&status, "NSpid")
            .into_iter()
            .flat_map(str::split_whitespace)
            .filter_map(|id| id.parse().ok())
            .collect();
        if let (Some(outside), Some(inside)) = (ids.first(), ids.last()) {
            found.threads.insert(*inside, *outside);
            if *outside == pid {
                process.uid = word("Uid")?.parse().ok()?;
                if ids.len() > 1 {
                    process.namespaces.push("pid".to_owned());
                }
            }
        }
    }
    let differs = |of: Mark| {
        let (theirs, ours) = (of(&directory), of(&own));
        theirs.is_some() && ours.is_some() && theirs != ours
    };
    let others: [(&str, Mark); 3] = [("mnt", root_mount), ("net", interfaces), ("user", users)];
    let others = others.iter().filter(|(_, of)| differs(*of));
    process
        .namespaces
        .extend(others.map(|(name, _)| (*name).to_owned()));
    process.namespaces.sort_unstable();
    // One that ended meanwhile has no threads.
    (process.threads > 0).then_some(found)
}

/// A line `name:` of a `status` file.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    lines
        .find(|(there, _)| *there == name)
        .map(|(_, value)| value.trim())
}

/// Which mount the root directory is: mounts have numbers that are the node's, whatever the namespace.
fn root_mount(process: &Path) -> Option<String> {
    let mounts = fs::read_to_string(process.join("mountinfo")).ok()?;
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"))?;
    root.split(' ').next().map(str::to_owned)
}

fn interfaces(process: &Path) -> Option<String> {
    Some(fs::metadata(process.join("net/dev")).ok()?.ino().to_string())
}

fn users(process: &Path) -> Option<String> {
    fs::read_to_string(process.join("uid_map")).ok()
}

#[cfg(test)]
mod tests;
