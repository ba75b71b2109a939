//! The part of the node's log that the console keeps, and which of it is shown.

use std::collections::VecDeque;

use axion_api::init::LogEntry;

/// Lines kept.
const KEPT: usize = 2000;

/// The least severe lines shown (RFC 5424 §6.2.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Filter {
    /// Every line.
    #[default]
    All,
    /// No debugging.
    Information,
    /// Warnings and errors.
    Warnings,
    /// Errors only.
    Errors,
}

impl Filter {
    fn shows(self, entry: &LogEntry) -> bool {
        entry.severity
            <= match self {
                Self::All => u8::MAX,
                Self::Information => 6,
                Self::Warnings => 4,
                Self::Errors => 3,
            }
    }

    /// What it lets through, in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::All => "every line",
            Self::Information => "no debug lines",
            Self::Warnings => "warnings and errors",
            Self::Errors => "errors only",
        }
    }
}

/// Log lines, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Log {
    entries: VecDeque<LogEntry>,
    filter: Filter,
    /// Sequence number of the last line shown; `None`: the newest, whatever comes.
    bottom: Option<u64>,
}

impl Log {
    /// Takes in lines that follow the last ones.
    pub fn extend(&mut self, entries: Vec<LogEntry>) {
        self.entries.extend(entries);
        let surplus = self.entries.len().saturating_sub(KEPT);
        self.entries.drain(..surplus);
    }

    /// Which lines are shown.
    pub fn filter(&self) -> Filter {
        self.filter
    }

    /// The next filter in turn.
    pub fn next_filter(&mut self) {
        self.filter = match self.filter {
            Filter::All => Filter::Information,
            Filter::Information => Filter::Warnings,
            Filter::Warnings => Filter::Errors,
            Filter::Errors => Filter::All,
        };
    }

    /// Whether new lines are shown as they come.
    pub fn follows(&self) -> bool {
        self.bottom.is_none()
    }

    /// The newest lines whatever the page shows, newest first, without debugging.
    pub fn newest(&self) -> impl Iterator<Item = &LogEntry> {
        self.entries
            .iter()
            .rev()
            .filter(|entry| Filter::Information.shows(entry))
    }

    /// The lines to show from the bottom of the page up.
    pub fn upwards(&self) -> impl Iterator<Item = &LogEntry> {
        let bottom = self.bottom.unwrap_or(u64::MAX);
        self.shown().rev().filter(move |entry| entry.sequence <= bottom)
    }

    fn shown(&self) -> impl DoubleEndedIterator<Item = &LogEntry> {
        self.entries.iter().filter(|entry| self.filter.shows(entry))
    }

    /// Towards the oldest, which stops at the top of the page.
    pub fn back(&mut self, by: Step, page: &LogPage<'_>) {
        let by = match by {
            Step::Line => 1,
            Step::Page => page.holds(self.upwards()),
            Step::End => usize::MAX,
        };
        let last_of_first_page = page.holds(self.shown()).saturating_sub(1);
        let limit = self.shown().nth(last_of_first_page).map(|entry| entry.sequence);
        let target = self.upwards().nth(by).map(|entry| entry.sequence);
        self.stop_at(target.max(limit));
    }

    /// Towards the newest; at it, new lines are followed again.
    pub fn forward(&mut self, by: Step, page: &LogPage<'_>) {
        let Some(bottom) = self.bottom else { return };
        let newer = || self.shown().filter(move |entry| entry.sequence > bottom);
        let by = match by {
            Step::Line => 1,
            Step::Page => page.holds(newer()),
            Step::End => usize::MAX,
        };
        let target = newer().nth(by.saturating_sub(1)).map(|entry| entry.sequence);
        self.stop_at(target);
    }

    fn stop_at(&mut self, bottom: Option<u64>) {
        let newest = self.shown().next_back().map(|entry| entry.sequence);
        self.bottom = bottom.filter(|bottom| Some(*bottom) < newest);
    }
}

/// How far the log is scrolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// One line of the log, however many rows it takes.
    Line,
    /// What the page holds.
    Page,
    /// All the way.
    End,
}

/// What fits on the page of the log.
pub struct LogPage<'a> {
    /// Rows of the page.
    pub room: usize,
    /// Rows that a line takes.
    pub rows: &'a dyn Fn(&LogEntry) -> usize,
}

impl LogPage<'_> {
    /// How many of `entries` the page holds whole, at least one.
    fn holds<'a>(&self, entries: impl Iterator<Item = &'a LogEntry>) -> usize {
        let used = entries.scan(0_usize, |used, entry| {
            *used = used.saturating_add((self.rows)(entry));
            Some(*used)
        });
        used.take_while(|used| *used <= self.room).count().max(1)
    }
}
