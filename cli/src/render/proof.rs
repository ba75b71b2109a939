//! The isolation proof.

use axion_api::profile::HostProof;
use axion_core::config::ProfileMode;
use axion_core::proof::{Change, Comparison, CpuProof, NoiseKind, Proof};

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, fields, moment, or_dash, plain};

/// Sources of noise that are listed.
const SOURCES: usize = 12;

/// The last proof, beside the one before it.
pub fn show(proofs: &HostProof, style: &Style) -> String {
    let mut text = String::new();
    if let Some(error) = &proofs.error {
        let failed = style.paint("failed:", Tone::Bad);
        text.push_str(&format!(
            "The last proof that was asked for {failed} {}\n",
            plain(error)
        ));
    }
    if proofs.running {
        text.push_str("A proof is being taken.\n");
    }
    match &proofs.last {
        Some(proof) => text.push_str(&one(proof, proofs, style)),
        None => text.push_str("No proof has been taken. `axctl profile prove` takes one.\n"),
    }
    text
}

fn one(proof: &Proof, proofs: &HostProof, style: &Style) -> String {
    let previous = proofs.previous.as_ref();
    let verdict = match (proof.is_met(), proof.mode) {
        (true, _) => "every CPU is left alone".to_owned(),
        (false, _) if proof.cpus.is_empty() => "no CPU was measured".to_owned(),
        (false, ProfileMode::Hpc) => format!("CPUs {} are disturbed", proof.missed()),
        (false, mode) => format!(
            "CPUs {} are disturbed; `{mode}` promises no quiet CPUs",
            proof.missed()
        ),
    };
    let rows = [
        ("Isolation", verdict),
        ("Taken", moment(proof.started_unix_us)),
        ("Window", format!("{} s", proof.window_ms / 1000)),
        ("Meanwhile", or_dash(meanwhile(proof))),
        (
            "Before that",
            previous.map_or_else(|| "-".to_owned(), |p| moment(p.started_unix_us)),
        ),
    ];
    let mut text = fields(&rows, style);
    text.push_str(&format!("\n{}", cpus(proof, style)));
    for cpu in &proof.cpus {
        for missed in &cpu.missed {
            let head = style.paint(&format!("CPU {}:", cpu.cpu), Tone::Bad);
            text.push_str(&format!("{head} {}\n", plain(missed)));
        }
    }
    text.push_str(&switches(proof, style));
    // A node of the version before compares nothing; what it sends is enough to.
    let compared = previous.map(|previous| Comparison::of(proof, previous));
    if let Some(comparison) = proofs.comparison.as_ref().or(compared.as_ref()) {
        text.push_str(&changes(comparison, style));
    }
    text.push_str(&sources(proof, style));
    for skipped in &proof.skipped {
        text.push_str(&format!(
            "CPU {} left out: {}\n",
            skipped.cpu,
            plain(&skipped.why)
        ));
    }
    for note in &proof.notes {
        text.push_str(&format!("{}\n", plain(note)));
    }
    text
}

/// What the node's devices did in the window, where the proof knows.
fn meanwhile(proof: &Proof) -> Option<String> {
    let most = proof.host_interrupts.first()?;
    let count = proof.host_device_interrupts();
    Some(format!(
        "{count} interrupts of devices on the host's CPUs, most by {}",
        most.name
    ))
}

fn cpus(proof: &Proof, style: &Style) -> String {
    let mut table = Table::new([
        right("CPU"),
        left("STATE"),
        right("TICKS"),
        right("IRQS"),
        right("IPIS"),
        right("SWITCH"),
        right("P50"),
        right("P99"),
        right("P99.9"),
        right("MAX"),
    ]);
    for cpu in &proof.cpus {
        table.row([
            cpu.cpu.to_string().into(),
            verdict(cpu),
            cpu.counts.ticks.to_string().into(),
            cpu.counts.device_interrupts.to_string().into(),
            cpu.counts.ipis.to_string().into(),
            cpu.counts.switches.to_string().into(),
            time(cpu.delay.p50_ns).into(),
            time(cpu.delay.p99_ns).into(),
            time(cpu.delay.p999_ns).into(),
            time(cpu.delay.max_ns).into(),
        ]);
    }
    table.render(style)
}

/// Context switches by their sources, and how late timers were.
fn switches(proof: &Proof, style: &Style) -> String {
    let mut table = Table::new([
        right("CPU"),
        right("PREEMPTED"),
        right("YIELDED"),
        right("SCHED_SWITCH"),
        right("TIMERS"),
        right("IRQ LATENCY"),
        right("THREAD LATENCY"),
    ]);
    for cpu in &proof.cpus {
        let latency = cpu.latency.as_ref();
        table.row([
            cpu.cpu.to_string().into(),
            cpu.counts.switches.to_string().into(),
            cpu.counts.voluntary_switches.to_string().into(),
            or_dash(cpu.counts.sched_switches.map(|count| count.to_string())).into(),
            or_dash(latency.map(|latency| latency.timers.to_string())).into(),
            or_dash(latency.map(|latency| time(latency.irq_max_ns))).into(),
            or_dash(latency.map(|latency| time(latency.thread_max_ns))).into(),
        ]);
    }
    if proof.cpus.is_empty() {
        return String::new();
    }
    format!("\n{}", table.render(style))
}

/// What is more and what is less than in the proof before.
fn changes(comparison: &Comparison, style: &Style) -> String {
    if comparison.cpus.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        right("CPU"),
        right("TICKS"),
        right("IRQS"),
        right("SWITCH"),
        right("P99"),
        right("P99.9"),
        right("MAX"),
        right("IRQ"),
        right("THREAD"),
    ]);
    let count = |change: Change| since(change, |value| value.to_string());
    let delay = |change: Change| since(change, time);
    for cpu in &comparison.cpus {
        table.row([
            cpu.cpu.to_string().into(),
            count(cpu.ticks).into(),
            count(cpu.device_interrupts).into(),
            count(cpu.switches).into(),
            delay(cpu.p99_ns).into(),
            delay(cpu.p999_ns).into(),
            delay(cpu.max_ns).into(),
            or_dash(cpu.irq_max_ns.map(delay)).into(),
            or_dash(cpu.thread_max_ns.map(delay)).into(),
        ]);
    }
    let (was, now) = (comparison.was_window_ms / 1000, comparison.now_window_ms / 1000);
    let windows = if was == now {
        String::new()
    } else {
        format!(", which was {was} s long and not {now} s")
    };
    let heading = style.heading("Against the proof before");
    format!("\n{heading}{windows}\n{}", table.render(style))
}

/// `+12`, `-1.2us`, `0`.
fn since(change: Change, words: impl Fn(u64) -> String) -> String {
    let Change { was, now } = change;
    match now.cmp(&was) {
        std::cmp::Ordering::Equal => "0".to_owned(),
        std::cmp::Ordering::Greater => format!("+{}", words(now - was)),
        std::cmp::Ordering::Less => format!("-{}", words(was - now)),
    }
}

fn verdict(cpu: &CpuProof) -> Cell {
    if cpu.is_met() {
        Cell::new("ok", Tone::Good)
    } else {
        Cell::new("missed", Tone::Bad)
    }
}

/// What hit the CPUs: by its time where the tracer told, else by its number.
fn sources(proof: &Proof, style: &Style) -> String {
    let mut table = Table::new([
        right("CPU"),
        left("KIND"),
        shrinking("SOURCE"),
        right("TIMES"),
        right("IN ALL"),
        right("LONGEST"),
    ]);
    let mut rows = Vec::new();
    for cpu in &proof.cpus {
        let timed = cpu.noise.iter().map(|noise| {
            let times = Some((noise.total_ns, noise.max_ns));
            (cpu.cpu, noise.kind, &noise.name, noise.count, times)
        });
        let counted = cpu
            .interrupts
            .iter()
            .filter(|_| cpu.noise.is_empty())
            .map(|interrupt| (cpu.cpu, interrupt.kind, &interrupt.name, interrupt.count, None));
        rows.extend(timed.chain(counted));
    }
    if rows.is_empty() {
        return String::new();
    }
    // The worst of all CPUs first.
    rows.sort_by_key(|(cpu, _, _, count, times)| {
        let total = times.map_or(0, |(total, _)| total);
        (std::cmp::Reverse((total, *count)), *cpu)
    });
    for (cpu, kind, name, count, times) in rows.iter().take(SOURCES) {
        table.row([
            cpu.to_string().into(),
            word(*kind).into(),
            name.into(),
            count.to_string().into(),
            or_dash(times.map(|(total, _)| time(total))).into(),
            or_dash(times.map(|(_, max)| time(max))).into(),
        ]);
    }
    let more = rows.len().saturating_sub(SOURCES);
    let more = if more > 0 {
        format!("and {more} more\n")
    } else {
        String::new()
    };
    format!("\n{}{more}", table.render(style))
}

const fn word(kind: NoiseKind) -> &'static str {
    match kind {
        NoiseKind::Tick => "tick",
        NoiseKind::Device => "device",
        NoiseKind::Ipi => "ipi",
        NoiseKind::Other => "other",
        NoiseKind::Softirq => "softirq",
        NoiseKind::Thread => "thread",
    }
}

/// Nanoseconds in at most seven columns.
fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => format!("{}.{}us", ns / 1_000, ns % 1_000 / 100),
        1_000_000..1_000_000_000 => format!("{}.{}ms", ns / 1_000_000, ns % 1_000_000 / 100_000),
        _ => format!("{}.{}s", ns / 1_000_000_000, ns % 1_000_000_000 / 100_000_000),
    }
}

#[cfg(test)]
mod tests;
