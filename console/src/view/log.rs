//! The log, newest line at the bottom, long lines folded.

use axion_api::init::LogEntry;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::wrap::columns;
use super::{Theme, body_height};
use crate::app::App;

/// Rows of the page for lines of the log, on a screen of `rows`: one says which are shown.
pub fn room(rows: u16) -> usize {
    usize::from(body_height(rows).saturating_sub(1))
}

/// Rows that a line of the log takes on a screen of `width` columns.
pub fn rows(entry: &LogEntry, width: u16) -> usize {
    fold(&line(entry, &Theme::PLAIN), usize::from(width).max(1)).len()
}

pub fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let room = usize::from(area.height.saturating_sub(1));
    let width = usize::from(area.width).max(1);
    let mut rows: Vec<Line<'_>> = Vec::new();
    for entry in app.log.upwards() {
        if rows.len() >= room {
            break;
        }
        let mut folded = fold(&line(entry, theme), width);
        folded.reverse();
        rows.extend(folded);
    }
    rows.truncate(room);
    rows.push(status(app, theme));
    rows.reverse();
    frame.render_widget(Paragraph::new(rows), area);
}

fn status<'a>(app: &App, theme: &Theme) -> Line<'a> {
    let follows = if app.log.follows() {
        "newest at the bottom"
    } else {
        "stopped here; End goes on"
    };
    Line::styled(
        format!("Showing {}, {follows}", app.log.filter().title()),
        theme.strong(),
    )
}

/// One entry: time of day (UTC), severity where it matters, source, text.
pub fn line<'a>(entry: &'a LogEntry, theme: &Theme) -> Line<'a> {
    let style = theme.severity(entry.severity);
    let word = match entry.severity {
        0 => "emergency ",
        1 => "alert ",
        2 => "critical ",
        3 => "error ",
        4 => "warning ",
        _ => "",
    };
    Line::from(vec![
        Span::styled(format!("{} ", time_of_day(entry.unix_us)), theme.dim()),
        Span::styled(word, style),
        Span::styled(format!("{}: ", entry.source), style),
        Span::styled(entry.message.as_str(), style),
    ])
}

fn time_of_day(unix_us: u64) -> String {
    let seconds = unix_us / 1_000_000 % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Cuts a line into rows of `width` columns.
fn fold<'a>(line: &Line<'_>, width: usize) -> Vec<Line<'a>> {
    let mut rows = vec![Line::default()];
    let mut used = 0;
    for span in &line.spans {
        let mut text = String::new();
        for character in span.content.chars() {
            let columns = columns(character);
            if used + columns > width {
                push(&mut rows, std::mem::take(&mut text), span.style);
                rows.push(Line::default());
                used = 0;
            }
            text.push(character);
            used += columns;
        }
        push(&mut rows, text, span.style);
    }
    rows
}

fn push(rows: &mut [Line<'_>], text: String, style: Style) {
    if let Some(row) = rows.last_mut().filter(|_| !text.is_empty()) {
        row.push_span(Span::styled(text, style));
    }
}
