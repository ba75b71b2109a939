//! Tables that fit the terminal.

use console::{measure_text_width, truncate_str};

use super::{Style, Tone, plain};

/// Narrowest that a column is made.
const NARROWEST: usize = 8;
/// Between two columns.
const GAP: &str = "  ";

/// Rows below a heading. A column that is marked to shrink gives way when the table is wider than the terminal.
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
}

/// A column's heading and how its cells are set.
pub struct Column {
    heading: &'static str,
    right: bool,
    shrinks: bool,
}

/// Text and what it means.
pub struct Cell {
    text: String,
    tone: Tone,
}

/// A column of text.
pub const fn left(heading: &'static str) -> Column {
    Column {
        heading,
        right: false,
        shrinks: false,
    }
}

/// A column of numbers.
pub const fn right(heading: &'static str) -> Column {
    Column {
        heading,
        right: true,
        shrinks: false,
    }
}

/// A column of text that may be cut.
pub const fn shrinking(heading: &'static str) -> Column {
    Column {
        heading,
        right: false,
        shrinks: true,
    }
}

impl Cell {
    pub fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: plain(text.as_ref()),
            tone,
        }
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl Table {
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        Self {
            columns: columns.into(),
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, cells: impl Into<Vec<Cell>>) {
        self.rows.push(cells.into());
    }

    pub fn render(&self, style: &Style) -> String {
        let widths = self.widths(style.width);
        let headings: Vec<String> = self
            .columns
            .iter()
            .zip(&widths)
            .map(|(c, width)| style.heading(&c.fit(c.heading, *width)))
            .collect();
        let mut text = line(&headings);
        for row in &self.rows {
            let cells: Vec<String> = self
                .columns
                .iter()
                .zip(&widths)
                .zip(row)
                .map(|((column, width), cell)| style.paint(&column.fit(&cell.text, *width), cell.tone))
                .collect();
            text.push_str(&line(&cells));
        }
        text
    }

    /// The natural width of each column, less what the terminal does not have.
    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self
            .columns
            .iter()
            .map(|column| measure_text_width(column.heading))
            .collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = measure_text_width(&cell.text).max(*width);
            }
        }
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        let mut excess = limit.map_or(0, |limit| {
            (widths.iter().sum::<usize>() + gaps).saturating_sub(limit)
        });
        while excess > 0 {
            let widest = widths
                .iter_mut()
                .zip(&self.columns)
                .filter(|(width, column)| column.shrinks && **width > NARROWEST)
                .map(|(width, _)| width)
                .max();
            let Some(width) = widest else { break };
            *width -= 1;
            excess -= 1;
        }
        widths
    }
}

impl Column {
    fn fit(&self, text: &str, width: usize) -> String {
        let text = truncate_str(text, width, "…");
        let pad = " ".repeat(width.saturating_sub(measure_text_width(&text)));
        if self.right {
            format!("{pad}{text}")
        } else {
            format!("{text}{pad}")
        }
    }
}

fn line(cells: &[String]) -> String {
    format!("{}\n", cells.join(GAP).trim_end())
}
