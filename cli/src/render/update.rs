//! The slots of an installed node.

use axion_api::update::{MirrorPlan, MirrorStatus, SlotState, SlotStatus, UpdateStatus};

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, bytes, fields, or_dash, plain};

/// What runs and what is next, the slots, and why one was given up; with `log` the log that it left.
pub fn show(status: &UpdateStatus, log: bool, style: &Style) -> String {
    let named = |slot: &str| match status.slot(slot) {
        Some(found) => format!("slot {slot}, Axion {}", found.version),
        None => format!("slot {slot}"),
    };
    let next = status.next.as_deref().map_or_else(|| "nothing".to_owned(), named);
    let keys = if status.trusted_keys.is_empty() {
        "none: no update is taken; `[update] keys` of the machine config names them".to_owned()
    } else {
        status.trusted_keys.join(", ")
    };
    let mut rows = vec![
        ("Runs", named(&status.running)),
        ("Next start", next),
        ("Trusted keys", keys),
    ];
    if let Some(mirror) = &status.mirror {
        rows.push(("System disk", mirror.started.clone()));
        rows.push(("Mirror", in_words(mirror)));
    }
    let mut text = fields(&rows, style);
    let mut table = Table::new([
        left("SLOT"),
        left("VERSION"),
        left("STATE"),
        right("TRIES"),
        right("SIZE"),
        shrinking("DIGEST"),
    ]);
    for slot in &status.slots {
        table.row([
            slot.slot.as_str().into(),
            slot.version.as_str().into(),
            Cell::new(slot.state.to_string(), tone(slot.state)),
            or_dash(slot.tries_left).into(),
            bytes(slot.size).into(),
            slot.digest.as_str().into(),
        ]);
    }
    text.push_str(&format!("\n{}", table.render(style)));
    for slot in &status.slots {
        text.push_str(&failure(slot, log, style));
    }
    text
}

fn in_words(mirror: &MirrorStatus) -> String {
    let why = mirror.why.as_ref().map(|why| format!(": {why}"));
    format!("{}, {}{}", mirror.other, mirror.state, why.unwrap_or_default())
}

/// What becomes of a disk that is to be the second one.
pub fn plan(plan: &MirrorPlan) -> String {
    let text: Vec<String> = plan.text.lines().map(plain).collect();
    format!("{}\n\nIts word is {}\n", text.join("\n"), plain(&plan.token))
}

const fn tone(state: SlotState) -> Tone {
    match state {
        SlotState::Confirmed => Tone::Good,
        SlotState::Staged => Tone::Plain,
        SlotState::Trying => Tone::Warning,
        SlotState::Failed => Tone::Bad,
    }
}

fn failure(slot: &SlotStatus, log: bool, style: &Style) -> String {
    let Some(failure) = &slot.failure else {
        return String::new();
    };
    let heading = format!("Slot {}, Axion {}, was not confirmed", slot.slot, slot.version);
    let mut text = format!(
        "\n{}\n  {}\n",
        style.heading(&plain(&heading)),
        plain(&failure.why)
    );
    if log {
        for line in failure.log.lines() {
            text.push_str(&format!("  | {}\n", plain(line)));
        }
    } else if !failure.log.is_empty() {
        text.push_str("  `axctl update status --log` shows the end of its log\n");
    }
    text
}
