//! Syslog messages (RFC 5424 §6) and their framing over TCP (RFC 6587 §3.4.1).

use std::time::{Duration, UNIX_EPOCH};

use axion_api::init::LogEntry;

/// Facility `kern`.
const KERNEL: u32 = 0;
/// Facility `daemon`.
const DAEMON: u32 = 3;

/// One message.
pub fn format(entry: &LogEntry, hostname: &str) -> String {
    let facility = if entry.source == "kernel" { KERNEL } else { DAEMON };
    let priority = facility * 8 + u32::from(entry.severity.min(7));
    let time = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(entry.unix_us));
    let (host, app) = (header(hostname, 255), header(&entry.source, 48));
    format!("<{priority}>1 {time} {host} {app} - - - {}", entry.message)
}

/// One message in a TCP stream: its length in octets, a space, the message.
pub fn frame(message: &str) -> String {
    format!("{} {message}", message.len())
}

/// A header field: printable ASCII without spaces, `-` for none.
fn header(text: &str, max: usize) -> String {
    let field: String = text.chars().filter(char::is_ascii_graphic).take(max).collect();
    if field.is_empty() { "-".to_owned() } else { field }
}

#[cfg(test)]
mod tests;
