//! Lines of a byte stream, kept whole in a file, and waiting for one of them.
//!
//! A thread reads the stream (a serial port, a program's output) to its end. [`Log::wait_for`] looks at **every** line so far,
//! so a test never misses what happened before it asked; [`Log::wait_for_after`] looks only behind a line that was
//! seen, for what happens a second time.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Result, deadline};

/// Lines that a message about a missing line shows.
const TAIL: usize = 30;

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Place in the log, from 0.
    pub number: usize,
    /// Time from the log's start (the machine's start) to the end of the line, by this computer's clock.
    pub at: Duration,
    /// Text without its line end.
    pub text: String,
}

/// A log that is being followed.
#[derive(Debug, Clone)]
pub struct Log {
    shared: Arc<Shared>,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    partial: Vec<u8>,
    ended: bool,
}

impl Log {
    /// Follows `stream` to its end and copies it to the file `path`; line times count from `epoch`.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn follow(stream: impl Read + Send + 'static, path: &Path, epoch: Instant) -> Result<Self> {
        let copy = File::create(path).map_err(Error::io("create the log", path))?;
        let shared = Arc::new(Shared::default());
        let log = Self {
            shared: Arc::clone(&shared),
            path: path.to_owned(),
        };
        std::thread::spawn(move || shared.read(stream, copy, epoch));
        Ok(log)
    }

    /// The file that holds the whole log.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for a line that contains `text`; one that is there already counts.
    ///
    /// # Errors
    /// [`Error::LineMissing`] when `within` (scaled) has passed or the log has ended.
    pub fn wait_for(&self, text: &str, within: Duration) -> Result<Line> {
        self.wait(0, text, within)
    }

    /// Waits for a line behind `seen` that contains `text`.
    ///
    /// # Errors
    /// As [`Log::wait_for`].
    pub fn wait_for_after(&self, seen: &Line, text: &str, within: Duration) -> Result<Line> {
        self.wait(seen.number + 1, text, within)
    }

    /// Waits until the stream has ended.
    ///
    /// # Errors
    /// [`Error::Timeout`] when `within` (scaled) has passed.
    pub fn wait_end(&self, within: Duration) -> Result<()> {
        let within = deadline::scaled(within);
        let (state, _) = self
            .shared
            .grown
            .wait_timeout_while(self.lock(), within, |state| !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        if state.ended {
            return Ok(());
        }
        Err(Error::Timeout {
            what: "the end of the log".to_owned(),
            within,
            last: Some(state.tail()),
        })
    }

    /// The first line that contains `text`, of those that are there.
    pub fn find(&self, text: &str) -> Option<Line> {
        self.lock()
            .lines
            .iter()
            .find(|line| line.text.contains(text))
            .cloned()
    }

    /// The last line so far.
    pub fn last(&self) -> Option<Line> {
        self.lock().lines.last().cloned()
    }

    /// Every line so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// Everything so far, an unfinished line included.
    pub fn text(&self) -> String {
        self.lock().last_lines(usize::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, mut from: usize, text: &str, within: Duration) -> Result<Line> {
        let within = deadline::scaled(within);
        let end = Instant::now() + within;
        let mut state = self.lock();
        loop {
            if let Some(line) = state
                .lines
                .iter()
                .skip(from)
                .find(|line| line.text.contains(text))
            {
                return Ok(line.clone());
            }
            from = from.max(state.lines.len());
            let left = end.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let why = if state.ended {
                    "before the log ended".to_owned()
                } else {
                    format!("within {} s", within.as_secs())
                };
                let (wanted, log) = (text.to_owned(), self.path.clone());
                return Err(Error::LineMissing {
                    wanted,
                    why,
                    log,
                    tail: state.tail(),
                });
            }
            (state, _) = self
                .shared
                .grown
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Shared {
    /// Reads to the end; a copy that cannot be written is given up, the lines are not.
    fn read(&self, mut stream: impl Read, mut copy: File, epoch: Instant) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n) = stream.read(&mut buffer)
            && n > 0
        {
            let bytes = buffer.get(..n).unwrap_or_default();
            let _ = copy.write_all(bytes);
            self.change(|state| state.push(bytes, epoch.elapsed()));
        }
        self.change(|state| state.end(epoch.elapsed()));
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.grown.notify_all();
    }
}

impl State {
    fn push(&mut self, bytes: &[u8], at: Duration) {
        for &byte in bytes {
            if byte == b'\n' {
                self.finish_line(at);
            } else {
                self.partial.push(byte);
            }
        }
    }

    fn end(&mut self, at: Duration) {
        if !self.partial.is_empty() {
            self.finish_line(at);
        }
        self.ended = true;
    }

    fn finish_line(&mut self, at: Duration) {
        let bytes = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned();
        self.lines.push(Line {
            number: self.lines.len(),
            at,
            text,
        });
    }

    fn tail(&self) -> String {
        self.last_lines(TAIL)
    }

    fn last_lines(&self, count: usize) -> String {
        let skip = self.lines.len().saturating_sub(count);
        let mut text: String = self
            .lines
            .iter()
            .skip(skip)
            .map(|line| format!("{}\n", line.text))
            .collect();
        text.push_str(&String::from_utf8_lossy(&self.partial));
        text
    }
}

#[cfg(test)]
mod tests;
