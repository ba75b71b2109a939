//! What a terminal can show: colours or not, characters outside ASCII or not.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use ratatui::widgets::{Block, Clear};
use ratatui::{Frame, layout::Rect};

/// Styles and characters. Without colours, bold and reverse video carry the meaning, next to the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Theme {
    colours: bool,
    unicode: bool,
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

impl Theme {
    /// No colours, ASCII only.
    pub const PLAIN: Self = Self {
        colours: false,
        unicode: false,
    };

    /// What the environment promises: `NO_COLOR`, `TERM`, and the locale's character set.
    ///
    /// A serial line gets no locale and with it ASCII; the kernel's own screen (`TERM=linux`) shows UTF-8.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Self {
        let given = |name| variable(name).filter(|value| !value.is_empty());
        let term = given("TERM").unwrap_or_else(|| "dumb".to_owned());
        let colourless =
            term == "dumb" || term.starts_with("vt1") || term.ends_with("-m") || term.ends_with("-mono");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(given)
            .unwrap_or_default();
        let utf8 = locale.to_ascii_lowercase().replace('-', "").contains("utf8");
        Self {
            colours: given("NO_COLOR").is_none() && !colourless,
            unicode: term == "linux" || utf8,
        }
    }

    fn style(self, colour: Color, otherwise: Modifier) -> Style {
        if self.colours {
            Style::new().fg(colour)
        } else {
            Style::new().add_modifier(otherwise)
        }
    }

    /// As it should be.
    pub fn good(self) -> Style {
        self.style(Color::Green, Modifier::empty())
    }

    /// Worth a look.
    pub fn warn(self) -> Style {
        self.style(Color::Yellow, Modifier::BOLD)
    }

    /// Broken.
    pub fn bad(self) -> Style {
        self.style(Color::Red, Modifier::BOLD)
            .add_modifier(Modifier::BOLD)
    }

    /// Of less weight.
    pub fn dim(self) -> Style {
        self.style(Color::Gray, Modifier::empty())
    }

    /// Of more weight.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The one of several that is shown.
    pub fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// The header.
    pub fn bar(self) -> Style {
        if self.colours {
            Style::new().fg(Color::Gray).bg(Color::Blue)
        } else {
            self.selected()
        }
    }

    /// The host name in the header.
    pub fn bar_strong(self) -> Style {
        self.bar().add_modifier(Modifier::BOLD)
    }

    /// A word in the header in the colour of `condition`.
    pub fn badge(self, condition: Style) -> Style {
        match condition.fg {
            // Reset first: a bold black is grey on many terminals.
            Some(colour) => Style::reset().fg(Color::Black).bg(colour),
            None => self.bar_strong(),
        }
    }

    /// A log line of this severity (RFC 5424 §6.2.1).
    pub fn severity(self, severity: u8) -> Style {
        match severity {
            0..=3 => self.bad(),
            4 => self.warn(),
            5 | 6 => Style::new(),
            _ => self.dim(),
        }
    }

    /// A bar of `width` cells, `percent` of it filled.
    pub fn gauge(self, percent: u64, width: usize) -> String {
        let filled = usize::try_from(percent.min(100)).unwrap_or(100) * width / 100;
        let (full, empty) = if self.unicode { ("█", "░") } else { ("#", ".") };
        full.repeat(filled) + &empty.repeat(width - filled)
    }

    /// A horizontal line.
    pub fn rule(self) -> &'static str {
        if self.unicode { "─" } else { "-" }
    }

    /// Clears `area`, draws a box around it and returns what is inside.
    pub fn boxed(self, frame: &mut Frame<'_>, area: Rect, title: &str, style: Style) -> Rect {
        let set = if self.unicode { border::PLAIN } else { ASCII_BORDER };
        let title = format!(" {title} ");
        let block = Block::bordered()
            .border_set(set)
            .border_style(style)
            .title(title)
            .title_style(style);
        let inner = block.inner(area);
        frame.render_widget(Clear, area);
        frame.render_widget(block, area);
        inner
    }

    /// Replaces what the terminal cannot show; the log carries what guests and devices print.
    pub fn constrain(self, buffer: &mut Buffer) {
        if self.unicode {
            return;
        }
        for cell in &mut buffer.content {
            if !cell.symbol().is_ascii() {
                cell.set_symbol("?");
            }
        }
    }
}
