//! `/proc/interrupts` and `/proc/softirqs`: a column for each CPU, a row for each thing that is counted.

use std::collections::BTreeMap;

use super::{Interrupt, NoiseKind};
use crate::topology::CpuSet;

/// Counts by row and CPU.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// By label: `24`, `LOC`, `SCHED`.
    rows: BTreeMap<String, Row>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    /// What follows the counts.
    name: String,
    counts: BTreeMap<u32, u64>,
}

/// Interrupts that a CPU is sent by another one, or by itself to get out of where it is
/// (arch/x86/kernel/irq.c, `arch_show_interrupts`).
const IPIS: [&str; 4] = ["RES", "CAL", "TLB", "IWI"];

impl Table {
    /// Reads the text of either file. Rows without a count for a CPU (`ERR`, `MIS`) are left out.
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let cpus: Vec<u32> = lines
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|heading| heading.strip_prefix("CPU")?.parse().ok())
            .collect();
        let row = |line: &str| {
            let (label, rest) = line.split_once(':')?;
            let mut words = rest.split_whitespace();
            let counts: BTreeMap<u32, u64> = cpus
                .iter()
                .map(|cpu| Some((*cpu, words.next()?.parse().ok()?)))
                .collect::<Option<_>>()?;
            let label = label.trim();
            // Of a device's interrupt, the controller and the pin come before those who asked for it.
            let ahead = if is_device(label) { 2 } else { usize::MAX };
            let name = words.skip(ahead).collect::<Vec<_>>().join(" ");
            Some((label.to_owned(), Row { name, counts }))
        };
        Self {
            rows: lines.filter_map(row).collect(),
        }
    }

    /// What was counted since `earlier`. A row that was not there counted from 0; a count that fell (the interrupt was given
    /// to another device) counts from 0 too.
    pub fn since(&self, earlier: &Self) -> Self {
        let rows = self.rows.iter().map(|(label, row)| {
            let before = earlier.rows.get(label);
            let counts = row.counts.iter().map(|(cpu, count)| {
                let before = before.and_then(|row| row.counts.get(cpu)).copied();
                let since = count.checked_sub(before.unwrap_or_default()).unwrap_or(*count);
                (*cpu, since)
            });
            let row = Row {
                name: row.name.clone(),
                counts: counts.collect(),
            };
            (label.clone(), row)
        });
        Self { rows: rows.collect() }
    }

    /// What occurred on one CPU.
    pub fn of_cpu(&self, cpu: u32) -> Vec<Interrupt> {
        self.occurred(|row| row.counts.get(&cpu).copied().unwrap_or_default())
    }

    /// Interrupts of devices that occurred on these CPUs, all of them together.
    pub fn of_devices(&self, cpus: &CpuSet) -> Vec<Interrupt> {
        let here = |row: &Row| {
            let counts = row.counts.iter().filter(|(cpu, _)| cpus.contains(**cpu));
            counts.fold(0u64, |sum, (_, count)| sum.saturating_add(*count))
        };
        let mut occurred = self.occurred(here);
        occurred.retain(|interrupt| interrupt.kind == NoiseKind::Device);
        occurred
    }

    /// Rows that count something.
    fn occurred(&self, counted: impl Fn(&Row) -> u64) -> Vec<Interrupt> {
        let occurred = |(label, row): (&String, &Row)| {
            let count = counted(row);
            (count > 0).then(|| Interrupt {
                kind: kind(label),
                name: format!("{label} {}", row.name).trim().to_owned(),
                count,
            })
        };
        self.rows.iter().filter_map(occurred).collect()
    }
}

fn is_device(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
}

fn kind(label: &str) -> NoiseKind {
    match label {
        "LOC" => NoiseKind::Tick,
        label if is_device(label) => NoiseKind::Device,
        label if IPIS.contains(&label) => NoiseKind::Ipi,
        _ => NoiseKind::Other,
    }
}
