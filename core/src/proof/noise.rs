//! The osnoise tracer's events, in the text of a trace file (Documentation/trace/osnoise-tracer.rst):
//!
//! ```text
//! axion-probe-961  [003] d.h..  789.857532: irq_noise: local_timer:236 start 789.857529929 duration 1845 ns
//! migration/3-54   [003] d....  789.858413: thread_noise: migration/3:54 start 789.858409871 duration 3068 ns
//! axion-probe-961  [003] d..2.  789.858409: sched_switch: prev_comm=axion-probe3 … ==> next_comm=migration/3 next_pid=54 next_prio=0
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Noise, NoiseKind, PROBE};

/// What a trace told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// By CPU, the longest in all first.
    pub noise: BTreeMap<u32, Vec<Noise>>,
    /// By CPU, times that it went over to a thread that is neither the work nor the idle one.
    pub switches: BTreeMap<u32, u64>,
    /// Events that the tracer had no room for.
    pub lost: u64,
}

/// Sums up the events of a trace file's text that ended within `window`, in microseconds of the trace's clock. The work
/// itself and the idle thread are no noise.
pub fn read_trace(text: &str, window: Range<u64>) -> Trace {
    let mut sums: BTreeMap<(u32, NoiseKind, String), Noise> = BTreeMap::new();
    let mut switches: BTreeMap<u32, u64> = BTreeMap::new();
    let mut lost = 0;
    for line in text.lines() {
        if let Some(entries) = line.strip_prefix("# entries-in-buffer/entries-written: ") {
            lost = overrun(entries).unwrap_or_default();
        } else if let Some((at, cpu)) = switched(line)
            && window.contains(&at)
        {
            *switches.entry(cpu).or_default() += 1;
        } else if let Some((at, cpu, noise)) = event(line)
            && window.contains(&at)
        {
            let key = (cpu, noise.kind, noise.name.clone());
            let sum = sums.entry(key).or_insert(Noise {
                count: 0,
                total_ns: 0,
                max_ns: 0,
                ..noise.clone()
            });
            sum.count += 1;
            sum.total_ns += noise.total_ns;
            sum.max_ns = sum.max_ns.max(noise.max_ns);
        }
    }
    let mut noise: BTreeMap<u32, Vec<Noise>> = BTreeMap::new();
    for ((cpu, ..), sum) in sums {
        noise.entry(cpu).or_default().push(sum);
    }
    for of_cpu in noise.values_mut() {
        of_cpu.sort_by_key(|noise| std::cmp::Reverse(noise.total_ns));
    }
    Trace {
        noise,
        switches,
        lost,
    }
}

/// `205/310   #P:4`: 105 were overwritten.
fn overrun(entries: &str) -> Option<u64> {
    let (kept, written) = entries.split_whitespace().next()?.split_once('/')?;
    let (kept, written): (u64, u64) = (kept.parse().ok()?, written.parse().ok()?);
    Some(written.saturating_sub(kept))
}

/// When and where a line begins: `axion-probe-961  [003] d.h..  789.857532`, microseconds.
fn place(head: &str) -> Option<(u64, u32)> {
    // A thread's name, before the CPU, may have brackets of its own.
    let (_, behind) = head.rsplit_once('[')?;
    let (cpu, behind) = behind.split_once(']')?;
    let (seconds, micros) = behind.split_whitespace().last()?.split_once('.')?;
    let at = seconds.parse::<u64>().ok()?.checked_mul(1_000_000)? + micros.parse::<u64>().ok()?;
    Some((at, cpu.parse().ok()?))
}

/// When and where another thread than the work or the idle one came to run.
fn switched(line: &str) -> Option<(u64, u32)> {
    let (head, event) = line.split_once(": sched_switch: ")?;
    let (_, next) = event.rsplit_once(" ==> next_comm=")?;
    let (name, number) = next.rsplit_once(" next_pid=")?;
    let is_idle = number.split_whitespace().next() == Some("0");
    (!is_idle && !name.starts_with(PROBE))
        .then(|| place(head))
        .flatten()
}

/// When it ended, where it was, what it was.
fn event(line: &str) -> Option<(u64, u32, Noise)> {
    const EVENTS: [(&str, NoiseKind); 4] = [
        (": irq_noise: ", NoiseKind::Device),
        (": softirq_noise: ", NoiseKind::Softirq),
        (": thread_noise: ", NoiseKind::Thread),
        (": nmi_noise: ", NoiseKind::Other),
    ];
    let (head, event, kind) = EVENTS.iter().find_map(|(name, kind)| {
        let (head, event) = line.split_once(name)?;
        Some((head, event, *kind))
    })?;
    let (at, cpu) = place(head)?;
    // Of an NMI, nothing is told but when it was.
    let event = format!(" {event}");
    let (what, times) = event.split_once(" start ")?;
    let (name, number) = what.trim().rsplit_once(':').unwrap_or(("nmi", ""));
    let duration = times.split_once(" duration ")?.1;
    let nanoseconds: u64 = duration.split_whitespace().next()?.parse().ok()?;
    let own = kind == NoiseKind::Thread && (name.starts_with(PROBE) || number == "0");
    let kind = match (kind, name) {
        (NoiseKind::Device, "local_timer") => NoiseKind::Tick,
        // The kernel's names of what CPUs send each other (arch/x86/include/asm/trace/irq_vectors.h).
        (
            NoiseKind::Device,
            "reschedule" | "call_function" | "call_function_single" | "irq_work" | "x86_platform_ipi",
        ) => NoiseKind::Ipi,
        (kind, _) => kind,
    };
    (!own).then(|| {
        let noise = Noise {
            kind,
            name: name.to_owned(),
            count: 1,
            total_ns: nanoseconds,
            max_ns: nanoseconds,
        };
        (at, cpu, noise)
    })
}
