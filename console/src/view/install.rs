//! The installer: its pages, and how far it is.

use axion_api::install::{OfferedDisk, Progress};
use axion_core::config::{Addressing, Field, PoolChoice, StateAnswer};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Theme, wrap};
use crate::app::App;
use crate::app::install::{Step, Wizard};

/// Columns of the box with its border.
const WIDTH: u16 = 80;
/// Columns of a label.
const LABEL: usize = 12;
/// Cells of the bar.
const BAR: usize = 50;

/// Draws the questions.
pub fn draw(frame: &mut Frame<'_>, wizard: &Wizard, app: &App, theme: &Theme) {
    let number = Step::ALL
        .iter()
        .position(|step| *step == wizard.step)
        .unwrap_or(0)
        + 1;
    let what = match wizard.step {
        Step::Disk => "disk",
        Step::Network => "network",
        Step::Node => "node",
        Step::Confirm => "what is going to happen",
    };
    let title = format!("Install on a disk, {number} of {}: {what}", Step::ALL.len());
    let mut page = Page::new(frame.area(), theme);
    match (wizard.step, &wizard.offer) {
        (_, None) if wizard.failure.is_some() => {}
        (_, None) => page.say("The disks are looked at.", Style::new()),
        (Step::Disk, Some(_)) => disks(&mut page, wizard),
        (Step::Network, Some(_)) => {
            page.say("How is the installed node reached?", theme.strong());
            fields(&mut page, wizard, app);
        }
        (Step::Node, Some(_)) => {
            page.say(
                "What is the installed node called, and what are its CPUs and disk for?",
                theme.strong(),
            );
            fields(&mut page, wizard, app);
        }
        (Step::Confirm, Some(_)) => confirm(&mut page, wizard),
    }
    let asked_here = |field: Field| wizard.fields().contains(&field);
    for wrong in wizard.refused.iter().filter(|wrong| !asked_here(wrong.field)) {
        page.blank();
        page.say(&format!("! {}.", wrong.message), theme.warn());
    }
    if let Some(why) = &wizard.failure {
        page.blank();
        page.say(&format!("! {why}."), theme.bad());
    }
    let keys = match (wizard.waiting, wizard.step) {
        (true, _) => "Checking ...   Esc back",
        (false, Step::Disk) if wizard.offers_mirror() => {
            "Up/Down choose   m second disk of a mirror   Enter next   Esc leave"
        }
        (false, Step::Disk) => "Up/Down choose   Enter next   Esc leave; nothing is written before the end",
        (false, Step::Network | Step::Node) => "Up/Down field   Left/Right change   Enter next   Esc back",
        (false, Step::Confirm) => "Enter install   Esc back",
    };
    page.draw(frame, &title, keys);
}

/// Draws how far an installation is.
pub fn draw_progress(frame: &mut Frame<'_>, progress: Option<&Progress>, theme: &Theme) {
    let mut page = Page::new(frame.area(), theme);
    let (title, keys) = match progress {
        None => ("Installation", ""),
        Some(Progress::Running { step, percent }) => {
            page.say(step, theme.strong());
            page.blank();
            let bar = theme.gauge(u64::from(*percent), BAR);
            page.say(&format!("[{bar}] {percent:3} %"), theme.good());
            page.blank();
            page.say(
                "Leave the machine on: until this is done, the disk starts nothing.",
                Style::new(),
            );
            ("Axion is being installed", "")
        }
        Some(Progress::Done(disk)) => {
            page.say(disk, Style::new());
            page.blank();
            page.say(
                "Remove the medium, then press Enter to restart from the disk.",
                theme.strong(),
            );
            ("Axion is installed", "Enter restart   Esc stay in this system")
        }
        Some(Progress::Failed(why)) => {
            page.say(&format!("! {why}."), theme.bad());
            ("The installation has failed", "Enter back")
        }
    };
    page.draw(frame, title, keys);
}

/// Lines of a box, the one that has to stay in sight among them.
struct Page<'a> {
    theme: &'a Theme,
    area: Rect,
    lines: Vec<Line<'static>>,
    focus: usize,
}

impl<'a> Page<'a> {
    fn new(screen: Rect, theme: &'a Theme) -> Self {
        let width = WIDTH.min(screen.width);
        let height = screen.height.saturating_sub(2).max(screen.height.min(3));
        Self {
            theme,
            area: Rect {
                x: (screen.width - width) / 2,
                y: (screen.height - height) / 2,
                width,
                height,
            },
            lines: Vec::new(),
            focus: 0,
        }
    }

    fn room(&self) -> usize {
        usize::from(self.area.width.saturating_sub(4))
    }

    fn say(&mut self, text: &str, style: Style) {
        self.indented(0, text, style);
    }

    /// Text whose rows all begin so many columns further.
    fn indented(&mut self, indent: usize, text: &str, style: Style) {
        for row in wrap::words(text, self.room().saturating_sub(indent)) {
            self.lines
                .push(Line::styled(format!(" {:indent$}{row}", ""), style));
        }
    }

    fn blank(&mut self) {
        self.lines.push(Line::default());
    }

    /// What comes next stays in sight.
    fn focus(&mut self) {
        self.focus = self.lines.len();
    }

    fn draw(self, frame: &mut Frame<'_>, title: &str, keys: &str) {
        let inner = self.theme.boxed(frame, self.area, title, self.theme.warn());
        let below = inner.height.saturating_sub(1);
        let body = Rect {
            height: below,
            ..inner
        };
        let foot = Rect {
            y: inner.y + below,
            height: inner.height - below,
            ..inner
        };
        let shown = usize::from(below);
        // A disk has two rows and its pool one.
        let hidden = (self.focus + 3).min(self.lines.len()).saturating_sub(shown);
        let lines: Vec<Line<'_>> = self.lines.into_iter().skip(hidden).take(shown).collect();
        frame.render_widget(Paragraph::new(lines), body);
        frame.render_widget(Line::styled(format!(" {keys}"), self.theme.dim()), foot);
    }
}

fn disks(page: &mut Page<'_>, wizard: &Wizard) {
    let theme = *page.theme;
    page.say("On which disk? Other disks are left alone.", theme.strong());
    if wizard.disks().is_empty() {
        page.blank();
        page.say(
            "! This machine has no disk besides what it was started from.",
            theme.warn(),
        );
    }
    for (index, disk) in wizard.disks().iter().enumerate() {
        let chosen = index == wizard.cursor;
        if chosen {
            page.focus();
        }
        let OfferedDisk { id, size, model, .. } = disk;
        let style = match (&disk.unfit, chosen) {
            (Some(_), _) => theme.dim(),
            (None, true) => theme.selected(),
            (None, false) => Style::new(),
        };
        let about = format!("{id}  {size}  {model}");
        if chosen {
            page.say(&format!("> {about}"), style);
        } else {
            page.indented(2, &about, style);
        }
        let holds = if disk.contents.is_empty() {
            "empty"
        } else {
            disk.contents.as_str()
        };
        match &disk.unfit {
            None => page.indented(4, &format!("holds: {holds}"), Style::new()),
            Some(why) => page.indented(4, &format!("not possible: {why}"), theme.dim()),
        }
        if wizard.answers.mirror == *id && !id.is_empty() {
            page.indented(
                4,
                "the second disk: it holds the same, and the node survives the loss of one",
                theme.good(),
            );
        }
        if chosen && disk.has_pool && disk.unfit.is_none() {
            let fate = match wizard.answers.pool {
                PoolChoice::Keep if disk.keeps_pool => "kept",
                PoolChoice::Keep => "kept, which is not possible here: it lies where Axion goes",
                PoolChoice::Destroy => "LOST WITH ALL THAT IS IN IT",
            };
            let text = format!("its pool is < {fate} >  Left/Right change this");
            page.indented(4, &text, theme.warn());
        }
    }
}

fn fields(page: &mut Page<'_>, wizard: &Wizard, app: &App) {
    let theme = *page.theme;
    page.blank();
    for (index, field) in wizard.fields().iter().enumerate() {
        let chosen = index == wizard.cursor;
        if chosen {
            page.focus();
        }
        let mark = if chosen { '>' } else { ' ' };
        let (label, value) = field_in_words(*field, wizard, app, chosen);
        let style = if chosen { theme.strong() } else { Style::new() };
        page.lines.push(Line::from(vec![
            Span::styled(format!(" {mark} {label:LABEL$}"), style),
            Span::styled(value, style),
        ]));
        for wrong in wizard.refused.iter().filter(|wrong| wrong.field == *field) {
            page.indented(LABEL + 2, &format!("! {}", wrong.message), theme.warn());
        }
    }
    let hint = match wizard.fields().get(wizard.cursor) {
        Some(Field::Hostname) => {
            "Letters, digits and `-`; ${serial}, ${uuid} and ${mac} are filled in. Left empty, the name is made of the machine's \
             identity."
        }
        Some(Field::Profile) => {
            "hpc: CPUs that nothing but a pinned VM runs on. balanced: CPUs that the host keeps off. off: the kernel's own behaviour."
        }
        Some(Field::State) => {
            "VMs, their disks and settings: in a ZFS pool on the rest of the disk, or forgotten at each restart."
        }
        Some(Field::Dns) => "Several have blanks or commas between them.",
        Some(Field::Gateway) => "Left empty: none.",
        _ => return,
    };
    page.blank();
    page.say(hint, theme.dim());
}

/// Label and value of a field.
fn field_in_words(field: Field, wizard: &Wizard, app: &App, chosen: bool) -> (&'static str, String) {
    let node = &wizard.answers.node;
    let network = &node.network;
    let choice = |text: &str| format!("< {text} >");
    let typed = |text: &str| format!("{text}{}", if chosen { "_" } else { "" });
    match field {
        Field::Addressing => (
            "Addresses",
            choice(match network.addressing {
                Addressing::Config => "as the machine config in force says",
                Addressing::Dhcp => "by DHCP",
                Addressing::Static => "typed here",
            }),
        ),
        Field::Interface => ("Interface", choice(&interface(wizard))),
        Field::Address => ("Address", typed(&network.address)),
        Field::Gateway => ("Gateway", typed(&network.gateway)),
        Field::Dns => ("Resolvers", typed(&network.dns)),
        Field::Hostname if node.hostname.is_empty() => {
            let name = app
                .snapshot
                .init
                .as_ref()
                .map_or("", |facts| facts.node.hostname.as_str());
            let cursor = if chosen { "_ " } else { "" };
            ("Host name", format!("{cursor}(empty: as now, {name})"))
        }
        Field::Hostname => ("Host name", typed(&node.hostname)),
        Field::Profile => ("Profile", choice(&node.profile.to_string())),
        Field::State => (
            "State",
            choice(match node.state {
                StateAnswer::Config => "as the machine config in force says",
                StateAnswer::Disk if !wizard.answers.mirror.is_empty() => "kept on both disks",
                StateAnswer::Disk => "kept on this disk",
                StateAnswer::Memory => "in memory only",
            }),
        ),
        Field::Machine | Field::Disk | Field::Mirror | Field::Pool | Field::Token => ("", String::new()),
    }
}

fn interface(wizard: &Wizard) -> String {
    let mac = &wizard.answers.node.network.interface;
    let offered = wizard.offer.iter().flat_map(|offer| &offer.interfaces);
    match offered.clone().find(|interface| interface.mac == *mac) {
        Some(found) => {
            let link = if found.link { "has a link" } else { "no link" };
            format!("{} {}, {link}", found.name, found.mac)
        }
        None if mac.is_empty() && wizard.answers.node.network.addressing == Addressing::Dhcp => {
            "every one that has a link".to_owned()
        }
        None => "none".to_owned(),
    }
}

fn confirm(page: &mut Page<'_>, wizard: &Wizard) {
    let theme = *page.theme;
    let Some(summary) = &wizard.summary else {
        return;
    };
    for line in summary.text.lines() {
        let style = if line.contains("lost") {
            theme.warn()
        } else {
            Style::new()
        };
        match line.strip_prefix("  ") {
            // The table keeps its columns.
            Some(_) if line.chars().count() <= page.room() => {
                page.lines.push(Line::styled(format!(" {line}"), style));
            }
            Some(line) => page.indented(2, line, style),
            None => page.say(line, style),
        }
    }
    page.blank();
    page.focus();
    page.say(
        &format!(
            "Type \"{}\" and press Enter to install; nothing is written before.",
            summary.token
        ),
        theme.strong(),
    );
    page.say(&format!("> {}_", wizard.typed), theme.strong());
}
