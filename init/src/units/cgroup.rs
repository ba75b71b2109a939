//! The cgroup v2 tree (Documentation/admin-guide/cgroup-v2.rst).
//!
//! ```text
//! /sys/fs/cgroup
//! ├── axion.slice/{init,agent,console-tty1,…}     the node's own
//! └── vms.slice/<unit>                            what the agent asked for
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use axion_core::paths;

use super::spec::{CPU_WEIGHT, Cpus};
use crate::files::{self, FileError};

const ROOT: &str = "/sys/fs/cgroup";
const NODE: &str = paths::NODE_CGROUP;
const TRANSIENT: &str = paths::VMS_CGROUP;

/// Period in which a limit of CPU time holds, microseconds: the kernel's own.
const PERIOD_US: u64 = 100_000;

/// Controllers that units may be limited with, where the kernel has them.
const WANTED: [&str; 7] = ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma"];

/// Makes the tree and moves PID 1 into its leaf.
///
/// # Errors
/// The kernel refuses a directory or the move.
pub fn prepare() -> Result<(), CgroupError> {
    let root = Path::new(ROOT);
    let available = std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
    let controllers = subtree_control(&available);
    files::set(&root.join("cgroup.subtree_control"), &controllers)?;
    for slice in [NODE, TRANSIENT] {
        let slice = root.join(slice);
        make(&slice)?;
        files::set(&slice.join("cgroup.subtree_control"), &controllers)?;
    }
    let own = root.join(NODE).join("init");
    make(&own)?;
    Ok(files::set(&own.join("cgroup.procs"), "0")?)
}

/// A cgroup that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// A file in it.
    #[error(transparent)]
    File(#[from] FileError),
    /// The directory.
    #[error("cannot make the cgroup {path}")]
    Make {
        /// Directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

fn make(path: &Path) -> Result<(), CgroupError> {
    std::fs::create_dir_all(path).map_err(|source| CgroupError::Make {
        path: path.display().to_string(),
        source,
    })
}

/// What to write to `cgroup.subtree_control`, given `cgroup.controllers`.
fn subtree_control(available: &str) -> String {
    let available: Vec<&str> = available.split_whitespace().collect();
    let enable = |name: &&&str| available.contains(name);
    WANTED
        .iter()
        .filter(enable)
        .map(|name| format!("+{name}"))
        .collect::<Vec<_>>()
        .join(" ")
}

/// What `memory.events` counts of a want of memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shortages {
    /// Times that the cgroup was at its own limit and nothing could be reclaimed.
    pub at_limit: u64,
    /// Processes that the kernel killed, for want of memory here or on the node.
    pub kills: u64,
}

impl Shortages {
    fn parse(events: &str) -> Self {
        let count = |name: &str| {
            let mut lines = events.lines().filter_map(|line| line.split_once(' '));
            let found = lines.find(|(there, _)| *there == name);
            found.and_then(|(_, count)| count.parse().ok()).unwrap_or(0)
        };
        Self {
            at_limit: count("oom"),
            kills: count("oom_kill"),
        }
    }
}

/// The cgroup of one unit.
#[derive(Debug, Clone)]
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// The cgroup of the unit `name`.
    pub fn of(name: &str, transient: bool) -> Self {
        let slice = if transient { TRANSIENT } else { NODE };
        Self(Path::new(ROOT).join(slice).join(name.replace('@', "-")))
    }

    /// Makes it, and opens the file that a process enters it by.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open(&self) -> Result<File, CgroupError> {
        make(&self.0)?;
        let procs = self.0.join("cgroup.procs");
        File::options()
            .write(true)
            .open(&procs)
            .map_err(|source| CgroupError::Make {
                path: procs.display().to_string(),
                source,
            })
    }

    /// Gives it CPUs, a share of their time, and a limit of memory in bytes, at which all of its processes die and no other.
    ///
    /// # Errors
    /// The kernel refuses one of them.
    pub fn allot(&self, cpus: &Cpus, memory_max: Option<u64>) -> Result<(), CgroupError> {
        if cpus.weight != CPU_WEIGHT {
            files::set(&self.0.join("cpu.weight"), &cpus.weight.to_string())?;
        }
        if !cpus.list.is_empty() {
            files::set(&self.0.join("cpuset.cpus"), &cpus.list.to_string())?;
        }
        if let Some(percent) = cpus.limit_percent {
            let quota = u64::from(percent) * PERIOD_US / 100;
            files::set(&self.0.join("cpu.max"), &format!("{quota} {PERIOD_US}"))?;
        }
        if let Some(bytes) = memory_max {
            files::set(&self.0.join("memory.max"), &bytes.to_string())?;
            files::set(&self.0.join("memory.oom.group"), "1")?;
        }
        Ok(())
    }

    /// How often processes in it were short of memory so far.
    pub fn shortages(&self) -> Shortages {
        // It is not there before the first start.
        let events = std::fs::read_to_string(self.0.join("memory.events")).unwrap_or_default();
        Shortages::parse(&events)
    }

    /// SIGKILL to every process in it, at once.
    pub fn kill(&self) {
        // It is not there when the unit never ran.
        let _ = files::set(&self.0.join("cgroup.kill"), "1");
    }

    /// Removes it. `false`: processes in it have not been reaped yet.
    pub fn remove(&self) -> bool {
        match std::fs::remove_dir(&self.0) {
            Ok(()) => true,
            Err(e) => e.kind() == std::io::ErrorKind::NotFound,
        }
    }
}

#[cfg(test)]
mod tests;
