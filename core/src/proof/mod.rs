//! The isolation proof: what hits a CPU that was set apart while a workload keeps it busy.
//!
//! ```text
//! a pinned loop of fixed work ── how late each round was ── Histogram ─┐
//! /proc/interrupts, /proc/softirqs, before and after ── Table ─────────┼── prove ──► Proof, a verdict for each CPU
//! the kernel's osnoise tracer ── who ran instead, for how long ────────┤
//! its timerlat tracer, behind the window ── how late timers were ──────┘
//! ```
//!
//! Context switches come from two sources: the kernel's counters of the working thread (getrusage(2), those of
//! `/proc/TID/status`), and the scheduler's trace event of the CPU, which sees threads that the work never met.
//!
//! What the devices did meanwhile is counted on the host's CPUs: none of their interrupts on the others means much only where there
//! were some.
//!
//! Counts are exact and decide the verdict; delays depend on the machine and its firmware, so they are told and compared
//! with the last proof but decide nothing. Everything here is pure: the effects (spinning, sampling, tracing) are init's.

mod compare;
mod counters;
mod histogram;
mod latency;
mod noise;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use compare::{Change, Comparison, CpuComparison};
pub use counters::Table;
pub use histogram::Histogram;
pub use latency::{WakeLatency, read_latency};
pub use noise::{Trace, read_trace};

use crate::config::ProfileMode;
use crate::topology::CpuSet;

/// Timer ticks that a CPU may have in each second of the window.
pub const MOST_TICKS_PER_SECOND: u64 = 1;
/// Interrupts of devices that a CPU may have in the whole window.
pub const MOST_DEVICE_INTERRUPTS: u64 = 0;
/// Name of the threads that keep the CPUs busy; what they do is no noise.
pub const PROBE: &str = "axion-probe";

/// What a window of work on the isolated CPUs found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Proof {
    /// When the window began, microseconds since 1970.
    pub started_unix_us: u64,
    /// How long it was, milliseconds.
    pub window_ms: u64,
    /// What the node's profile means to be: only `hpc` promises quiet CPUs.
    pub mode: ProfileMode,
    /// Every CPU that was measured, by number.
    pub cpus: Vec<CpuProof>,
    /// Interrupts of devices that the host's CPUs had in the window, most frequent first: what the isolated ones were spared. A proof
    /// of a version before has none.
    #[serde(default)]
    pub host_interrupts: Vec<Interrupt>,
    /// CPUs that were left alone, each with its reason.
    pub skipped: Vec<SkippedCpu>,
    /// What makes the result less than it could be: a tracer that is missing, events that were lost, devices that had nothing to do.
    pub notes: Vec<String>,
}

impl Proof {
    /// Whether every CPU that was measured is as quiet as it should be, and there was one.
    pub fn is_met(&self) -> bool {
        !self.cpus.is_empty() && self.cpus.iter().all(CpuProof::is_met)
    }

    /// How many interrupts of devices the host's CPUs had in the window.
    pub fn host_device_interrupts(&self) -> u64 {
        self.host_interrupts.iter().map(|interrupt| interrupt.count).sum()
    }

    /// CPUs that are not as quiet as they should be.
    pub fn missed(&self) -> CpuSet {
        self.cpus
            .iter()
            .filter(|cpu| !cpu.is_met())
            .map(|cpu| cpu.cpu)
            .collect()
    }
}

/// What one CPU had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CpuProof {
    /// Its number.
    pub cpu: u32,
    /// Rounds of the fixed work that it did.
    pub rounds: u64,
    /// How late rounds were.
    pub delay: Delay,
    /// How often it was disturbed, by kind.
    pub counts: Counts,
    /// Each interrupt and softirq that occurred, most frequent first.
    pub interrupts: Vec<Interrupt>,
    /// What ran instead of the work, as the tracer saw it, the longest in all first; empty without the tracer.
    pub noise: Vec<Noise>,
    /// How late the busy CPU was for timers, measured behind the window; absent without the timerlat tracer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<WakeLatency>,
    /// The goals that it missed, in words; empty: none.
    pub missed: Vec<String>,
}

impl CpuProof {
    /// Whether it is as quiet as it should be.
    pub fn is_met(&self) -> bool {
        self.missed.is_empty()
    }

    /// What disturbed it most: by time where the tracer told, else by number.
    pub fn worst(&self) -> Option<&str> {
        let traced = self.noise.first().map(|noise| noise.name.as_str());
        traced.or_else(|| self.interrupts.first().map(|interrupt| interrupt.name.as_str()))
    }
}

/// How much longer than the quickest round others took, nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Delay {
    /// The quickest round itself.
    pub round_ns: u64,
    /// Half of all rounds were at most so late.
    pub p50_ns: u64,
    /// 99 of 100.
    pub p99_ns: u64,
    /// 999 of 1000.
    pub p999_ns: u64,
    /// The latest.
    pub max_ns: u64,
}

/// How often a CPU was disturbed within the window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Counts {
    /// Local timer interrupts (`LOC`): ticks and timers.
    pub ticks: u64,
    /// Interrupts of devices.
    pub device_interrupts: u64,
    /// Interrupts by other CPUs: rescheduling, function calls, TLB shootdowns.
    pub ipis: u64,
    /// The rest: NMIs, machine checks, irq work.
    pub other_interrupts: u64,
    /// Softirqs.
    pub softirqs: u64,
    /// Times that another thread ran instead: involuntary context switches of the work.
    pub switches: u64,
    /// Times that the work gave the CPU away by itself, which it never means to.
    #[serde(default)]
    pub voluntary_switches: u64,
    /// Times that the CPU went over to another thread, by the trace event `sched_switch`; absent without the tracer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sched_switches: Option<u64>,
}

/// What an interrupt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NoiseKind {
    /// The local timer.
    Tick,
    /// A device.
    Device,
    /// Another CPU.
    Ipi,
    /// Anything else that interrupts.
    Other,
    /// Work that an interrupt left for later.
    Softirq,
    /// A thread that ran instead.
    Thread,
}

/// An interrupt or softirq that occurred on a CPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Interrupt {
    /// What it is for.
    pub kind: NoiseKind,
    /// Its label and name in `/proc/interrupts` or `/proc/softirqs`: `LOC`, `24 virtio0-input.0`, `SCHED`.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// Something that ran instead of the work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Noise {
    /// What it is.
    pub kind: NoiseKind,
    /// The tracer's name for it: `local_timer`, `RCU`, `kworker/1:2`.
    pub name: String,
    /// How often.
    pub count: u64,
    /// For how long in all, nanoseconds.
    pub total_ns: u64,
    /// The longest, nanoseconds.
    pub max_ns: u64,
}

/// A CPU that was left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SkippedCpu {
    /// Its number.
    pub cpu: u32,
    /// Why.
    pub why: String,
}

/// What the loop on one CPU saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spun {
    /// Its number.
    pub cpu: u32,
    /// Rounds of the fixed work.
    pub rounds: u64,
    /// How late they were.
    pub delay: Delay,
    /// Times that it was taken off the CPU.
    pub switches: u64,
    /// Times that it gave the CPU away.
    pub voluntary_switches: u64,
    /// Why there is nothing, where there is not.
    pub error: Option<String>,
}

/// Counters of the kernel at one end of the window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// `/proc/interrupts`.
    pub interrupts: Table,
    /// `/proc/softirqs`.
    pub softirqs: Table,
}

/// All that was taken down.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// When the window began, microseconds since 1970.
    pub started_unix_us: u64,
    /// How long it was, milliseconds.
    pub window_ms: u64,
    /// The profile's mode.
    pub mode: ProfileMode,
    /// CPUs that the host keeps.
    pub housekeeping: CpuSet,
    /// What the loops saw.
    pub spun: Vec<Spun>,
    /// Counters at its beginning.
    pub before: Sample,
    /// Counters at its end.
    pub after: Sample,
    /// What the tracer saw; `None` without it.
    pub trace: Option<Trace>,
    /// How late timers were behind the window; `None` without that tracer.
    pub latency: Option<BTreeMap<u32, WakeLatency>>,
    /// CPUs that were left alone.
    pub skipped: Vec<SkippedCpu>,
}

/// What follows of the evidence.
pub fn prove(evidence: Evidence) -> Proof {
    let interrupts = evidence.after.interrupts.since(&evidence.before.interrupts);
    let softirqs = evidence.after.softirqs.since(&evidence.before.softirqs);
    let (mut noise, mut switched) = (BTreeMap::new(), None);
    let mut notes = Vec::new();
    match evidence.trace {
        None => notes.push("this kernel has no osnoise tracer: sources are counted, not timed".to_owned()),
        Some(trace) => {
            if trace.lost > 0 {
                notes.push(format!(
                    "the tracer lost {} events: times are too low, counts are not",
                    trace.lost
                ));
            }
            noise = trace.noise;
            switched = Some(trace.switches);
        }
    }
    if evidence.latency.is_none() {
        notes.push("this kernel has no timerlat tracer: how late timers are is not known".to_owned());
    }
    let host_interrupts = by_number(interrupts.of_devices(&evidence.housekeeping));
    if host_interrupts.is_empty() {
        notes.push(
            "no device interrupted the host's CPUs: the window shows nothing of devices at work".to_owned(),
        );
    }
    let mut skipped = evidence.skipped;
    let mut cpus = Vec::new();
    for spun in evidence.spun {
        if let Some(why) = spun.error {
            skipped.push(SkippedCpu { cpu: spun.cpu, why });
            continue;
        }
        let own = |table: &Table| table.of_cpu(spun.cpu);
        let found: Vec<Interrupt> = own(&interrupts)
            .into_iter()
            .chain(own(&softirqs).into_iter().map(|softirq| Interrupt {
                kind: NoiseKind::Softirq,
                ..softirq
            }))
            .collect();
        let counts = Counts {
            switches: spun.switches,
            voluntary_switches: spun.voluntary_switches,
            sched_switches: switched
                .as_ref()
                .map(|switched| switched.get(&spun.cpu).copied().unwrap_or_default()),
            ..count(&found)
        };
        cpus.push(CpuProof {
            cpu: spun.cpu,
            rounds: spun.rounds,
            delay: spun.delay,
            missed: missed(&counts, &found, evidence.window_ms),
            counts,
            interrupts: by_number(found),
            noise: noise.remove(&spun.cpu).unwrap_or_default(),
            latency: evidence
                .latency
                .as_ref()
                .and_then(|latency| latency.get(&spun.cpu))
                .copied(),
        });
    }
    cpus.sort_by_key(|cpu| cpu.cpu);
    skipped.sort_by_key(|cpu| cpu.cpu);
    Proof {
        started_unix_us: evidence.started_unix_us,
        window_ms: evidence.window_ms,
        mode: evidence.mode,
        cpus,
        host_interrupts,
        skipped,
        notes,
    }
}

fn by_number(mut interrupts: Vec<Interrupt>) -> Vec<Interrupt> {
    interrupts.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
    interrupts
}

fn count(found: &[Interrupt]) -> Counts {
    let mut counts = Counts::default();
    for interrupt in found {
        *match interrupt.kind {
            NoiseKind::Tick => &mut counts.ticks,
            NoiseKind::Device => &mut counts.device_interrupts,
            NoiseKind::Ipi => &mut counts.ipis,
            NoiseKind::Softirq => &mut counts.softirqs,
            NoiseKind::Other | NoiseKind::Thread => &mut counts.other_interrupts,
        } += interrupt.count;
    }
    counts
}

fn missed(counts: &Counts, found: &[Interrupt], window_ms: u64) -> Vec<String> {
    let mut missed = Vec::new();
    // A window that is no whole number of seconds may have a tick in what is left.
    let most = window_ms.div_ceil(1000) * MOST_TICKS_PER_SECOND;
    if counts.ticks > most {
        missed.push(format!(
            "{} timer ticks in {}.{} s, and not {most} at most",
            counts.ticks,
            window_ms / 1000,
            window_ms % 1000 / 100
        ));
    }
    if counts.device_interrupts > MOST_DEVICE_INTERRUPTS {
        let of_devices = found.iter().filter(|i| i.kind == NoiseKind::Device);
        let names: Vec<&str> = of_devices.map(|interrupt| interrupt.name.as_str()).collect();
        missed.push(format!(
            "{} interrupts of devices ({})",
            counts.device_interrupts,
            names.join(", ")
        ));
    }
    missed
}
