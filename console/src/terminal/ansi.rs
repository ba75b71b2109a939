//! What is written to the line: cursor positions, characters, and the colours of ECMA-48 §8.3.117.
//!
//! A backend of our own, because a console line may be a terminal that is older than us: the usual backends write even the
//! eight base colours as `38;5;n`, which such a terminal takes for blinking.

use std::io::{self, Write};

use ratatui::backend::{Backend, ClearType, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui::style::{Color, Modifier};
use rustix::termios::tcgetwinsize;

/// Size taken where the terminal does not tell: columns, rows.
pub const FALLBACK: (u16, u16) = (80, 24);

/// A terminal that knows ECMA-48 and no more.
#[derive(Debug)]
pub struct Ansi<W: Write> {
    out: W,
    cursor: Position,
}

impl<W: Write> Ansi<W> {
    /// A terminal that is written through `out`.
    pub fn new(out: W) -> Self {
        Self {
            out,
            cursor: Position::ORIGIN,
        }
    }

    fn go(&mut self, x: u16, y: u16) -> io::Result<()> {
        write!(self.out, "\x1b[{};{}H", u32::from(y) + 1, u32::from(x) + 1)
    }
}

impl<W: Write> Backend for Ansi<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, content: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let mut style = None;
        let mut next = None;
        for (x, y, cell) in content {
            if next != Some((x, y)) {
                self.go(x, y)?;
            }
            next = x.checked_add(1).map(|x| (x, y));
            let wanted = (cell.fg, cell.bg, cell.modifier);
            if style != Some(wanted) {
                self.out.write_all(rendition(wanted).as_bytes())?;
                style = Some(wanted);
            }
            self.out.write_all(cell.symbol().as_bytes())?;
        }
        if style.is_some() {
            self.out.write_all(b"\x1b[0m")?;
        }
        Ok(())
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        self.out.write_all(b"\x1b[?25l")
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        self.out.write_all(b"\x1b[?25h")
    }

    /// Where the cursor was last put. The terminal is not asked: its answer would be read by the stream of keys.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Ok(self.cursor)
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        self.cursor = position.into();
        self.go(self.cursor.x, self.cursor.y)
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, clear_type: ClearType) -> io::Result<()> {
        self.out.write_all(match clear_type {
            ClearType::All => b"\x1b[2J",
            ClearType::AfterCursor => b"\x1b[0J",
            ClearType::BeforeCursor => b"\x1b[1J",
            ClearType::CurrentLine => b"\x1b[2K",
            ClearType::UntilNewLine => b"\x1b[0K",
        })
    }

    fn size(&self) -> io::Result<Size> {
        let size = tcgetwinsize(io::stdout())?;
        Ok(match (size.ws_col, size.ws_row) {
            (0, _) | (_, 0) => Size::new(FALLBACK.0, FALLBACK.1),
            (columns, rows) => Size::new(columns, rows),
        })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize {
            columns_rows: self.size()?,
            pixels: Size::ZERO,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// SGR for a cell: everything off, then what it has. Colours beyond the eight do not occur and are left out.
fn rendition((foreground, background, modifier): (Color, Color, Modifier)) -> String {
    let attributes = [
        (modifier.contains(Modifier::BOLD), 1),
        (modifier.contains(Modifier::REVERSED), 7),
    ];
    let set = attributes.into_iter().filter_map(|(on, code)| on.then_some(code));
    let colours = [(foreground, 30), (background, 40)];
    let colours = colours
        .into_iter()
        .filter_map(|(colour, base)| Some(base + base_colour(colour)?));
    let codes: String = set.chain(colours).map(|code| format!(";{code}")).collect();
    format!("\x1b[0{codes}m")
}

fn base_colour(colour: Color) -> Option<u8> {
    let colours = [
        Color::Black,
        Color::Red,
        Color::Green,
        Color::Yellow,
        Color::Blue,
        Color::Magenta,
        Color::Cyan,
        Color::Gray,
    ];
    colours
        .iter()
        .zip(0..)
        .find(|(base, _)| **base == colour)
        .map(|(_, index)| index)
}

#[cfg(test)]
mod tests {
    use ratatui::style::Style;

    use super::*;

    fn written(cells: &[(u16, u16, &str, Style)]) -> String {
        let cells: Vec<(u16, u16, Cell)> = cells
            .iter()
            .map(|(x, y, symbol, style)| {
                let mut cell = Cell::default();
                cell.set_symbol(symbol).set_style(*style);
                (*x, *y, cell)
            })
            .collect();
        let mut out = Vec::new();
        let content = cells.iter().map(|(x, y, cell)| (*x, *y, cell));
        Ansi::new(&mut out).draw(content).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn neighbours_of_one_style_are_written_together() {
        let strong = Style::new().add_modifier(Modifier::BOLD);
        let cells = [
            (2, 0, "a", strong),
            (3, 0, "b", strong),
            (0, 1, "c", Style::new()),
        ];
        assert_eq!(written(&cells), "\x1b[1;3H\x1b[0;1mab\x1b[2;1H\x1b[0mc\x1b[0m");
    }

    #[test]
    fn colours_are_the_eight_of_ecma_48() {
        let warn = Style::new()
            .fg(Color::Yellow)
            .bg(Color::Blue)
            .add_modifier(Modifier::REVERSED);
        assert_eq!(written(&[(0, 0, "x", warn)]), "\x1b[1;1H\x1b[0;7;33;44mx\x1b[0m");
    }

    #[test]
    fn nothing_to_draw_writes_nothing() {
        assert_eq!(written(&[]), "");
    }
}
