//! What the screen shows: a function of the state alone.
//!
//! ```text
//! hostname  version  uptime                                   READY
//! 1 Summary   2 Boot   3 Services & VMs   4 Storage   5 Log   6 Profile
//!                                                (body, body_height rows)
//! what became of the last request, or the keys
//! ```

mod boot;
mod dialog;
mod install;
mod log;
mod profile;
mod services;
mod storage;
mod summary;
mod theme;
mod trouble;
mod wrap;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::app::{App, Dialog, Page};
use crate::node::Condition;
pub use log::{room as log_room, rows as log_rows};
pub use theme::Theme;

/// Rows that are not the body's: header, tabs, footer.
const FRAME_ROWS: u16 = 3;

/// Rows of the body on a screen of `rows`.
pub fn body_height(rows: u16) -> u16 {
    rows.saturating_sub(FRAME_ROWS)
}

/// The largest useful [`App::scroll`] for the page shown.
pub fn last_scroll(app: &App) -> usize {
    let theme = Theme::PLAIN;
    if app.page == Page::Profile {
        let items = app
            .snapshot
            .profile
            .as_ref()
            .map_or(0, |profile| profile.items.len());
        return items.saturating_sub(1);
    }
    let lines = match app.page {
        Page::Boot => boot::lines(app, &theme).len(),
        Page::Services => services::lines(app, &theme, app.size.0).len(),
        Page::Storage => storage::lines(app, &theme, app.size.0).len(),
        Page::Summary | Page::Log | Page::Profile => 0,
    };
    lines.saturating_sub(usize::from(body_height(app.size.1)))
}

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, app: &App, theme: &Theme) {
    let [top, tabs, body, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    header(frame, top, app, theme);
    frame.render_widget(tab_line(app, theme), tabs);
    match app.page {
        Page::Summary => summary::draw(frame, body, app, theme),
        Page::Boot => scrolled(frame, body, boot::lines(app, theme), app.scroll),
        Page::Services => scrolled(frame, body, services::lines(app, theme, body.width), app.scroll),
        Page::Storage => scrolled(frame, body, storage::lines(app, theme, body.width), app.scroll),
        Page::Log => log::draw(frame, body, app, theme),
        Page::Profile => profile::draw(frame, body, app, theme),
    }
    frame.render_widget(footer(app, theme), bottom);
    match &app.dialog {
        None => {}
        Some(Dialog::Install(wizard)) => install::draw(frame, wizard, app, theme),
        Some(Dialog::Installing) => {
            install::draw_progress(frame, app.snapshot.install.progress.as_ref(), theme);
        }
        Some(dialog) => dialog::draw(frame, dialog, app, theme),
    }
    theme.constrain(frame.buffer_mut());
}

fn scrolled(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'_>>, scroll: usize) {
    let shown: Vec<Line<'_>> = lines
        .into_iter()
        .skip(scroll)
        .take(usize::from(area.height))
        .collect();
    frame.render_widget(Paragraph::new(shown), area);
}

fn header(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let (condition, badge) = match app.snapshot.condition() {
        Condition::Unknown => (theme.bad(), "NO WORD FROM INIT"),
        Condition::Booting => (theme.warn(), "BOOTING"),
        Condition::Ready => (theme.good(), "READY"),
        Condition::Degraded => (theme.warn(), "DEGRADED"),
    };
    let hostname = app
        .snapshot
        .init
        .as_ref()
        .map_or("", |facts| facts.node.hostname.as_str());
    let hostname = if hostname.is_empty() {
        "Axion node"
    } else {
        hostname
    };
    let uptime = duration_words(app.snapshot.uptime_minutes);
    let line = if app.line.is_empty() {
        String::new()
    } else {
        format!("  on {}", app.line)
    };
    let about = format!("  Axion {}  up {uptime}{line}", env!("CARGO_PKG_VERSION"));
    frame.buffer_mut().set_style(area, theme.bar());
    let badge = Span::styled(format!(" {badge} "), theme.badge(condition));
    let badge_width = u16::try_from(badge.width()).unwrap_or(area.width).min(area.width);
    let [left, right] = Layout::horizontal([Constraint::Min(0), Constraint::Length(badge_width)]).areas(area);
    let name = Span::styled(format!(" {hostname}"), theme.bar_strong());
    frame.render_widget(Line::from(vec![name, Span::styled(about, theme.bar())]), left);
    frame.render_widget(badge, right);
}

fn tab_line<'a>(app: &App, theme: &Theme) -> Line<'a> {
    let tab = |(index, page): (usize, &Page)| {
        let text = format!(" {} {} ", index + 1, page.title());
        let style = if *page == app.page {
            theme.selected()
        } else {
            theme.dim()
        };
        [Span::styled(text, style), Span::raw(" ")]
    };
    Page::ALL.iter().enumerate().flat_map(tab).collect()
}

fn footer<'a>(app: &'a App, theme: &Theme) -> Line<'a> {
    if let Some(notice) = &app.notice {
        return Line::styled(format!(" {notice}"), theme.warn());
    }
    if matches!(app.dialog, Some(Dialog::Install(_) | Dialog::Installing)) {
        // They say their keys themselves.
        return Line::default();
    }
    let mut keys = vec![("1-6", "page")];
    match app.page {
        Page::Log => keys.extend([("Up/Down", "scroll"), ("s", "severity"), ("End", "newest")]),
        Page::Profile => keys.extend([("c", "check"), ("a", "apply")]),
        _ if last_scroll(app) > 0 => keys.push(("Up/Down", "scroll")),
        _ => {}
    }
    if !app.snapshot.locks().is_empty() {
        keys.push(("u", "unlock"));
    }
    if app.snapshot.install.offered {
        keys.push(("i", "install"));
    }
    keys.extend([
        ("r", "reboot"),
        ("p", "power off"),
        ("t", "trouble"),
        ("Ctrl-L", "repaint"),
    ]);
    let key = |(key, does): (&'static str, &'static str)| {
        [
            Span::styled(format!(" {key}"), theme.strong()),
            Span::styled(format!(" {does} "), theme.dim()),
        ]
    };
    keys.into_iter().flat_map(key).collect()
}

/// Whole minutes as people say them: `12 min`, `3 h 12 min`, `5 d 3 h`.
fn duration_words(minutes: u64) -> String {
    let (hours, days) = (minutes / 60, minutes / 1440);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

/// How long ago a time was, in words; empty for a clock that was set since.
fn age_words(app: &App, since_unix_us: u64) -> String {
    let since_minutes = since_unix_us / 60_000_000;
    app.snapshot
        .now_minutes
        .checked_sub(since_minutes)
        .map(duration_words)
        .unwrap_or_default()
}

/// The start of a name that is too long for its column.
fn cut(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_owned();
    }
    name.chars().take(width - 1).chain(['>']).collect()
}

#[cfg(test)]
mod tests;
