//! The TPM, and the keys that it keeps.

use axion_api::keys::{HostTpm, Recovery, SealedKey};

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, fields};

/// What it is, then its registers, what was measured, whose keys it keeps.
pub fn show(tpm: &HostTpm, style: &Style) -> String {
    let mut rows = vec![("TPM", identity(tpm))];
    if let Some(lock) = &tpm.state_lock {
        rows.push(("State", lock.to_string()));
    }
    if tpm.recovery_waits {
        let how = "made in this boot; `axctl pool recovery` shows it, once";
        rows.push(("Recovery passphrase", how.to_owned()));
    }
    let mut text = fields(&rows, style);
    for part in [registers(tpm, style), events(tpm, style), keys(&tpm.keys, style)] {
        text.push_str(&part);
    }
    text
}

fn identity(tpm: &HostTpm) -> String {
    let made_by = match (&tpm.manufacturer, &tpm.firmware) {
        (Some(manufacturer), Some(firmware)) => format!("{manufacturer} {firmware}"),
        _ if tpm.present => "present".to_owned(),
        _ => "none".to_owned(),
    };
    match &tpm.problem {
        Some(problem) => format!("{made_by}: {problem}"),
        None => made_by,
    }
}

/// Registers that something was measured into.
fn registers(tpm: &HostTpm, style: &Style) -> String {
    let is_empty = |value: &str| value.bytes().all(|b| b == b'0') || value.bytes().all(|b| b == b'f');
    let mut table = Table::new([right("PCR"), left("SHA-256")]);
    for register in tpm.pcrs.iter().filter(|register| !is_empty(&register.sha256)) {
        table.row([register.pcr.to_string().into(), register.sha256.as_str().into()]);
    }
    section(&table, tpm.pcrs.is_empty(), style)
}

fn events(tpm: &HostTpm, style: &Style) -> String {
    let mut table = Table::new([right("PCR"), left("EVENT"), left("MEASURED")]);
    for event in &tpm.events {
        let content = &event.content;
        table.row([
            event.pcr.to_string().into(),
            content.event_type.as_str().into(),
            content.string.as_str().into(),
        ]);
    }
    section(&table, tpm.events.is_empty(), style)
}

fn keys(keys: &[SealedKey], style: &Style) -> String {
    let mut table = Table::new([
        left("KEY OF"),
        left("DATASET"),
        left("PCRS"),
        shrinking("THE TPM"),
    ]);
    for key in keys {
        let gives = if key.changed.is_empty() {
            Cell::new("gives it", Tone::Good)
        } else {
            let changed = numbers(&key.changed);
            Cell::new(format!("keeps it: PCR {changed} changed since"), Tone::Bad)
        };
        let state = if key.unlocked { "unlocked" } else { "locked" };
        table.row([
            key.dataset.as_str().into(),
            state.into(),
            registers_of(key).into(),
            gives,
        ]);
    }
    section(&table, keys.is_empty(), style)
}

/// `7, 11 signed`: by its value, and by whoever signs it.
fn registers_of(key: &SealedKey) -> String {
    let signed = key.signed_pcrs.iter().map(|pcr| format!("{pcr} signed"));
    let by_value = key.pcrs.iter().map(u8::to_string);
    by_value.chain(signed).collect::<Vec<_>>().join(", ")
}

fn numbers(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

fn section(table: &Table, empty: bool, style: &Style) -> String {
    if empty {
        String::new()
    } else {
        format!("\n{}", table.render(style))
    }
}

/// A recovery passphrase, and what to do with it.
pub fn recovery(recovery: &Recovery, style: &Style) -> String {
    let rows = [
        ("Pool", recovery.pool.clone()),
        ("Recovery passphrase", recovery.passphrase.clone()),
    ];
    let mut text = fields(&rows, style);
    text.push_str(
        "Note it now: it is never shown again. It unlocks the pool's state where the TPM does not.\n",
    );
    text
}
