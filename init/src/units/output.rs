//! What a unit writes: lines for the log, bounded in length and in rate, since a guest may be behind them.
//!
//! A task reads it as it comes ([`Output::copy`]). When the process has ended, whoever reaps it takes the rest
//! ([`Output::last_line`]), so that its last line is known, and is in the log, before anybody learns of the end.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::unix::pipe;

use crate::clock;
use crate::log::{INFO, Log, MAX_MESSAGE, WARNING, printable};
use crate::sync::lock;

/// Lines that may come at once, and per second after that.
const BURST: u32 = 1000;
const PER_SECOND: u32 = 200;
/// Bytes that are read at a time.
const PIECE: usize = 4096;
/// Pieces that a pipe holds (pipe(7)); another process that writes to it without end holds nobody up.
const PIECES: usize = 65_536 / PIECE;

/// What one run of a unit writes.
pub struct Output {
    pipe: pipe::Receiver,
    reader: Mutex<Reader>,
}

struct Reader {
    unit: String,
    transient: bool,
    log: Log,
    lines: Lines,
    limit: Limit,
    last: Option<String>,
}

impl Output {
    /// What comes through `pipe`; kernel consoles do not show transient units.
    pub fn new(pipe: pipe::Receiver, unit: String, transient: bool, log: Log) -> Arc<Self> {
        let reader = Reader {
            unit,
            transient,
            log,
            lines: Lines::default(),
            limit: Limit::new(clock::since_start()),
            last: None,
        };
        Arc::new(Self {
            pipe,
            reader: Mutex::new(reader),
        })
    }

    /// Copies it to the log until the last writer is gone.
    pub async fn copy(self: Arc<Self>) {
        let read = |buffer: &mut [u8]| self.pipe.try_read(buffer);
        while self.pipe.readable().await.is_ok() && !self.take(1, read) {}
    }

    /// The last line of a process that has ended.
    pub fn last_line(&self) -> Option<String> {
        // Not by the event loop, which learns in its own time that there is something.
        self.take(PIECES, |buffer| Ok(nix::unistd::read(&self.pipe, buffer)?));
        lock(&self.reader).last.clone()
    }

    /// Takes what is there, `pieces` at most; whether it has ended.
    fn take(&self, pieces: usize, read: impl Fn(&mut [u8]) -> io::Result<usize>) -> bool {
        let mut reader = lock(&self.reader);
        let mut buffer = [0; PIECE];
        for _ in 0..pieces {
            match read(&mut buffer) {
                Ok(0) => {
                    let rest = reader.lines.rest();
                    reader.tell(rest);
                    return true;
                }
                Ok(length) => {
                    let lines = reader.lines.push(buffer.get(..length).unwrap_or_default());
                    reader.tell(lines);
                }
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    return false;
                }
                Err(e) => {
                    let what = format!("cannot read the output of {}: {e}", reader.unit);
                    reader.log.warning(&what);
                    return true;
                }
            }
        }
        false
    }
}

impl Reader {
    fn tell(&mut self, lines: Vec<String>) {
        let write = if self.transient {
            Log::write_off_console
        } else {
            Log::write
        };
        for line in lines {
            let (severity, text) = severity(&line);
            if self.limit.allows(clock::since_start()) {
                if let Some(dropped) = self.limit.take_dropped() {
                    let what = format!("{dropped} lines were dropped: too many at once");
                    write(&self.log, WARNING, &self.unit, &what);
                }
                write(&self.log, severity, &self.unit, text);
            }
            self.last = Some(printable(text));
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
