//! Questions over the page.

use axion_api::host::PowerAction;
use axion_core::config::Secret;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::{Theme, trouble, wrap};
use crate::app::{App, Dialog, confirmation};
use crate::node::Lock;

/// Columns of a dialog with its border.
const WIDTH: u16 = 66;

/// Locked things that are listed at once.
const LISTED: usize = 10;

/// A line of a dialog.
pub(super) type Row = (String, Style);

pub fn draw(frame: &mut Frame<'_>, dialog: &Dialog, app: &App, theme: &Theme) {
    let (title, rows) = match dialog {
        // They have a view of their own.
        Dialog::Install(_) | Dialog::Installing => return,
        Dialog::Power { action, typed } => power(*action, typed, app, theme),
        Dialog::Trouble(question) => trouble::rows(question, app, theme),
        Dialog::Token => token(theme),
        Dialog::Recovery => recovery(theme),
        Dialog::Locks { chosen } => locks(*chosen, app, theme),
        Dialog::Unlock { lock, typed, first } => unlock(lock, typed, first.is_some(), app, theme),
    };
    let screen = frame.area();
    let width = WIDTH.min(screen.width);
    let room = usize::from(width.saturating_sub(4));
    let wrapped = |(text, style): Row| {
        let rows = wrap::words(&text, room).into_iter();
        rows.map(move |row| Line::styled(format!(" {row}"), style))
            .collect::<Vec<_>>()
    };
    let lines: Vec<Line<'_>> = rows.into_iter().flat_map(wrapped).collect();
    let height = u16::try_from(lines.len() + 2)
        .unwrap_or(screen.height)
        .min(screen.height);
    let area = Rect {
        x: (screen.width - width) / 2,
        y: (screen.height - height) / 2,
        width,
        height,
    };
    let inner = theme.boxed(frame, area, title, theme.warn());
    // Where the screen is too low, what is to be typed stays in sight.
    let hidden = u16::try_from(lines.len())
        .unwrap_or(u16::MAX)
        .saturating_sub(inner.height);
    frame.render_widget(Paragraph::new(lines).scroll((hidden, 0)), inner);
}

fn power(action: PowerAction, typed: &str, app: &App, theme: &Theme) -> (&'static str, Vec<Row>) {
    let (title, after) = match action {
        PowerAction::Reboot => ("Reboot this node?", "Then the machine starts again."),
        PowerAction::PowerOff => (
            "Power this node off?",
            "Then the machine stays off until somebody switches it on.",
        ),
    };
    let ask = format!(
        "Type \"{}\" and press Enter. Esc goes back.",
        confirmation(action)
    );
    let mut rows = what_stops(app, theme);
    rows.push((after.to_owned(), Style::new()));
    rows.push((String::new(), Style::new()));
    rows.push((ask, theme.strong()));
    rows.push((format!("> {typed}_"), theme.strong()));
    (title, rows)
}

/// What a restart stops.
pub(super) fn what_stops(app: &App, theme: &Theme) -> Vec<Row> {
    let snapshot = &app.snapshot;
    let running = snapshot.running_vms();
    let first = match running.as_slice() {
        _ if snapshot.vms.is_err() && snapshot.init.is_err() => (
            "How many VMs run is not known: neither init nor the agent answers.".to_owned(),
            theme.bad(),
        ),
        [] => ("No VM runs.".to_owned(), Style::new()),
        [name] => (
            format!("1 running VM is asked to power off, and cut off if it does not: {name}"),
            theme.bad(),
        ),
        names => (
            format!(
                "{} running VMs are asked to power off, and cut off if they do not: {}",
                names.len(),
                listed(names)
            ),
            theme.bad(),
        ),
    };
    let mut rows = vec![first];
    if snapshot
        .init
        .as_ref()
        .is_ok_and(|facts| !facts.node.persistent_state)
    {
        let lost = "State is in memory only: VMs and settings are gone afterwards.";
        rows.push((lost.to_owned(), Style::new()));
    }
    rows
}

/// The first names, and how many there are besides.
fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(5) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn token(theme: &Theme) -> (&'static str, Vec<Row>) {
    let gone =
        "The token is then removed from this node's memory. Nobody can show it again; only its hash stays.";
    let ask = "Press y if it is noted, any other key to go back.";
    let rows = [(gone, Style::new()), ("", Style::new()), (ask, theme.strong())];
    (
        "Is the token noted?",
        rows.map(|(text, style)| (text.to_owned(), style)).into(),
    )
}

fn recovery(theme: &Theme) -> (&'static str, Vec<Row>) {
    let gone = "It is then removed from this node's memory. Nobody can show it again. Without it, what is on the pool is lost \
                when the TPM, the board or the firmware is changed.";
    let ask = "Press y if it is noted, any other key to go back.";
    let rows = [(gone, Style::new()), ("", Style::new()), (ask, theme.strong())];
    (
        "Is the recovery passphrase noted?",
        rows.map(|(text, style)| (text.to_owned(), style)).into(),
    )
}

/// What is locked, as a list to choose from.
fn locks(chosen: usize, app: &App, theme: &Theme) -> (&'static str, Vec<Row>) {
    let locks = app.snapshot.locks();
    let last = locks.len().saturating_sub(1);
    let row = |(index, lock): (usize, &Lock)| {
        let (mark, style) = if index == chosen.min(last) {
            (">", theme.strong())
        } else {
            (" ", Style::new())
        };
        (format!("{mark} {}", lock.words()), style)
    };
    let ask = "Choose with Up and Down, and press Enter. Esc goes back.";
    let mut rows = vec![(ask.to_owned(), theme.strong()), (String::new(), Style::new())];
    // What is chosen stays in sight, however many there are.
    let first = chosen.min(last).saturating_sub(LISTED / 2);
    rows.extend(locks.iter().enumerate().map(row).skip(first).take(LISTED));
    ("What is to be unlocked?", rows)
}

/// Of a passphrase only its length is seen.
fn unlock(
    lock: &Lock,
    typed: &Secret,
    is_second: bool,
    app: &App,
    theme: &Theme,
) -> (&'static str, Vec<Row>) {
    let (title, ask) = match (lock, is_second) {
        (Lock::Dataset(_), _) => (
            "Unlock a dataset",
            "Type its passphrase, or its key as 64 hex digits, and press Enter. Esc goes back.",
        ),
        (Lock::State { is_new: false }, _) => (
            "Unlock the node's state",
            "Type the passphrase and press Enter. Esc goes back.",
        ),
        (Lock::State { is_new: true }, false) => (
            "A passphrase for the node's state",
            "Type a new passphrase of 8 bytes or more and press Enter. Esc goes back.",
        ),
        (Lock::State { is_new: true }, true) => (
            "A passphrase for the node's state",
            "Type it once more and press Enter.",
        ),
    };
    let mut rows = Vec::new();
    if let Lock::Dataset(name) = lock {
        rows.push((format!("Dataset {name} and what is below it."), Style::new()));
        rows.push((String::new(), Style::new()));
    } else if let Some(lock) = app.snapshot.state_lock() {
        rows.push((format!("Pool {}: {}.", lock.pool, lock.reason), Style::new()));
        rows.push((String::new(), Style::new()));
    }
    rows.push((ask.to_owned(), theme.strong()));
    let hidden = "*".repeat(typed.expose().chars().count());
    rows.push((format!("> {hidden}_"), theme.strong()));
    (title, rows)
}
