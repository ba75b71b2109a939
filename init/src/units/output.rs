//! What a unit writes: lines for the log, bounded in length and in rate, since a guest may be behind them.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::clock;
use crate::log::{INFO, Log, MAX_MESSAGE, WARNING};

/// Lines that may come at once, and per second after that.
const BURST: u32 = 1000;
const PER_SECOND: u32 = 200;

/// Copies what comes through `pipe` to the log until its last writer is gone; kernel consoles do not show transient
/// units.
pub async fn copy(mut pipe: pipe::Receiver, unit: String, transient: bool, log: Log) {
    let write = if transient {
        Log::write_off_console
    } else {
        Log::write
    };
    let mut buffer = vec![0; 4096];
    let mut lines = Lines::default();
    let mut limit = Limit::new(clock::since_start());
    loop {
        let length = match pipe.read(&mut buffer).await {
            Ok(length) => length,
            Err(e) => return log.warning(&format!("cannot read the output of {unit}: {e}")),
        };
        let chunk = buffer.get(..length).unwrap_or_default();
        for line in if length == 0 {
            lines.rest()
        } else {
            lines.push(chunk)
        } {
            if limit.allows(clock::since_start()) {
                if let Some(dropped) = limit.take_dropped() {
                    write(
                        &log,
                        WARNING,
                        &unit,
                        &format!("{dropped} lines were dropped: too many at once"),
                    );
                }
                let (severity, text) = severity(&line);
                write(&log, severity, &unit, text);
            }
        }
        if length == 0 {
            return;
        }
    }
}

/// The severity that an sd-daemon(3) prefix gives, and the text.
fn severity(line: &str) -> (u8, &str) {
    let prefixed = line.strip_prefix('<').and_then(|rest| rest.split_once('>'));
    match prefixed.and_then(|(number, text)| Some((number.parse().ok().filter(|n| *n <= 7)?, text))) {
        Some((severity, text)) => (severity, text),
        None => (INFO, line),
    }
}

/// Bytes to lines.
#[derive(Default)]
struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Adds bytes; returns the lines that are whole now, over-long ones in pieces.
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut whole = Vec::new();
        for part in bytes.split_inclusive(|b| *b == b'\n') {
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") || self.partial.len() >= MAX_MESSAGE {
                whole.extend(self.rest());
            }
        }
        whole
    }

    /// The line that has no end.
    fn rest(&mut self) -> Vec<String> {
        let bytes = std::mem::take(&mut self.partial);
        let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if line.is_empty() { Vec::new() } else { vec![line] }
    }
}

/// A token bucket of lines.
struct Limit {
    tokens: f64,
    at: Duration,
    dropped: u64,
}

impl Limit {
    fn new(now: Duration) -> Self {
        Self {
            tokens: BURST.into(),
            at: now,
            dropped: 0,
        }
    }

    fn allows(&mut self, now: Duration) -> bool {
        let refill = now.saturating_sub(self.at).as_secs_f64() * f64::from(PER_SECOND);
        self.tokens = (self.tokens + refill).min(BURST.into());
        self.at = now;
        if self.tokens < 1.0 {
            self.dropped += 1;
            return false;
        }
        self.tokens -= 1.0;
        true
    }

    fn take_dropped(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.dropped)).filter(|n| *n > 0)
    }
}

#[cfg(test)]
mod tests;
