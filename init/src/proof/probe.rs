//! The work of a proof: the same program as a process of its own, a thread pinned to each CPU.
//!
//! Each round of the loop is the same arithmetic, without memory and system calls; what makes one longer than another came
//! from outside. Its length is read from the time stamp counter, whose rate is told by the kernel's clock at both ends.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use axion_core::proof::{Histogram, PROBE, Spun};
use axion_core::topology::CpuSet;
use nix::sched::sched_setaffinity;
use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;

use super::tsc;
use crate::clock;

/// First argument of the program.
pub const FLAG: &str = "--probe";
/// What it leaves in its working directory.
pub const RESULT: &str = "result.json";
/// Steps of a round: about 0.1 µs.
const STEPS: u32 = 64;
/// A thread that came to its CPU less than this before the window knows neither its clock's rate nor that the CPU is quiet.
const SETTLED: Duration = Duration::from_millis(200);
/// The loop needs next to none.
const STACK: usize = 256 << 10;

/// When and where. Times are those of CLOCK_MONOTONIC, which both processes have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Rounds count from here.
    pub begin: Duration,
    /// To here.
    pub end: Duration,
    /// The CPUs are kept busy to here.
    pub until: Duration,
    /// On these CPUs.
    pub cpus: CpuSet,
}

impl Window {
    /// As arguments of the program.
    pub fn arguments(&self) -> [String; 4] {
        let us = |time| clock::micros(time).to_string();
        [
            us(self.begin),
            us(self.end),
            us(self.until),
            self.cpus.to_string(),
        ]
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut time = || Some(Duration::from_micros(arguments.next()?.parse().ok()?));
        Some(Self {
            begin: time()?,
            end: time()?,
            until: time()?,
            cpus: arguments.next()?.parse().ok()?,
        })
    }
}

/// The whole program; `arguments` are those behind [`FLAG`].
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    let _ = nix::sys::prctl::set_name(c"axion-probe");
    let Some(window) = Window::parse(arguments) else {
        return ExitCode::from(2);
    };
    let threads: Vec<_> = window
        .cpus
        .iter()
        .map(|cpu| {
            let window = window.clone();
            let thread = std::thread::Builder::new()
                .name(format!("{PROBE}{cpu}"))
                .stack_size(STACK)
                .spawn(move || spin(cpu, &window));
            (cpu, thread)
        })
        .collect();
    let spun: Vec<Spun> = threads
        .into_iter()
        .map(|(cpu, thread)| {
            let failed = |error: String| Spun {
                cpu,
                error: Some(error),
                ..Spun::default()
            };
            match thread.map(std::thread::JoinHandle::join) {
                Ok(Ok(Ok(spun))) => spun,
                Ok(Ok(Err(why))) => failed(why),
                Ok(Err(_)) => failed("its thread panicked".to_owned()),
                Err(error) => failed(format!("its thread cannot be started: {error}")),
            }
        })
        .collect();
    let written = serde_json::to_vec(&spun)
        .map_err(std::io::Error::from)
        .and_then(|text| std::fs::write(RESULT, text));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Keeps `cpu` busy until the end of the window and a little longer.
fn spin(cpu: u32, window: &Window) -> Result<Spun, String> {
    pin(cpu).map_err(|errno| format!("a workload may not run there: {}", errno.desc()))?;
    let first = (clock::monotonic(), tsc::read());
    while clock::monotonic() < window.begin {
        black_box(work(cpu.into()));
    }
    let began = (clock::monotonic(), tsc::read());
    let settled = began.0.saturating_sub(first.0);
    let left = window.end.saturating_sub(began.0);
    if settled < SETTLED || left.is_zero() {
        return Err("its thread came too late: the CPU is busy".to_owned());
    }
    let ticks = scaled(nanos(left), began.1.saturating_sub(first.1), nanos(settled));
    let last_tick = began.1.saturating_add(ticks);
    let mut histogram = Histogram::default();
    let before = switches();
    let mut last = tsc::read();
    while last < last_tick {
        black_box(work(last));
        let now = tsc::read();
        histogram.record(now.saturating_sub(last));
        last = now;
    }
    let after = switches();
    let ended = (clock::monotonic(), tsc::read());
    while clock::monotonic() < window.until {
        black_box(work(cpu.into()));
    }
    let (ticks, time) = (
        ended.1.saturating_sub(began.1),
        nanos(ended.0.saturating_sub(began.0)),
    );
    Ok(Spun {
        cpu,
        rounds: histogram.rounds(),
        delay: histogram.delay(|value| scaled(value, time, ticks)),
        switches: after.0.saturating_sub(before.0),
        voluntary_switches: after.1.saturating_sub(before.1),
        error: None,
    })
}

/// The fixed work: each step needs the one before.
#[inline(never)]
fn work(mut state: u64) -> u64 {
    for _ in 0..STEPS {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
    }
    state
}

/// `value * by / of`.
fn scaled(value: u64, by: u64, of: u64) -> u64 {
    let product = u128::from(value) * u128::from(by);
    u64::try_from(product / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn pin(cpu: u32) -> nix::Result<()> {
    let mut set = nix::sched::CpuSet::new();
    set.set(usize::try_from(cpu).unwrap_or(usize::MAX))?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Times that something else ran instead of this thread, and that it waited, which it never does: the counters that
/// `/proc/TID/status` shows.
fn switches() -> (u64, u64) {
    let number = |count| u64::try_from(count).unwrap_or_default();
    getrusage(UsageWho::RUSAGE_THREAD)
        .map(|usage| {
            (
                number(usage.involuntary_context_switches()),
                number(usage.voluntary_context_switches()),
            )
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
