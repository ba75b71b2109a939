//! Questions over the page.

use axion_api::host::PowerAction;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Paragraph, Wrap};

use super::Theme;
use crate::app::{App, Dialog, confirmation};

/// Columns of a dialog with its border.
const WIDTH: u16 = 66;

pub fn draw(frame: &mut Frame<'_>, dialog: &Dialog, app: &App, theme: &Theme) {
    let (title, text) = match dialog {
        Dialog::Power { action, typed } => power(*action, typed, app, theme),
        Dialog::Token => token(theme),
    };
    let screen = frame.area();
    let width = WIDTH.min(screen.width);
    let inner_width = usize::from(width.saturating_sub(2)).max(1);
    let rows: usize = text
        .lines
        .iter()
        .map(|line| line.width().div_ceil(inner_width).max(1))
        .sum();
    // A line that wraps at words may take a row more than its columns say.
    let height = u16::try_from(rows + 3)
        .unwrap_or(screen.height)
        .min(screen.height);
    let area = Rect {
        x: (screen.width - width) / 2,
        y: (screen.height - height) / 2,
        width,
        height,
    };
    let inner = theme.boxed(frame, area, title, theme.warn());
    frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: false }), inner);
}

fn power<'a>(action: PowerAction, typed: &str, app: &App, theme: &Theme) -> (&'static str, Text<'a>) {
    let (title, after) = match action {
        PowerAction::Reboot => ("Reboot this node?", "Then the machine starts again."),
        PowerAction::PowerOff => (
            "Power this node off?",
            "Then the machine stays off until somebody switches it on.",
        ),
    };
    let mut lines = what_stops(app, theme);
    lines.push(Line::from(after));
    lines.push(Line::default());
    lines.push(Line::from(vec![
        Span::raw("Type "),
        Span::styled(confirmation(action), theme.strong()),
        Span::raw(" and press Enter. Esc goes back."),
    ]));
    lines.push(Line::from(vec![
        Span::raw("> "),
        Span::styled(format!("{typed}_"), theme.strong()),
    ]));
    (title, Text::from(lines))
}

fn what_stops<'a>(app: &App, theme: &Theme) -> Vec<Line<'a>> {
    let running = app.snapshot.running_vms();
    let unknown = app.snapshot.vms.is_err() && app.snapshot.init.is_err();
    let mut lines = match running.len() {
        _ if unknown => vec![Line::styled(
            "How many VMs run is not known: neither init nor the agent answers.",
            theme.bad(),
        )],
        0 => vec![Line::from("No VM runs.")],
        1 => vec![Line::styled(
            "1 running VM is asked to power off, and cut off if it does not:",
            theme.bad(),
        )],
        n => vec![Line::styled(
            format!("{n} running VMs are asked to power off, and cut off if they do not:"),
            theme.bad(),
        )],
    };
    if !running.is_empty() {
        lines.push(Line::from(format!("  {}", listed(&running))));
    }
    if app
        .snapshot
        .init
        .as_ref()
        .is_ok_and(|facts| !facts.node.persistent_state)
    {
        lines.push(Line::from(
            "State is in memory only: VMs and settings are gone afterwards.",
        ));
    }
    lines
}

/// The first names, and how many there are besides.
fn listed(names: &[&str]) -> String {
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    if names.len() > 5 {
        format!("{shown} and {} more", names.len() - 5)
    } else {
        shown
    }
}

fn token<'a>(theme: &Theme) -> (&'static str, Text<'a>) {
    let lines = vec![
        Line::from("The token is then removed from this node's memory. Nobody can"),
        Line::from("show it again; only its hash stays."),
        Line::default(),
        Line::from(vec![
            Span::raw("Press "),
            Span::styled("y", theme.strong()),
            Span::raw(" if it is noted, any other key to go back."),
        ]),
    ];
    ("Is the token noted?", Text::from(lines))
}
