//! The terminal that the operator sits at: questions, secrets, raw mode.

use std::io::{self, IsTerminal, Read};

use console::Term;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};

use crate::error::Error;

/// Whether a person can answer.
pub fn is_attended() -> bool {
    io::stdin().is_terminal()
}

/// Asks a question to which only a written `yes` is a yes.
///
/// # Errors
/// Nobody can answer, or the answer is no.
pub fn confirm(question: &str, flag: &str) -> Result<(), Error> {
    confirm_by(&format!("{question} [yes/no]"), "yes", flag)
}

/// Asks for a word that nobody types by habit: only `word` is a yes.
///
/// # Errors
/// Nobody can answer, or the answer is another one.
pub fn confirm_by(question: &str, word: &str, flag: &str) -> Result<(), Error> {
    if !is_attended() {
        return Err(Error::Usage(format!("nobody can be asked here; say {flag}")));
    }
    let terminal = Term::stderr();
    let answer = terminal
        .write_str(&format!("{question} "))
        .and_then(|()| terminal.read_line())
        .map_err(|source| Error::io("cannot ask on the terminal", source))?;
    if answer.trim() == word {
        Ok(())
    } else {
        Err(Error::NotConfirmed)
    }
}

/// Reads a secret: without an echo from a terminal, else the first line of standard input.
///
/// # Errors
/// Standard input cannot be read.
pub fn secret(prompt: &str) -> Result<String, Error> {
    let failed = |source| Error::io(format!("cannot read the {prompt}"), source);
    let text = if is_attended() {
        let terminal = Term::stderr();
        terminal
            .write_str(&format!("{prompt}: "))
            .and_then(|()| terminal.read_secure_line())
            .map_err(failed)?
    } else {
        let mut text = String::new();
        io::stdin()
            .lock()
            .take(4096)
            .read_to_string(&mut text)
            .map_err(failed)?;
        text
    };
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// Standard input in raw mode: every key goes through as it is. Restored when dropped.
pub struct Raw {
    saved: Termios,
}

impl Raw {
    /// Switches to raw mode.
    ///
    /// # Errors
    /// Standard input is no terminal that can be set.
    pub fn enter() -> Result<Self, Error> {
        let failed = |errno: nix::Error| Error::io("cannot switch the terminal to raw mode", errno.into());
        let saved = tcgetattr(io::stdin()).map_err(failed)?;
        let mut raw = saved.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin(), SetArg::TCSADRAIN, &raw).map_err(failed)?;
        Ok(Self { saved })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), SetArg::TCSADRAIN, &self.saved);
    }
}
