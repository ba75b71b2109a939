//! The operator's serial console as a terminal: what it shows, and a keyboard.
//!
//! The bytes go through a terminal emulator of 80 columns and 24 rows, so a test reads what a person would see, not escape
//! sequences.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::{Error, Result, deadline};

/// A key of a terminal's keyboard as the bytes that it sends.
pub mod key {
    /// Enter.
    pub const ENTER: &str = "\r";
    /// Escape.
    pub const ESCAPE: &str = "\x1b";
    /// Tabulator.
    pub const TAB: &str = "\t";
    /// Cursor left.
    pub const LEFT: &str = "\x1b[D";
    /// Cursor right.
    pub const RIGHT: &str = "\x1b[C";
    /// Cursor up.
    pub const UP: &str = "\x1b[A";
    /// Cursor down.
    pub const DOWN: &str = "\x1b[B";
}

/// A serial console.
#[derive(Debug)]
pub struct Screen {
    shared: Arc<Shared>,
    keyboard: UnixStream,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    terminal: vt100::Parser,
    mirror: Option<Box<dyn Write + Send>>,
    ended: bool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Screen {
    /// Shows what comes from `port`, types into it, and copies every byte that comes to the file `path`.
    ///
    /// # Errors
    /// The file cannot be made, or the port cannot be shared with the reader.
    pub fn attach(port: UnixStream, path: &Path) -> Result<Self> {
        let copy = File::create(path).map_err(Error::io("create the console's record", path))?;
        let reader = port.try_clone().map_err(Error::io("share the console", path))?;
        let terminal = vt100::Parser::new(rows(), columns(), 0);
        let state = Mutex::new(State {
            terminal,
            mirror: None,
            ended: false,
        });
        let shared = Arc::new(Shared {
            state,
            changed: Condvar::new(),
        });
        let screen = Self {
            shared: Arc::clone(&shared),
            keyboard: port,
        };
        std::thread::spawn(move || shared.read(reader, copy));
        Ok(screen)
    }

    /// What the screen shows, rows separated by line ends.
    pub fn contents(&self) -> String {
        self.lock().terminal.screen().contents()
    }

    /// Waits until the screen shows `text` in one row; returns the whole screen.
    ///
    /// # Errors
    /// [`Error::ScreenMissing`] when `within` (scaled) has passed or the machine has ended.
    pub fn wait_for(&self, text: &str, within: Duration) -> Result<String> {
        self.wait_until(text, within, |contents| contents.contains(text))
    }

    /// Waits until `shows` says yes to the screen's contents; `what` names it in the error.
    ///
    /// # Errors
    /// As [`Screen::wait_for`].
    pub fn wait_until(&self, what: &str, within: Duration, shows: impl Fn(&str) -> bool) -> Result<String> {
        let within = deadline::scaled(within);
        let end = Instant::now() + within;
        let mut state = self.lock();
        loop {
            let contents = state.terminal.screen().contents();
            if shows(&contents) {
                return Ok(contents);
            }
            let left = end.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                let why = if state.ended {
                    "before the machine ended".to_owned()
                } else {
                    format!("within {} s", within.as_secs())
                };
                let wanted = what.to_owned();
                return Err(Error::ScreenMissing {
                    screen: "serial console",
                    wanted,
                    why,
                    contents,
                });
            }
            (state, _) = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Types `keys`: characters, or names from [`key`].
    ///
    /// # Errors
    /// The machine has ended.
    pub fn press(&self, keys: &str) -> Result<()> {
        (&self.keyboard)
            .write_all(keys.as_bytes())
            .map_err(Error::io("type into", "the serial console"))
    }

    /// Writes to `mirror` too what comes from now on; one that cannot be written is given up.
    pub fn mirror(&self, mirror: impl Write + Send + 'static) {
        self.lock().mirror = Some(Box::new(mirror));
    }

    /// Waits until the machine has ended.
    pub fn wait_end(&self) {
        let mut state = self.lock();
        while !state.ended {
            state = self
                .shared
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn read(&self, mut port: UnixStream, mut copy: File) {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(n) = port.read(&mut buffer)
            && n > 0
        {
            let bytes = buffer.get(..n).unwrap_or_default();
            let _ = copy.write_all(bytes);
            self.change(|state| state.show(bytes));
        }
        self.change(|state| state.ended = true);
    }

    fn change(&self, f: impl FnOnce(&mut State)) {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl State {
    fn show(&mut self, bytes: &[u8]) {
        self.terminal.process(bytes);
        if let Some(mirror) = &mut self.mirror
            && mirror.write_all(bytes).and_then(|()| mirror.flush()).is_err()
        {
            self.mirror = None;
        }
    }
}

/// The smallest terminal that the TUI promises to work on.
const fn rows() -> NonZeroU16 {
    vt100::Parser::<()>::DEFAULT_ROWS
}

const fn columns() -> NonZeroU16 {
    vt100::Parser::<()>::DEFAULT_COLS
}

#[cfg(test)]
mod tests;
