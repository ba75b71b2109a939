//! Where results and words go: results to standard output, words for people to standard error.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::Error;
use crate::render::{Style, plain};

/// What a result is printed as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs: the API's own types
    Json,
}

/// How this run prints.
pub struct Output {
    format: Format,
    style: Style,
    colour_errors: bool,
}

impl Output {
    /// Looks at the terminal and its environment.
    pub fn new(format: Format) -> Self {
        let terminal = Term::stdout();
        let attended = std::io::stdout().is_terminal();
        Self {
            format,
            style: Style {
                width: attended.then(|| usize::from(terminal.size().1)),
                colour: attended && colours_wanted(),
            },
            colour_errors: std::io::stderr().is_terminal() && colours_wanted(),
        }
    }

    /// Prints a result: as JSON, or as `table` renders it.
    pub fn show<T: Serialize>(&self, value: &T, table: impl FnOnce(&Style) -> String) -> Result<(), Error> {
        match self.format {
            Format::Table => self.text(&table(&self.style)),
            Format::Json => {
                let text = serde_json::to_string_pretty(value).map_err(|e| Error::Output(e.into()))?;
                self.text(&format!("{text}\n"))
            }
        }
    }

    /// Prints one of a stream of results: as a line of JSON, or as `line` renders it.
    pub fn line<T: Serialize>(&self, value: &T, line: impl FnOnce(&Style) -> String) -> Result<(), Error> {
        match self.format {
            Format::Table => self.text(&format!("{}\n", line(&self.style))),
            Format::Json => {
                let text = serde_json::to_string(value).map_err(|e| Error::Output(e.into()))?;
                self.text(&format!("{text}\n"))
            }
        }
    }

    /// How text for standard error looks.
    pub const fn plain_style(&self) -> Style {
        Style {
            width: None,
            colour: false,
        }
    }

    /// Prints text as it is.
    pub fn text(&self, text: &str) -> Result<(), Error> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(Error::Output)
    }

    /// Tells the operator something. Standard error may be closed: then nobody listens.
    pub fn note(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Prints an error: its text, each cause, and what to do.
    pub fn error(&self, error: &dyn std::error::Error, hint: Option<&str>) {
        let mut text = plain(&error.to_string());
        let mut cause = error.source();
        while let Some(error) = cause {
            let words = plain(&error.to_string());
            // Some libraries repeat their cause in their own text.
            if !text.contains(&words) {
                text = format!("{text}: {words}");
            }
            cause = error.source();
        }
        let bold = console::Style::new().bold().force_styling(self.colour_errors);
        self.note(format_args!("{} {text}", bold.clone().red().apply_to("axctl:")));
        if let Some(hint) = hint {
            self.note(format_args!("{} {hint}", bold.apply_to("hint:")));
        }
    }

    /// A bar for `size` bytes; invisible when standard error is no terminal.
    pub fn transfer(&self, what: &str, size: u64) -> ProgressBar {
        let bar = ProgressBar::new(size);
        if let Ok(style) =
            ProgressStyle::with_template("{msg} {wide_bar} {binary_bytes}/{binary_total_bytes} {eta}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.with_message(what.to_owned())
    }

    /// A count of bytes of which nobody knows how many there will be; invisible when standard error is no terminal.
    pub fn flow(&self, what: &str) -> ProgressBar {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {msg} {binary_bytes} {binary_bytes_per_sec} {elapsed}")
        {
            bar.set_style(style);
        }
        bar.with_message(what.to_owned())
    }

    /// A sign of life while something is waited for; invisible when standard error is no terminal.
    pub fn wait(&self, what: String) -> ProgressBar {
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.with_message(what)
    }
}

/// <https://no-color.org>: any value but an empty one means no.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|value| value != "dumb")
}

/// Microseconds since 1970.
pub fn now_us() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
