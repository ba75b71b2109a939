//! The isolation proof: every CPU that was set apart is kept busy for a while, and what hits it is taken down.
//!
//! ```text
//!          settle        window                      latency
//!   add the unit ──┬────────────────────────────┬──────────────────┐
//!   probe: spin    │ measure each round         │ spin             │ write result.json, end
//!   init:      sample counters              sample counters
//!   osnoise: ───────── on ──────────────────────── read, removed
//!   timerlat:                                      on ──────── read, removed
//! ```
//!
//! Timerlat wakes a thread of each CPU a thousand times a second, which is noise of its own: it comes behind the window.
//!
//! The work runs as the unit `proof` where VMs run, so that it has exactly what a vCPU has: their cgroup, their CPUs, no
//! privilege. It spins before and after the window, so that neither its start nor its end is in it. What is measured is
//! decided by [`axion_core::proof`]; here are the effects alone. A CPU that a VM may use is left alone.

pub mod probe;
mod trace;
mod tsc;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axion_api::init::{ProofStatus, UnitState};
use axion_api::profile::{LONGEST_PROOF_S, SHORTEST_PROOF_S};
use axion_core::paths;
use axion_core::proof::{Evidence, Proof, Sample, SkippedCpu, Spun, Table, prove, read_latency, read_trace};
use axion_core::threads::{Thread, taken_by_vms};
use axion_core::topology::CpuSet;

use self::probe::Window;
use self::trace::{Kind, Tracer};
use crate::clock;
use crate::failure::chain;
use crate::files::{self, FileError, PUBLIC};
use crate::node::Node;
use crate::sync::lock;
use crate::units::{Cpus, Restart, Spec, Stdio, UnitError};

/// The unit's name.
const UNIT: &str = "proof";
/// Its user: nobody.
const NOBODY: u32 = 65_534;
/// Between the unit's start and the window: threads are on their CPUs, ticks have stopped.
const SETTLE: Duration = Duration::from_secs(2);
/// The probe goes on for so long behind the window, while the counters are read.
const MARGIN: Duration = Duration::from_millis(500);
/// How late timers are is measured for as long as the window is, and for this long at most.
const LONGEST_LATENCY: Duration = Duration::from_secs(5);
/// The tracer of that is off so long before the probe ends: a CPU at rest is late in another way.
const EARLY: Duration = Duration::from_millis(100);
/// The probe has ended so long after that, or it never will.
const END: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);
/// How long a proof after the boot takes.
const AT_BOOT_S: u32 = 10;

/// A proof that there is not.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// Bad length.
    #[error("a proof of {0} s; allowed are {SHORTEST_PROOF_S} to {LONGEST_PROOF_S}")]
    Seconds(u32),
    /// One at a time.
    #[error("a proof is being taken; ask again when it has ended")]
    Running,
    /// Nothing to prove.
    #[error("no CPU is set apart; `profile.mode = \"hpc\"` does that on a machine with four CPUs or more")]
    NoCpus,
    /// Every CPU is in use.
    #[error("every CPU that is set apart belongs to a VM: {0}")]
    Taken(String),
    /// The unit.
    #[error(transparent)]
    Unit(#[from] UnitError),
    /// The probe did not end.
    #[error("the probe was not done in time")]
    Stuck,
    /// The probe said nothing that can be read.
    #[error("the probe left no result: {0}")]
    Result(String),
    /// The store.
    #[error(transparent)]
    File(#[from] FileError),
    /// A fault of our own.
    #[error("{0}")]
    Internal(String),
}

impl ProofError {
    /// Whether the request is at fault, rather than what was tried.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Seconds(_))
    }
}

/// Begins a proof of `seconds`; it goes on in the background and is stored.
///
/// # Errors
/// The length is not allowed, a proof is being taken, or there is no CPU for it.
pub fn start(node: &Arc<Node>, seconds: u32) -> Result<(), ProofError> {
    if !(SHORTEST_PROOF_S..=LONGEST_PROOF_S).contains(&seconds) {
        return Err(ProofError::Seconds(seconds));
    }
    let chosen = choose(Path::new("/"), &isolated(node))?;
    {
        let mut status = lock(&node.proof);
        if status.running {
            return Err(ProofError::Running);
        }
        *status = ProofStatus {
            running: true,
            error: None,
        };
    }
    let node = node.clone();
    tokio::spawn(async move {
        let taken = take(&node, seconds, chosen).await;
        let mut status = lock(&node.proof);
        status.running = false;
        match taken {
            Ok(proof) => say(&node, &proof),
            Err(error) => {
                let error = chain(&error);
                node.log.error(&format!("isolation proof: {error}"));
                status.error = Some(error);
            }
        }
    });
    Ok(())
}

/// The proof that the config wants after each boot.
pub fn start_after_boot(node: &Arc<Node>) {
    let wanted = |config: &axion_core::config::Effective| config.config.profile.proof_at_boot;
    if node.config.get().is_some_and(wanted)
        && let Err(error) = start(node, AT_BOOT_S)
    {
        node.log.warning(&format!("isolation proof: {}", chain(&error)));
    }
}

fn say(node: &Node, proof: &Proof) {
    if proof.is_met() {
        let cpus: CpuSet = proof.cpus.iter().map(|cpu| cpu.cpu).collect();
        node.log
            .info(&format!("isolation proof: CPUs {cpus} are left alone"));
    }
    for cpu in proof.cpus.iter().filter(|cpu| !cpu.is_met()) {
        node.log.warning(&format!(
            "isolation proof: CPU {}: {}",
            cpu.cpu,
            cpu.missed.join("; ")
        ));
    }
}

fn isolated(node: &Node) -> CpuSet {
    node.plan().map(|plan| plan.isolated.clone()).unwrap_or_default()
}

/// CPUs to measure, and those that are not to be.
#[derive(Debug)]
struct Chosen {
    cpus: CpuSet,
    skipped: Vec<SkippedCpu>,
}

/// CPUs of `isolated` that are online and no VM may use.
fn choose(root: &Path, isolated: &CpuSet) -> Result<Chosen, ProofError> {
    if isolated.is_empty() {
        return Err(ProofError::NoCpus);
    }
    let online = std::fs::read_to_string(root.join("sys/devices/system/cpu/online")).unwrap_or_default();
    let online: CpuSet = online.trim().parse().unwrap_or_default();
    let taken = taken_by_vms(&Thread::read_all(root), isolated);
    let mut skipped = Vec::new();
    for cpu in isolated.iter() {
        if !online.contains(cpu) {
            skipped.push(SkippedCpu {
                cpu,
                why: "offline".to_owned(),
            });
        } else if let Some(unit) = taken.get(&cpu) {
            let vm = unit.strip_prefix("vm-").unwrap_or(unit);
            let why = format!("in use by VM {vm}");
            skipped.push(SkippedCpu { cpu, why });
        }
    }
    let left_out: CpuSet = skipped.iter().map(|skipped| skipped.cpu).collect();
    let cpus = isolated.difference(&left_out);
    if cpus.is_empty() {
        let why = skipped.iter().map(|s| format!("CPU {} {}", s.cpu, s.why));
        return Err(ProofError::Taken(why.collect::<Vec<_>>().join(", ")));
    }
    Ok(Chosen { cpus, skipped })
}

fn run_directory() -> PathBuf {
    Path::new(paths::RUN).join(UNIT).join("probe")
}

async fn take(node: &Arc<Node>, seconds: u32, chosen: Chosen) -> Result<Proof, ProofError> {
    let tracer = tracer(node, Kind::Osnoise, &chosen.cpus).await?;
    let length = Duration::from_secs(seconds.into());
    let begin = clock::monotonic() + SETTLE;
    let window = Window {
        begin,
        end: begin + length,
        until: begin + length + length.min(LONGEST_LATENCY) + MARGIN,
        cpus: chosen.cpus,
    };
    // What an earlier one left, whose init was in a hurry.
    let _ = node.units.remove(UNIT).await;
    node.units.add(unit(&window)).await?;
    let measured = measure(node, &window, tracer).await;
    if measured.is_err() {
        let _ = node.units.kill(UNIT).await;
        let _ = ended(node).await;
    }
    let _ = node.units.remove(UNIT).await;
    let Measured {
        started_unix_us,
        before,
        after,
        trace,
        latency,
        spun,
    } = measured?;
    let times = (clock::micros(window.begin), clock::micros(window.end));
    let proof = prove(Evidence {
        started_unix_us,
        window_ms: u64::from(seconds) * 1000,
        mode: node.plan().map(|plan| plan.mode).unwrap_or_default(),
        housekeeping: node
            .plan()
            .map(|plan| plan.housekeeping.clone())
            .unwrap_or_default(),
        spun,
        before,
        after,
        trace: trace.map(|text| read_trace(&text, times.0..times.1)),
        latency: latency.map(|text| read_latency(&text)),
        skipped: chosen.skipped,
    });
    store(&proof)?;
    Ok(proof)
}

/// A tracer for `cpus`, where the kernel has it; one that it refuses is said.
async fn tracer(node: &Node, kind: Kind, cpus: &CpuSet) -> Result<Option<Tracer>, ProofError> {
    let cpus = cpus.clone();
    let opened = apart(move || Tracer::open(Path::new("/"), kind, &cpus)).await?;
    Ok(opened.unwrap_or_else(|error| {
        let what = kind.name();
        node.log
            .warning(&format!("isolation proof: no tracer {what}: {}", chain(&error)));
        None
    }))
}

/// What was taken down in one go.
struct Measured {
    started_unix_us: u64,
    before: Sample,
    after: Sample,
    trace: Option<String>,
    latency: Option<String>,
    spun: Vec<Spun>,
}

/// Samples at both ends of the window, what the probe saw in between, and how late timers are behind it.
async fn measure(node: &Node, window: &Window, osnoise: Option<Tracer>) -> Result<Measured, ProofError> {
    sleep_until(window.begin).await;
    let started_unix_us = clock::unix_us();
    let before = apart(sample).await?;
    sleep_until(window.end).await;
    let after = apart(sample).await?;
    // The kernel has one of the two tracers on at a time.
    let trace = apart(move || osnoise.and_then(Tracer::read)).await?;
    let timerlat = tracer(node, Kind::Timerlat, &window.cpus).await?;
    sleep_until(window.until.saturating_sub(EARLY)).await;
    let latency = apart(move || timerlat.and_then(Tracer::read)).await?;
    sleep_until(window.until).await;
    ended(node).await?;
    let file = run_directory().join(probe::RESULT);
    let text = std::fs::read(&file).map_err(|e| ProofError::Result(format!("{}: {e}", file.display())))?;
    let spun = serde_json::from_slice(&text).map_err(|e| ProofError::Result(e.to_string()))?;
    Ok(Measured {
        started_unix_us,
        before,
        after,
        trace,
        latency,
        spun,
    })
}

async fn sleep_until(moment: Duration) {
    tokio::time::sleep(moment.saturating_sub(clock::monotonic())).await;
}

/// Waits until the unit is down.
async fn ended(node: &Node) -> Result<(), ProofError> {
    let wait = async {
        loop {
            match node.units.get(UNIT).await?.state {
                UnitState::Inactive | UnitState::Failed => return Ok(()),
                _ => tokio::time::sleep(POLL).await,
            }
        }
    };
    tokio::time::timeout(END, wait)
        .await
        .unwrap_or(Err(ProofError::Stuck))
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ProofError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ProofError::Internal(error.to_string()))
}

fn sample() -> Sample {
    let table = |path: &str| Table::parse(&std::fs::read_to_string(path).unwrap_or_default());
    Sample {
        interrupts: table("/proc/interrupts"),
        softirqs: table("/proc/softirqs"),
    }
}

fn unit(window: &Window) -> Spec {
    // This program lies in the initramfs, below the root: no path leads there, but the link does.
    let mut argv = vec!["/proc/self/exe".to_owned(), probe::FLAG.to_owned()];
    argv.extend(window.arguments());
    Spec {
        name: UNIT.to_owned(),
        description: "Isolation proof".to_owned(),
        transient: true,
        argv,
        env: Vec::new(),
        uid: NOBODY,
        gid: NOBODY,
        groups: Vec::new(),
        run_directory: Some(run_directory()),
        files: Vec::new(),
        volumes: Vec::new(),
        taps: Vec::new(),
        restart: Restart::OnError(0),
        stop_timeout: Duration::from_secs(1),
        stdio: Stdio::Log,
        notifies: false,
        oom_score: 1000,
        cpus: Cpus::default(),
        memory_max: None,
        own_pids: false,
        low_ports: false,
    }
}

/// The one before becomes the previous one.
fn store(proof: &Proof) -> Result<(), ProofError> {
    let text = serde_json::to_vec_pretty(proof).map_err(|e| ProofError::Internal(e.to_string()))?;
    let (last, previous) = (Path::new(paths::PROOF), Path::new(paths::PREVIOUS_PROOF));
    if let Ok(old) = std::fs::read(last) {
        files::replace(previous, &old, PUBLIC)?;
    }
    Ok(files::replace(last, &text, PUBLIC)?)
}

/// What is known of proofs while the node runs.
pub type Status = Mutex<ProofStatus>;

#[cfg(test)]
mod tests;
