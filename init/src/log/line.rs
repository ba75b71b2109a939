//! The log on a serial line (`console.log`).
//!
//! Boot media name no serial port on the kernel command line, because one that is not there may cost minutes; so it is not the
//! kernel that writes the log to the line which the config asks for. A thread does: a line of text takes milliseconds, in which
//! PID 1's event loop must not stand still. What comes faster than the line carries is lost to it, and to it alone.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use axion_api::init::LogEntry;
use tokio::sync::mpsc::Receiver;

use super::{DEBUG, Log};

/// Lines that wait for the serial line.
const QUEUE: usize = 1024;

/// Writes the log to `line`, what happened so far first, for as long as it can be written to.
///
/// # Errors
/// There is no memory for a thread.
pub fn start(log: &Log, mut line: impl Write + Send + 'static) -> std::io::Result<()> {
    let lines = log.subscribe(QUEUE);
    let backlog = log.after(0, QUEUE);
    std::thread::Builder::new()
        .name("log-line".to_owned())
        .spawn(move || copy(backlog, lines, &mut line))
        .map(drop)
}

fn copy(backlog: Vec<LogEntry>, mut lines: Receiver<LogEntry>, line: &mut impl Write) {
    let last = backlog.last().map_or(0, |entry| entry.sequence);
    let new = std::iter::from_fn(move || lines.blocking_recv()).filter(|entry| entry.sequence > last);
    for entry in backlog.into_iter().chain(new) {
        // Kernel consoles do not show these either.
        if entry.severity < DEBUG && line.write_all(text(&entry).as_bytes()).is_err() {
            return;
        }
    }
}

/// A line as the kernel would write it, with the time of the day.
fn text(entry: &LogEntry) -> String {
    let time = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_micros(entry.unix_us));
    let LogEntry { source, message, .. } = entry;
    match source.as_str() {
        "kernel" => format!("{time} {message}\n"),
        _ => format!("{time} axion: {source}: {message}\n"),
    }
}

#[cfg(test)]
mod tests;
