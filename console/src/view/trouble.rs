//! Questions about a node in trouble.

use axion_api::recovery::{ResetPlan, Stick};
use axion_api::update::{SlotState, SlotStatus, UpdateStatus};
use ratatui::style::Style;

use super::Theme;
use super::dialog::{Row, what_stops};
use crate::app::App;
use crate::app::trouble::{MOST_STICKS, ROLL_BACK, SHELL, Trouble};

/// Lines of a plan that are shown; the rest is counted.
const MOST_LINES: usize = 6;

/// Title and rows.
pub fn rows(question: &Trouble, app: &App, theme: &Theme) -> (&'static str, Vec<Row>) {
    let plain = |text: &str| (text.to_owned(), Style::new());
    let strong = |text: String| (text, theme.strong());
    match question {
        Trouble::Menu => (
            "What is wanted?",
            vec![
                strong("b  support bundle to a USB stick".to_owned()),
                plain("   logs, config without secrets, hardware, pools, the last crash"),
                strong("v  versions in the slots, and the way back to the one before".to_owned()),
                plain("   where the node was started from an installed disk"),
                strong("f  factory reset".to_owned()),
                plain("   forget the machine config, what the node keeps, or both"),
                strong("s  rescue shell on this line".to_owned()),
                plain("   where the machine config allows it"),
                plain(""),
                plain("Esc goes back."),
            ],
        ),
        Trouble::Sticks(sticks) => {
            let mut rows: Vec<Row> = (1..)
                .zip(sticks.iter().take(MOST_STICKS))
                .map(|(number, stick)| strong(format!("{number}  {}", about(stick))))
                .collect();
            rows.push(plain(""));
            rows.push(plain(
                "A file is added; what is there stays. Press its number, or Esc.",
            ));
            ("Which stick?", rows)
        }
        Trouble::Slots { status, typed } => ("Slots of the installed disk", slots(status, typed, app, theme)),
        Trouble::NoSlots(why) => (
            "Slots of the installed disk",
            vec![
                plain(&format!("There is nothing to go back to: {why}.")),
                plain(""),
                plain("Esc goes back."),
            ],
        ),
        Trouble::Scope => (
            "Factory reset: what is forgotten?",
            vec![
                strong("c  the machine config on the installed disk".to_owned()),
                strong("s  the state: VMs and their disks, certificate, token".to_owned()),
                strong("a  both".to_owned()),
                plain(""),
                plain("The next question says what is lost. Esc goes back."),
            ],
        ),
        Trouble::Reset { plan, typed } => ("Factory reset?", reset(plan, typed, theme)),
        Trouble::Shell { typed } => (
            "Rescue shell on this line?",
            vec![
                plain(
                    "A shell with every right takes the place of this console. `exit` brings the console back.",
                ),
                plain(""),
                strong(format!("Type \"{SHELL}\" and press Enter. Esc goes back.")),
                strong(format!("> {typed}_")),
            ],
        ),
    }
}

/// `sda1  KEYS, 14.9 GiB, SanDisk Ultra 4C530001230512105022`.
fn about(stick: &Stick) -> String {
    let mebibytes = stick.size >> 20;
    let size = if mebibytes >= 1024 {
        format!("{}.{} GiB", mebibytes / 1024, mebibytes % 1024 * 10 / 1024)
    } else {
        format!("{mebibytes} MiB")
    };
    let label = if stick.label.is_empty() {
        "no name"
    } else {
        &stick.label
    };
    let serial = stick.serial.as_deref().unwrap_or_default();
    let text = format!("{}  {label}, {size}, {} {serial}", stick.device, stick.disk);
    text.trim_end().to_owned()
}

fn slots(status: &UpdateStatus, typed: &str, app: &App, theme: &Theme) -> Vec<Row> {
    let mut rows = Vec::new();
    for name in ["a", "b"] {
        let Some(slot) = status.slot(name) else {
            rows.push((format!("{name}  empty"), Style::new()));
            continue;
        };
        let notes = [
            (status.running == slot.slot).then_some(", runs now"),
            (status.next.as_ref() == Some(&slot.slot)).then_some(", starts next"),
        ];
        let notes: String = notes.into_iter().flatten().collect();
        let text = format!("{name}  Axion {}, {}{notes}", slot.version, in_words(slot));
        rows.push((text, theme.strong()));
        if let Some(failure) = &slot.failure {
            rows.push((format!("Not confirmed: {}", failure.why), theme.bad()));
        }
    }
    if status.next.is_none() {
        rows.push(("Nothing on the disk starts.".to_owned(), theme.bad()));
    }
    rows.push((String::new(), Style::new()));
    let Some(back) = status.way_back() else {
        let none = "There is no other confirmed slot to go back to. Esc goes back.";
        rows.push((none.to_owned(), theme.strong()));
        return rows;
    };
    rows.extend(what_stops(app, theme));
    rows.push((String::new(), Style::new()));
    let ask = format!(
        "Type \"{ROLL_BACK}\" and press Enter: the node restarts with slot {}, Axion {}. Esc goes back.",
        back.slot, back.version
    );
    rows.push((ask, theme.strong()));
    rows.push((format!("> {typed}_"), theme.strong()));
    rows
}

fn in_words(slot: &SlotStatus) -> String {
    match (slot.state, slot.tries_left) {
        (SlotState::Staged, _) => "on trial from its first start on".to_owned(),
        (SlotState::Trying, Some(1)) => "on trial, 1 more start".to_owned(),
        (SlotState::Trying, left) => format!("on trial, {} more starts", left.unwrap_or_default()),
        (SlotState::Confirmed | SlotState::Failed, _) => slot.state.to_string(),
    }
}

fn reset(plan: &ResetPlan, typed: &str, theme: &Theme) -> Vec<Row> {
    let mut rows = Vec::new();
    for (heading, lines, style) in [
        ("Lost:", &plan.lost, theme.bad()),
        ("Kept:", &plan.kept, Style::new()),
    ] {
        if lines.is_empty() {
            continue;
        }
        rows.push((heading.to_owned(), theme.strong()));
        rows.extend(
            lines
                .iter()
                .take(MOST_LINES)
                .map(|line| (format!("- {line}"), style)),
        );
        if let more @ 1.. = lines.len().saturating_sub(MOST_LINES) {
            rows.push((format!("- and {more} more"), style));
        }
    }
    rows.push((String::new(), Style::new()));
    let ask = format!(
        "Type the host name, {}, and press Enter: the node restarts and forgets. Esc goes back.",
        plan.hostname
    );
    rows.push((ask, theme.strong()));
    rows.push((format!("> {typed}_"), theme.strong()));
    rows
}
