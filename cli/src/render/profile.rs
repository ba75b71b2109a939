//! The boot profile.

use axion_api::profile::{AppliedProfile, HostProfile, NextBoot, ProfilePreview};
use axion_core::profile::{Attestation, ItemState, Plan, Refusal, Standing};
use axion_core::topology::CpuSet;
use console::measure_text_width;

use super::table::{Cell, Table, left, shrinking};
use super::{Style, Tone, fields, plain};

/// The profile of a node: what is planned, what is so, what mends what is not.
pub fn show(profile: &HostProfile, style: &Style) -> String {
    let standing = match profile.standing {
        Standing::Planned => format!("{}, {}", profile.plan.mode, profile.attestation.state.word()),
        Standing::Off => "off".to_owned(),
        Standing::Refused => "refused: nothing of `[profile]` is put in force".to_owned(),
    };
    let mut rows = vec![("Profile", standing)];
    rows.extend(division(&profile.plan));
    let mut text = fields(&rows, style);
    if !profile.refusals.is_empty() {
        text.push('\n');
        text.push_str(&refusals(&profile.refusals, style));
    }
    text.push_str(&items(&profile.attestation, style));
    text.push_str(&fixes(&profile.attestation, style));
    text.push_str(&notes(&profile.plan, style));
    text
}

/// What came of putting it in force again.
pub fn applied(applied: &AppliedProfile, style: &Style) -> String {
    let done = match applied.done.as_slice() {
        [] => "nothing".to_owned(),
        keys => keys.join(", "),
    };
    let rows = [
        ("Done", done),
        ("Profile", applied.attestation.state.word().to_owned()),
    ];
    let mut text = fields(&rows, style);
    for left in &applied.left {
        let key = style.paint(&plain(&left.key), Tone::Warning);
        text.push_str(&format!("\n{key}\n{}", set_in(&left.reason, style)));
    }
    let mut wrong = applied.attestation.clone();
    wrong.items.retain(|item| item.state != ItemState::Ok);
    text.push_str(&items(&wrong, style));
    text
}

/// What a config would bring.
pub fn preview(preview: &ProfilePreview, style: &Style) -> String {
    let plan = &preview.plan;
    let next_boot = match preview.next_boot {
        NextBoot::InForce => "the command line has every argument",
        NextBoot::Kexec => "a second start of the kernel, with the line below",
        NextBoot::Restart => "a restart of the machine, with the line below; on an installed disk only",
        NextBoot::TooLong => "without arguments: the line below is longer than the kernel keeps",
        NextBoot::SwitchedOff => "without the profile: `axion.profile=off` is on the command line",
    };
    let mut rows = vec![("Profile", plan.mode.to_string())];
    rows.extend(division(plan));
    rows.push(("Next boot", next_boot.to_owned()));
    rows.push(("Command line", preview.command_line.clone()));
    let mut text = fields(&rows, style);
    for argument in &preview.overridden {
        let argument = style.paint(&plain(argument), Tone::Warning);
        let why = set_in(
            "is given otherwise on the command line, by hand: the hand wins",
            style,
        );
        text.push_str(&format!("{argument}\n{why}"));
    }
    text.push_str(&items(&preview.attestation, style));
    let arguments = plan.arguments.iter().map(|planned| (&planned.text, &planned.why));
    let settings = plan.actions.iter().map(|planned| (&planned.key, &planned.why));
    let reasons: String = arguments
        .chain(settings)
        .map(|(what, why)| set_in(&format!("{what}: {why}"), style))
        .collect();
    if !reasons.is_empty() {
        text.push_str(&format!("\n{}\n{reasons}", style.heading("Why")));
    }
    text.push_str(&notes(plan, style));
    text
}

/// What cannot be granted, each with the nearest that can.
pub fn refusals(refusals: &[Refusal], style: &Style) -> String {
    let mut text = String::new();
    for refusal in refusals {
        text.push_str(&format!("{}\n", style.paint(&plain(&refusal.key), Tone::Bad)));
        text.push_str(&set_in(&refusal.reason, style));
        if let Some(nearest) = &refusal.nearest {
            text.push_str(&set_in(&format!("possible: {nearest}"), style));
        }
    }
    text
}

/// Words in lines that fit, set in.
fn set_in(text: &str, style: &Style) -> String {
    const MARGIN: &str = "  ";
    let width = style.width.unwrap_or(usize::MAX);
    let mut lines = String::new();
    let mut line = String::new();
    for word in plain(text).split(' ') {
        let longer = MARGIN.len() + measure_text_width(&line) + 1 + measure_text_width(word);
        if !line.is_empty() && longer > width {
            lines.push_str(&format!("{MARGIN}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    format!("{lines}{MARGIN}{line}\n")
}

fn division(plan: &Plan) -> [(&'static str, String); 2] {
    let cpus = |cpus: &CpuSet| {
        if cpus.is_empty() {
            "-".to_owned()
        } else {
            cpus.to_string()
        }
    };
    [
        ("Host CPUs", cpus(&plan.housekeeping)),
        ("Workload CPUs", cpus(&plan.isolated)),
    ]
}

/// What a state means.
const fn tone(state: ItemState) -> Tone {
    match state {
        ItemState::Ok => Tone::Good,
        ItemState::Drifted | ItemState::NeedsReboot => Tone::Warning,
        ItemState::Impossible => Tone::Bad,
    }
}

fn items(attestation: &Attestation, style: &Style) -> String {
    let mut table = Table::new([
        shrinking("ITEM"),
        shrinking("PLANNED"),
        shrinking("NOW"),
        left("STATE"),
    ]);
    for item in &attestation.items {
        table.row([
            (&item.key).into(),
            (&item.desired).into(),
            (&item.effective).into(),
            Cell::new(item.state.word(), tone(item.state)),
        ]);
    }
    if attestation.items.is_empty() {
        String::new()
    } else {
        format!("\n{}", table.render(style))
    }
}

fn fixes(attestation: &Attestation, style: &Style) -> String {
    let mut text = String::new();
    for item in &attestation.items {
        if let Some(fix) = &item.fix {
            let key = style.paint(&plain(&item.key), tone(item.state));
            text.push_str(&format!("\n{key}\n{}", set_in(fix, style)));
        }
    }
    text
}

fn notes(plan: &Plan, style: &Style) -> String {
    let notes: String = plan.notes.iter().map(|note| set_in(note, style)).collect();
    if notes.is_empty() {
        notes
    } else {
        format!("\n{}\n{notes}", style.heading("Left as it is"))
    }
}
