//! Lines of the node's log.

use axion_api::host::LogEntry;

use super::{Style, Tone, moment, plain};

/// One line, coloured by its severity (RFC 5424 §6.2.1).
pub fn line(entry: &LogEntry, style: &Style) -> String {
    let tone = match entry.severity {
        0..=3 => Tone::Bad,
        4 => Tone::Warning,
        5 | 6 => Tone::Plain,
        _ => Tone::Faint,
    };
    let text = style.paint(&plain(&entry.message), tone);
    format!(
        "{} {}: {text}",
        style.paint(&moment(entry.unix_us), Tone::Faint),
        plain(&entry.source)
    )
}
