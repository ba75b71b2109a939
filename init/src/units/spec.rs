//! What a unit is, and which transient units may be asked for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axion_api::init::{Tap, TransientUnit, UnitCpus, VolumeGrant};
use axion_core::config::{POOL_NAME_FORM, is_pool_name};
use axion_core::paths;
use axion_core::topology::{CpuSet, CpuSetError};

use crate::network::{is_bridge_name, is_mtu, is_tap_name};

/// When a unit is started again by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// Whenever it ended.
    Always,
    /// When it ended with an error, so many times.
    OnError(u32),
}

/// What a unit's standard streams are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdio {
    /// Input is `/dev/null`, output goes to the log.
    Log,
    /// All three are this terminal (`ttyS0`), which controls the unit's session.
    Terminal(String),
}

/// What a unit is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Asked for by the agent.
    pub transient: bool,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Environment; nothing else is inherited.
    pub env: Vec<(String, String)>,
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Directory made for it before its first start and removed with it.
    pub run_directory: Option<PathBuf>,
    /// Files in `run_directory`.
    pub files: Vec<(String, Vec<u8>)>,
    /// Volumes that its group may open while it exists.
    pub volumes: Vec<VolumeGrant>,
    /// Taps made for it before its first start and removed with it.
    pub taps: Vec<Tap>,
    /// When it is started again.
    pub restart: Restart,
    /// Between SIGTERM and SIGKILL.
    pub stop_timeout: Duration,
    /// Standard streams.
    pub stdio: Stdio,
    /// It tells when it is ready (sd_notify(3)).
    pub notifies: bool,
    /// How gladly the kernel kills it when memory runs out: -1000 never, 1000 first (proc_pid_oom_score_adj(5)).
    pub oom_score: i32,
    /// What it may use of the CPUs.
    pub cpus: Cpus,
    /// Most memory that it may use, bytes.
    pub memory_max: Option<u64>,
    /// It sees no process but its own: a PID namespace, where the kernel grants one.
    pub own_pids: bool,
    /// It may open ports below 1024 (CAP_NET_BIND_SERVICE), whatever its user.
    pub low_ports: bool,
}

/// What a unit may use of the CPUs (cgroup-v2.rst).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cpus {
    /// CPUs that it may run on (cpuset.cpus); empty: those of its slice.
    pub list: CpuSet,
    /// Its share of CPU time among its siblings when there is not enough, 1 to 10000 (cpu.weight).
    pub weight: u32,
    /// Most CPU time, percent of one CPU (cpu.max).
    pub limit_percent: Option<u32>,
}

/// The kernel's own share of a cgroup.
pub const CPU_WEIGHT: u32 = 100;
/// Most that a unit's share can be.
const HIGHEST_WEIGHT: u32 = 10_000;
/// Most that a unit's limit can be, percent of one CPU: more CPUs than Linux takes on x86.
const HIGHEST_LIMIT: u32 = 1_000_000;

impl Default for Cpus {
    fn default() -> Self {
        Self {
            list: CpuSet::default(),
            weight: CPU_WEIGHT,
            limit_percent: None,
        }
    }
}

/// A transient unit that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Bad name.
    #[error("the name `{0}` is not 1 to 64 of a-z, 0-9, `-` and `@`, beginning with a letter")]
    Name(String),
    /// Bad program.
    #[error("argv: the program must be an absolute path, not `{0}`")]
    Program(String),
    /// A NUL byte where the kernel cannot have one.
    #[error("{0} holds a NUL byte")]
    Nul(&'static str),
    /// Bad environment.
    #[error("env: `{0}` is not KEY=value")]
    Environment(String),
    /// A privileged user.
    #[error("uid {0} is reserved for the node; transient units run as {min} and above", min = paths::UID_VM_BASE)]
    User(u32),
    /// A privileged group.
    #[error("group {0} is not allowed; allowed are {axion}, {kvm} and {min} and above",
        axion = paths::GROUP_AXION, kvm = paths::GROUP_KVM, min = paths::UID_VM_BASE)]
    Group(u32),
    /// Bad run directory.
    #[error("run_directory: `{0}` is not two names of a-z, A-Z, 0-9, `-`, `_`, `@`, `.`, as in `vms/hello` (below {run})", run = paths::RUN)]
    RunDirectory(String),
    /// Bad file name.
    #[error("files: `{0}` is not a file name of a-z, A-Z, 0-9, `-`, `_` and `.`")]
    FileName(String),
    /// Files without a place for them.
    #[error("files need a run_directory")]
    FilesWithoutDirectory,
    /// Bad volume name.
    #[error("volumes: `{0}` is not a file name of a-z, A-Z, 0-9, `-`, `_` and `.`")]
    Volume(String),
    /// Bad pool of a volume.
    #[error("volumes: `{0}` is not a pool's name; allowed are {POOL_NAME_FORM}")]
    VolumePool(String),
    /// The same thing twice.
    #[error("{0}: `{1}` is there twice")]
    Twice(&'static str, String),
    /// Volumes for a group that is not the unit's own.
    #[error("volumes are handed to the unit's own group, {min} and above, not to {0}", min = paths::UID_VM_BASE)]
    VolumesGroup(u32),
    /// Bad tap name.
    #[error("taps: `{0}` is not `vm`, a number, `-` and a number, 15 bytes at most")]
    Tap(String),
    /// Bad bridge.
    #[error("taps: `{0}` is no bridge's name; allowed is `ax-` and 1 to 12 of a-z, 0-9 and `-`")]
    TapBridge(String),
    /// Bad MTU.
    #[error("taps: an MTU of {0}; allowed are 576 to 9216")]
    TapMtu(u32),
    /// Bad CPU list.
    #[error("cpus.list: {0}")]
    CpuList(#[from] CpuSetError),
    /// Bad share of CPU time.
    #[error("cpus.weight: {0}; allowed are 1 to {HIGHEST_WEIGHT}, and 0 for the kernel's own")]
    CpuWeight(u32),
    /// Bad limit of CPU time.
    #[error("cpus.limit_percent: {0}; allowed are 1 to {HIGHEST_LIMIT}, and 0 for none")]
    CpuLimit(u32),
    /// Bad timeout.
    #[error("stop_timeout_ms: {0} is more than 10 minutes (600000)")]
    StopTimeout(u32),
}

const LONGEST_STOP_MS: u32 = 600_000;

/// Directories below /run/axion that are not the units'.
const RESERVED: [&str; 2] = ["agent", "netboot"];

impl Spec {
    /// Checks what the agent asks for. The agent is trusted to run VMs, not to become root: users and groups of the node
    /// are refused.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn transient(unit: TransientUnit) -> Result<Self, SpecError> {
        if !is_name(&unit.name) {
            return Err(SpecError::Name(unit.name));
        }
        match unit.argv.first() {
            Some(program) if program.starts_with('/') => {}
            other => return Err(SpecError::Program(other.cloned().unwrap_or_default())),
        }
        if unit.argv.iter().any(|a| a.contains('\0')) {
            return Err(SpecError::Nul("argv"));
        }
        if unit.env.iter().any(|e| e.contains('\0')) {
            return Err(SpecError::Nul("env"));
        }
        if unit.uid < paths::UID_VM_BASE {
            return Err(SpecError::User(unit.uid));
        }
        let allowed =
            |g: &u32| *g >= paths::UID_VM_BASE || [paths::GROUP_AXION, paths::GROUP_KVM].contains(g);
        if let Some(group) = unit.groups.iter().chain([&unit.gid]).find(|g| !allowed(g)) {
            return Err(SpecError::Group(*group));
        }
        if unit.stop_timeout_ms > LONGEST_STOP_MS {
            return Err(SpecError::StopTimeout(unit.stop_timeout_ms));
        }
        volumes(&unit)?;
        taps(&unit.taps)?;
        let cpus = cpus(&unit.cpus)?;
        let run_directory = run_directory(&unit.run_directory)?;
        if run_directory.is_none() && !unit.files.is_empty() {
            return Err(SpecError::FilesWithoutDirectory);
        }
        if let Some((name, _)) = unit.files.iter().find(|(name, _)| !is_file_name(name)) {
            return Err(SpecError::FileName(name.clone()));
        }
        let env = unit.env.into_iter().map(|entry| match entry.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(SpecError::Environment(entry)),
        });
        Ok(Self {
            env: env.collect::<Result<_, _>>()?,
            name: unit.name,
            description: unit.description,
            transient: true,
            argv: unit.argv,
            uid: unit.uid,
            gid: unit.gid,
            groups: unit.groups,
            run_directory,
            files: unit.files,
            volumes: unit.volumes,
            taps: unit.taps,
            restart: Restart::OnError(unit.max_restarts),
            stop_timeout: Duration::from_millis(unit.stop_timeout_ms.into()),
            stdio: Stdio::Log,
            notifies: false,
            oom_score: 0,
            cpus,
            memory_max: (unit.memory_max > 0).then_some(unit.memory_max),
            own_pids: true,
            low_ports: false,
        })
    }

    /// A unit of this name that runs nothing.
    #[cfg(test)]
    pub fn for_tests(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            description: String::new(),
            transient: true,
            argv: vec!["/bin/true".to_owned()],
            env: Vec::new(),
            uid: nix::unistd::getuid().as_raw(),
            gid: nix::unistd::getgid().as_raw(),
            groups: Vec::new(),
            run_directory: None,
            files: Vec::new(),
            volumes: Vec::new(),
            taps: Vec::new(),
            restart: Restart::OnError(0),
            stop_timeout: Duration::from_secs(5),
            stdio: Stdio::Log,
            notifies: false,
            oom_score: 0,
            cpus: Cpus::default(),
            memory_max: None,
            own_pids: false,
            low_ports: false,
        }
    }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '@');
    (1..=64).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(allowed)
}

fn is_component(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '@' | '.');
    (1..=255).contains(&name.len()) && !name.starts_with('.') && name.chars().all(allowed)
}

fn is_file_name(name: &str) -> bool {
    is_component(name)
}

fn twice<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = BTreeSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

fn volumes(unit: &TransientUnit) -> Result<(), SpecError> {
    let names = || unit.volumes.iter().map(|volume| &volume.name);
    if let Some(name) = names().find(|name| !is_file_name(name)) {
        return Err(SpecError::Volume(name.clone()));
    }
    let pools = unit.volumes.iter().map(|volume| &volume.pool);
    if let Some(pool) = pools
        .into_iter()
        .find(|pool| !pool.is_empty() && !is_pool_name(pool))
    {
        return Err(SpecError::VolumePool(pool.clone()));
    }
    if let Some(name) = twice(names()) {
        return Err(SpecError::Twice("volumes", name.clone()));
    }
    // A group of several processes would open the volume to all of them.
    if !unit.volumes.is_empty() && unit.gid < paths::UID_VM_BASE {
        return Err(SpecError::VolumesGroup(unit.gid));
    }
    Ok(())
}

fn taps(taps: &[Tap]) -> Result<(), SpecError> {
    for tap in taps {
        if !is_tap_name(&tap.name) {
            return Err(SpecError::Tap(tap.name.clone()));
        }
        if !is_bridge_name(&tap.bridge) {
            return Err(SpecError::TapBridge(tap.bridge.clone()));
        }
        if !is_mtu(tap.mtu) {
            return Err(SpecError::TapMtu(tap.mtu));
        }
    }
    match twice(taps.iter().map(|tap| &tap.name)) {
        Some(name) => Err(SpecError::Twice("taps", name.clone())),
        None => Ok(()),
    }
}

fn cpus(cpus: &UnitCpus) -> Result<Cpus, SpecError> {
    if cpus.weight > HIGHEST_WEIGHT {
        return Err(SpecError::CpuWeight(cpus.weight));
    }
    if cpus.limit_percent > HIGHEST_LIMIT {
        return Err(SpecError::CpuLimit(cpus.limit_percent));
    }
    Ok(Cpus {
        list: cpus.list.parse()?,
        weight: match cpus.weight {
            0 => CPU_WEIGHT,
            weight => weight,
        },
        limit_percent: (cpus.limit_percent > 0).then_some(cpus.limit_percent),
    })
}

fn run_directory(path: &str) -> Result<Option<PathBuf>, SpecError> {
    if path.is_empty() {
        return Ok(None);
    }
    let parts: Vec<&str> = path.split('/').collect();
    let reserved = parts.first().is_none_or(|first| RESERVED.contains(first));
    // One part alone would stand among init's own files; a third would lie in a directory that belongs to a unit, which
    // could put a link there.
    if reserved || parts.len() != 2 || !parts.iter().all(|p| is_component(p)) {
        return Err(SpecError::RunDirectory(path.to_owned()));
    }
    Ok(Some(Path::new(paths::RUN).join(path)))
}

#[cfg(test)]
mod tests;
