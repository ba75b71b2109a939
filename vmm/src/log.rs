//! Lines on stderr, where the service manager picks them up.

use std::fmt::Display;
use std::io::Write;

/// Writes one line.
pub fn line(message: impl Display) {
    // One write: lines of several threads do not mix. Nobody may be left to read it.
    let _ = std::io::stderr().write_all(format!("{message}\n").as_bytes());
}
