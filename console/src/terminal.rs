//! The line itself: raw mode, its size, what it can show.
//!
//! A serial line knows no size. The terminal at its far end does: the cursor is sent to the far corner and asked where it
//! is (CPR, ECMA-48 §8.3.14). Without an answer, nobody is there or the terminal cannot tell, and 80x24 is taken. The size
//! found is told to the kernel (`TIOCSWINSZ`), where everything that asks finds it. Ctrl-L asks anew.

mod ansi;

use std::io::{self, BufWriter, Stdout};

use crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use crossterm::{cursor, execute};
use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::layout::{Position, Rect};
use rustix::termios::{Winsize, tcgetwinsize, tcsetwinsize};

use crate::app::App;
use crate::view::{self, Theme};
use ansi::{Ansi, FALLBACK};

/// The screen of this console.
pub struct Screen {
    terminal: Terminal<Ansi<BufWriter<Stdout>>>,
    theme: Theme,
    asks_size: bool,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Standard input and output are no terminal.
    pub fn open(line: Option<&str>, plain: bool) -> io::Result<Self> {
        let size = tcgetwinsize(io::stdout())?;
        let asks_size = line.is_some_and(is_serial) || size.ws_col == 0 || size.ws_row == 0;
        enable_raw_mode()?;
        if asks_size {
            ask_size()?;
        }
        let mut terminal = Terminal::new(Ansi::new(BufWriter::new(io::stdout())))?;
        terminal.backend_mut().clear()?;
        let variable = |name: &str| std::env::var(name).ok();
        let theme = if plain { Theme::PLAIN } else { Theme::of(variable) };
        Ok(Self {
            terminal,
            theme,
            asks_size,
        })
    }

    /// Shows `app`; only cells that changed are written.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub fn draw(&mut self, app: &mut App) -> io::Result<()> {
        let size = self.terminal.size()?;
        app.size = (size.width, size.height);
        let (app, theme) = (&*app, &self.theme);
        self.terminal.draw(|frame| view::draw(frame, app, theme))?;
        Ok(())
    }

    /// Finds the size anew and forgets what is on the screen, so that the next draw paints everything.
    ///
    /// # Errors
    /// The terminal cannot be written.
    pub fn repaint(&mut self) -> io::Result<()> {
        if self.asks_size {
            ask_size()?;
        }
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Gives the terminal back with the cursor in its last row.
    pub fn close(mut self) {
        let bottom = self
            .terminal
            .size()
            .map(|size| size.height.saturating_sub(1))
            .unwrap_or_default();
        // The line may be gone; then there is nobody to give it back to.
        let _ = self.terminal.set_cursor_position(Position::new(0, bottom));
        let _ = self.terminal.show_cursor();
        let _ = self.terminal.backend_mut().flush();
        let _ = disable_raw_mode();
    }
}

/// Whether the line is a serial port rather than a screen with a size of its own.
fn is_serial(line: &str) -> bool {
    ["ttyS", "ttyAMA", "ttyUSB", "hvc"]
        .iter()
        .any(|prefix| line.starts_with(prefix))
}

/// Asks the terminal for its size and tells the kernel; raw mode must be on, and nobody else may read keys.
fn ask_size() -> io::Result<()> {
    execute!(io::stdout(), cursor::MoveTo(998, 998))?;
    let (columns, rows) = match cursor::position() {
        Ok((column, row)) if column >= 19 && row >= 4 => (column + 1, row + 1),
        _ => FALLBACK,
    };
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(io::stdout(), size)?)
}
