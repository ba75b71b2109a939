//! This terminal as the operator's console of a machine: keys go in, what the machine shows comes out.
//!
//! Ctrl-A X leaves, Ctrl-A Ctrl-A types a Ctrl-A, as in QEMU's own multiplexer.

use std::io::{self, Read, Write};
use std::sync::{Arc, mpsc};
use std::thread;

use anyhow::{Context, Result};
use axion_lab::Machine;
use crossterm::terminal;

const CTRL_A: u8 = 1;

/// Why the console was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By Ctrl-A X, or the end of the standard input.
    Left,
    /// The machine ended.
    Machine,
}

/// What a key press means.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    Send(u8),
    Nothing,
    Leave,
}

/// The escape of Ctrl-A: remembers whether the key before was one.
#[derive(Debug, Default)]
struct Escape {
    pending: bool,
}

impl Escape {
    const fn press(&mut self, byte: u8) -> Key {
        match (self.pending, byte) {
            (false, CTRL_A) => {
                self.pending = true;
                Key::Nothing
            }
            (true, b'x' | b'X') => Key::Leave,
            (true, CTRL_A) | (false, _) => {
                self.pending = false;
                Key::Send(byte)
            }
            (true, _) => {
                self.pending = false;
                Key::Nothing
            }
        }
    }
}

/// Raw mode for as long as it lives; a panic and an early return restore the terminal too.
struct Raw;

impl Raw {
    fn enable() -> Result<Self> {
        terminal::enable_raw_mode().context("switching the terminal to raw mode")?;
        Ok(Self)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        drop(terminal::disable_raw_mode());
        // Colours, cursor and the ordinary screen, whatever was shown last.
        print!("\x1b[0m\x1b[?25h\x1b[?1049l\r\n");
        drop(io::stdout().flush());
    }
}

/// Connects this terminal to the machine's console until one of the two leaves.
pub fn relay(machine: Machine) -> Result<End> {
    let _raw = Raw::enable()?;
    let machine = Arc::new(machine);
    machine.screen().mirror(io::stdout());
    // Ctrl-L: whatever is there shows itself anew.
    machine.screen().press("\x0c")?;
    let (left, end) = mpsc::channel();
    let ended = left.clone();
    let watched = Arc::clone(&machine);
    thread::spawn(move || {
        watched.screen().wait_end();
        let _ = ended.send(End::Machine);
    });
    let typed = Arc::clone(&machine);
    thread::spawn(move || {
        let (mut escape, mut stdin, mut buffer) = (Escape::default(), io::stdin(), [0; 256]);
        while let Ok(n) = stdin.read(&mut buffer)
            && n > 0
        {
            let mut keys = Vec::new();
            for byte in &buffer[..n] {
                match escape.press(*byte) {
                    Key::Send(byte) => keys.push(byte),
                    Key::Nothing => {}
                    Key::Leave => {
                        let _ = left.send(End::Left);
                        return;
                    }
                }
            }
            drop(typed.screen().press(&String::from_utf8_lossy(&keys)));
        }
        let _ = left.send(End::Left);
    });
    let end = end.recv().unwrap_or(End::Machine);
    if end == End::Left {
        // The threads keep the machine alive; it has to go now.
        drop(machine.pull_plug());
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::{CTRL_A, Escape, Key};

    #[test]
    fn ctrl_a_x_leaves_and_ctrl_a_twice_types_one() {
        let mut escape = Escape::default();
        assert_eq!(escape.press(b'x'), Key::Send(b'x'));
        assert_eq!(escape.press(CTRL_A), Key::Nothing);
        assert_eq!(escape.press(CTRL_A), Key::Send(CTRL_A));
        assert_eq!(escape.press(CTRL_A), Key::Nothing);
        assert_eq!(escape.press(b'y'), Key::Nothing);
        assert_eq!(escape.press(b'y'), Key::Send(b'y'));
        assert_eq!(escape.press(CTRL_A), Key::Nothing);
        assert_eq!(escape.press(b'x'), Key::Leave);
    }
}
