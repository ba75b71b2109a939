//! What results look like to people. Pure: a value in, text out; the terminal was looked at before.
//!
//! What a node, a guest or a unit says may hold control characters; [`plain`] takes them out of every text.

pub mod capacity;
pub mod context;
pub mod dataset;
pub mod device;
pub mod event;
pub mod host;
pub mod image;
pub mod log;
pub mod media;
pub mod netboot;
pub mod network;
mod placement;
pub mod pool;
pub mod profile;
pub mod proof;
mod sandbox;
pub mod stats;
pub mod support;
mod table;
#[cfg(test)]
mod tests;
pub mod tpm;
pub mod update;
pub mod vm;
pub mod volume;

use std::time::{Duration, UNIX_EPOCH};

use console::measure_text_width;

/// How text is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal; `None`: as wide as it takes.
    pub width: Option<usize>,
    /// Whether colours are wanted.
    pub colour: bool,
}

/// What a text means, shown as a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
    Faint,
}

impl Style {
    fn paint(&self, text: &str, tone: Tone) -> String {
        let style = console::Style::new().force_styling(self.colour);
        let style = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => style.green(),
            Tone::Warning => style.yellow(),
            Tone::Bad => style.red(),
            Tone::Faint => style.dim(),
        };
        style.apply_to(text).to_string()
    }

    fn heading(&self, text: &str) -> String {
        console::Style::new()
            .bold()
            .force_styling(self.colour)
            .apply_to(text)
            .to_string()
    }
}

/// Text without control characters, which could move a terminal's cursor, set its title, or worse.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{FFFD}' } else { c })
        .collect()
}

/// Names and values, one a line. A value that does not fit beside its name gets a line of its own, whole: it is there to
/// be copied.
fn fields(rows: &[(&str, String)], style: &Style) -> String {
    let column = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let mut text = String::new();
    for (name, value) in rows {
        let value = plain(value);
        let fits = style
            .width
            .is_none_or(|width| column + measure_text_width(&value) <= width);
        let gap = if fits {
            " ".repeat(column - name.len())
        } else {
            "\n  ".to_owned()
        };
        text.push_str(&format!("{}{gap}{value}\n", style.heading(name)));
    }
    text
}

/// A moment, UTC.
fn moment(unix_us: u64) -> String {
    let time = UNIX_EPOCH
        .checked_add(Duration::from_micros(unix_us))
        .filter(|_| unix_us < 1 << 57);
    time.map_or_else(
        || "?".to_owned(),
        |time| humantime::format_rfc3339_millis(time).to_string(),
    )
}

/// How long ago something was, in its largest unit.
fn age(now_us: u64, then_us: u64) -> String {
    let seconds = now_us.saturating_sub(then_us) / 1_000_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A duration in milliseconds, to a tenth below ten.
fn milliseconds(us: u64) -> String {
    if us < 10_000 {
        format!("{}.{} ms", us / 1000, us % 1000 / 100)
    } else {
        format!("{} ms", us / 1000)
    }
}

/// Bytes, to two digits behind the point.
pub fn bytes(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
