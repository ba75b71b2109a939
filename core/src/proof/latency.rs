//! The timerlat tracer's lines, in the text of a trace file (Documentation/trace/timerlat-tracer.rst):
//!
//! ```text
//!          <idle>-0       [000] d.h1    54.029328: #1     context    irq timer_latency       932 ns
//!     timerlat/0-867      [000] ....    54.029339: #1     context thread timer_latency     11700 ns
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How late a CPU that was kept busy was for a timer of each millisecond.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct WakeLatency {
    /// Timers that were measured.
    pub timers: u64,
    /// From the timer's time to its interrupt, the longest, nanoseconds.
    pub irq_max_ns: u64,
    /// From the timer's time until a real-time thread ran, the longest, nanoseconds.
    pub thread_max_ns: u64,
}

/// Sums up the lines of a trace file's text by CPU.
pub fn read_latency(text: &str) -> BTreeMap<u32, WakeLatency> {
    let mut cpus: BTreeMap<u32, WakeLatency> = BTreeMap::new();
    for (cpu, context, nanoseconds) in text.lines().filter_map(line) {
        let of_cpu = cpus.entry(cpu).or_default();
        match context {
            "irq" => {
                of_cpu.timers += 1;
                of_cpu.irq_max_ns = of_cpu.irq_max_ns.max(nanoseconds);
            }
            "thread" => of_cpu.thread_max_ns = of_cpu.thread_max_ns.max(nanoseconds),
            _ => {}
        }
    }
    cpus
}

/// The CPU, the context, the latency.
fn line(line: &str) -> Option<(u32, &str, u64)> {
    // A thread's name, before the CPU, may have such words and brackets of its own.
    let (head, event) = line.rsplit_once(" context ")?;
    let (cpu, _) = head.rsplit_once('[')?.1.split_once(']')?;
    let mut words = event.split_whitespace();
    let context = words.next()?;
    let nanoseconds = words
        .next()
        .filter(|word| *word == "timer_latency")
        .and(words.next())?;
    Some((cpu.parse().ok()?, context, nanoseconds.parse().ok()?))
}
