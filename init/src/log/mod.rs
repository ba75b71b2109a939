//! The node's log.
//!
//! ```text
//! init's own lines ─┬─> ring (D-Bus `Logs`) ─> receivers (RFC 5424), a serial line
//! services' lines ──┤
//!                   └─> /dev/kmsg ─> kernel consoles, pstore
//! kernel lines ─────────> ring
//! ```
//! A line that goes to `/dev/kmsg` comes back from there; the reader leaves it out, because the ring has it.

mod forward;
mod kernel;
mod line;
mod rfc5424;
mod ring;

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use axion_api::init::LogEntry;
use axion_core::cmdline::hide_configs;
use tokio::sync::mpsc;

pub use self::forward::start as start_forwarding;
pub use self::kernel::{all as kernel_log, read as read_kernel_log};
pub use self::line::start as start_line;
use self::ring::Ring;
use crate::clock;
use crate::sync::lock;

/// Severities of RFC 5424 §6.2.1 that init uses.
pub const CRITICAL: u8 = 2;
/// An error.
pub const ERROR: u8 = 3;
/// Something is not as it should be; the node goes on.
pub const WARNING: u8 = 4;
/// What happened.
pub const INFO: u8 = 6;
/// What kernel consoles do not show.
const DEBUG: u8 = 7;

/// Lines that the ring keeps.
const MAX_LINES: usize = 4096;
/// Bytes that the ring keeps.
const MAX_BYTES: usize = 1 << 20;
/// Bytes of a message in the ring.
pub const MAX_MESSAGE: usize = 2048;
/// Bytes of a record that the kernel takes from `/dev/kmsg` are 1024 with its own prefix.
const MAX_KMSG: usize = 960;

/// Handle of the log; clones write to the same one.
#[derive(Clone)]
pub struct Log(Arc<Inner>);

struct Inner {
    ring: Mutex<Ring>,
    kmsg: OnceLock<File>,
    receivers: Mutex<Vec<mpsc::Sender<LogEntry>>>,
}

impl Log {
    /// Opens the log. The kernel log is opened with the first line, once `/dev` is there.
    pub fn open() -> Self {
        let ring = Mutex::new(Ring::new(MAX_LINES, MAX_BYTES));
        Self(Arc::new(Inner {
            ring,
            kmsg: OnceLock::new(),
            receivers: Mutex::new(Vec::new()),
        }))
    }

    /// What happened, from init.
    pub fn info(&self, message: &str) {
        self.write(INFO, "init", message);
    }

    /// Something is not as it should be, from init.
    pub fn warning(&self, message: &str) {
        self.write(WARNING, "init", message);
    }

    /// An error, from init.
    pub fn error(&self, message: &str) {
        self.write(ERROR, "init", message);
    }

    /// Adds the lines of `message`, here and in the kernel log.
    pub fn write(&self, severity: u8, source: &str, message: &str) {
        self.add(severity, severity, source, message);
    }

    /// The same for what a guest may have a hand in: kernel consoles do not show it. A serial line takes milliseconds a
    /// line, in which PID 1 would stand still as often as the guest likes.
    pub fn write_off_console(&self, severity: u8, source: &str, message: &str) {
        self.add(severity, DEBUG, source, message);
    }

    fn add(&self, severity: u8, kmsg_severity: u8, source: &str, message: &str) {
        for line in message.lines().filter(|line| !line.is_empty()) {
            let line = printable(line);
            if let Some(mut kmsg) = self.kmsg() {
                let record = format!("<{kmsg_severity}>axion: {source}: {line}");
                // Without its newline the kernel keeps a record back, to be continued, until the next one.
                let record = format!("{}\n", truncated(&record, MAX_KMSG));
                // The kernel refuses records while its buffer is flooded; the ring still has the line.
                let _ = kmsg.write_all(record.as_bytes());
            }
            self.record(clock::unix_us(), severity, source, line);
        }
    }

    fn kmsg(&self) -> Option<&File> {
        if self.0.kmsg.get().is_none()
            && let Ok(file) = File::options().write(true).open("/dev/kmsg")
        {
            let _ = self.0.kmsg.set(file);
        }
        self.0.kmsg.get()
    }

    /// Adds a line that the kernel log has already.
    fn record(&self, unix_us: u64, severity: u8, source: &str, message: String) {
        let entry = lock(&self.0.ring).push(unix_us, severity, source.to_owned(), message);
        // A receiver that does not keep up loses lines; nothing here waits for it.
        lock(&self.0.receivers).retain(|r| {
            !matches!(
                r.try_send(entry.clone()),
                Err(mpsc::error::TrySendError::Closed(_))
            )
        });
    }

    /// Lines after sequence number `after`, oldest first, at most `limit`; with `after` 0 the last `limit` ones.
    pub fn after(&self, after: u64, limit: usize) -> Vec<LogEntry> {
        lock(&self.0.ring).after(after, limit)
    }

    /// Every line from now on; at most `capacity` wait, further ones are lost to this receiver.
    pub fn subscribe(&self, capacity: usize) -> mpsc::Receiver<LogEntry> {
        let (sender, receiver) = mpsc::channel(capacity);
        lock(&self.0.receivers).push(sender);
        receiver
    }
}

/// `line` without what a terminal would act on, as a guest may have written it, and without the machine config that a command line
/// carries, the kernel's own lines about it among them: what is logged goes to receivers.
pub fn printable(line: &str) -> String {
    let line = hide_configs(line.trim_end());
    let shown: String = line
        .chars()
        .map(|c| if c == '\t' { ' ' } else { c })
        .filter(|c| !c.is_control())
        .collect();
    truncated(&shown, MAX_MESSAGE).to_owned()
}

/// The start of `text`, at most `max` bytes, cut between characters.
fn truncated(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

#[cfg(test)]
mod tests;
