//! The isolation proof.

use axion_api::profile::HostProof;
use axion_core::config::ProfileMode;
use axion_core::proof::{CpuProof, NoiseKind, Proof};

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
        Some(proof) => text.push_str(&one(proof, proofs.previous.as_ref(), style)),
        None => text.push_str("No proof has been taken. `axctl profile prove` takes one.\n"),
    }
    text
}

fn one(proof: &Proof, previous: Option<&Proof>, style: &Style) -> String {
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
        (
            "Before that",
            previous.map_or_else(|| "-".to_owned(), |p| moment(p.started_unix_us)),
        ),
    ];
    let mut text = fields(&rows, style);
    text.push_str(&format!("\n{}", cpus(proof, previous, style)));
    for cpu in &proof.cpus {
        for missed in &cpu.missed {
            let head = style.paint(&format!("CPU {}:", cpu.cpu), Tone::Bad);
            text.push_str(&format!("{head} {}\n", plain(missed)));
        }
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

fn cpus(proof: &Proof, previous: Option<&Proof>, style: &Style) -> String {
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
        right("MAX WAS"),
    ]);
    for cpu in &proof.cpus {
        let was = previous.and_then(|previous| previous.cpus.iter().find(|was| was.cpu == cpu.cpu));
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
            or_dash(was.map(|was| time(was.delay.max_ns))).into(),
        ]);
    }
    table.render(style)
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
