//! A proof beside the one before it, CPU by CPU.

use serde::{Deserialize, Serialize};

use super::{CpuProof, Proof, WakeLatency};

/// What changed since the proof before. Counts are those of each window as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Comparison {
    /// How long the window of the proof before was, milliseconds.
    pub was_window_ms: u64,
    /// How long the window of the last one was, milliseconds.
    pub now_window_ms: u64,
    /// CPUs that were measured both times, by number.
    pub cpus: Vec<CpuComparison>,
}

/// A CPU then and now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CpuComparison {
    /// Its number.
    pub cpu: u32,
    /// Local timer interrupts.
    pub ticks: Change,
    /// Interrupts of devices.
    pub device_interrupts: Change,
    /// Times that another thread ran instead.
    pub switches: Change,
    /// 99 of 100 rounds were at most so late, nanoseconds.
    pub p99_ns: Change,
    /// 999 of 1000.
    pub p999_ns: Change,
    /// The latest round, nanoseconds.
    pub max_ns: Change,
    /// The longest from a timer's time to its interrupt, nanoseconds; absent where either proof has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irq_max_ns: Option<Change>,
    /// The longest until a real-time thread ran, nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread_max_ns: Option<Change>,
}

/// A value then and now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Change {
    /// In the proof before.
    pub was: u64,
    /// In the last one.
    pub now: u64,
}

impl Comparison {
    /// `last` against `previous`.
    pub fn of(last: &Proof, previous: &Proof) -> Self {
        let pair = |now: &CpuProof| {
            let was = previous.cpus.iter().find(|was| was.cpu == now.cpu)?;
            Some(CpuComparison::of(now, was))
        };
        Self {
            was_window_ms: previous.window_ms,
            now_window_ms: last.window_ms,
            cpus: last.cpus.iter().filter_map(pair).collect(),
        }
    }
}

impl CpuComparison {
    fn of(now: &CpuProof, was: &CpuProof) -> Self {
        let change = |of: fn(&CpuProof) -> u64| Change {
            was: of(was),
            now: of(now),
        };
        let latency = |of: fn(&WakeLatency) -> u64| {
            Some(Change {
                was: of(was.latency.as_ref()?),
                now: of(now.latency.as_ref()?),
            })
        };
        Self {
            cpu: now.cpu,
            ticks: change(|cpu| cpu.counts.ticks),
            device_interrupts: change(|cpu| cpu.counts.device_interrupts),
            switches: change(|cpu| cpu.counts.switches),
            p99_ns: change(|cpu| cpu.delay.p99_ns),
            p999_ns: change(|cpu| cpu.delay.p999_ns),
            max_ns: change(|cpu| cpu.delay.max_ns),
            irq_max_ns: latency(|latency| latency.irq_max_ns),
            thread_max_ns: latency(|latency| latency.thread_max_ns),
        }
    }
}
