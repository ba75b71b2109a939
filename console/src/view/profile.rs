//! The boot profile: every item of its attestation, and what mends the chosen one.

use axion_core::profile::{Item, ItemState};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Theme, cut, wrap};
use crate::app::App;
use crate::node::Profile;

/// Columns of the state, the longest of which is `needs reboot`.
const STATE: usize = 12;
/// Columns of the names of what stands below the table.
const LABEL: usize = 9;
/// Rows of the table's title.
const HEAD: u16 = 2;

/// The page: a table that scrolls with its choice, and the choice in whole sentences below it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let Some(profile) = &app.snapshot.profile else {
        let none = Line::styled("nothing is known of it yet: the agent has not said", theme.dim());
        frame.render_widget(none, area);
        return;
    };
    let chosen = profile.items.get(app.chosen_item());
    let detail = chosen.map_or_else(Vec::new, |item| detail(item, theme, area.width));
    let rows = u16::try_from(profile.items.len()).unwrap_or(u16::MAX - HEAD);
    // The table gives way, down to the chosen item: what mends it is why somebody looks.
    let below = u16::try_from(detail.len()).unwrap_or(u16::MAX);
    let [top, bottom] = Layout::vertical([
        Constraint::Length((rows + HEAD).min(area.height.saturating_sub(below).max(HEAD + 1))),
        Constraint::Min(0),
    ])
    .areas(area);
    let table = table(profile, app.chosen_item(), theme, top);
    frame.render_widget(Paragraph::new(table), top);
    frame.render_widget(Paragraph::new(detail), bottom);
}

fn style(state: ItemState, theme: &Theme) -> Style {
    match state {
        ItemState::Ok => theme.good(),
        ItemState::Drifted | ItemState::NeedsReboot => theme.warn(),
        ItemState::Impossible => theme.bad(),
    }
}

fn table<'a>(profile: &Profile, chosen: usize, theme: &Theme, area: Rect) -> Vec<Line<'a>> {
    let room = usize::from(area.height.saturating_sub(HEAD));
    let last = profile.items.len().saturating_sub(room);
    let first = chosen.saturating_sub(room / 2).min(last);
    // What the state and the blanks leave goes to three columns.
    let column = (usize::from(area.width).saturating_sub(STATE + 3) / 3).max(4);
    let row = |item: &str, planned: &str, now: &str| {
        let cells = [item, planned, now].map(|text| format!("{:column$} ", cut(text, column)));
        cells.concat()
    };
    let verdict = match profile.trouble() {
        None => Span::styled("in force", theme.good()),
        Some(trouble) => Span::styled(trouble, theme.bad()),
    };
    let title = Line::from(vec![Span::raw(format!("{}: ", profile.division())), verdict]);
    let head = Line::styled(row("Item", "planned", "now") + "state", theme.strong());
    let items = profile.items.iter().enumerate().skip(first).take(room);
    let items = items.map(|(index, item)| {
        let text = row(&item.key, &item.desired, &item.effective);
        let state = format!("{:STATE$}", item.state.word());
        if index == chosen {
            Line::styled(text + &state, theme.selected())
        } else {
            Line::from(vec![
                Span::raw(text),
                Span::styled(state, style(item.state, theme)),
            ])
        }
    });
    [title, head].into_iter().chain(items).collect()
}

/// The chosen item without a cut.
fn detail<'a>(item: &Item, theme: &Theme, width: u16) -> Vec<Line<'a>> {
    let room = usize::from(width).saturating_sub(LABEL).max(1);
    let fix = item.fix.as_deref().unwrap_or("nothing to mend");
    let fields = [
        ("Item", item.key.as_str()),
        ("Planned", &item.desired),
        ("Now", &item.effective),
        ("Fix", fix),
    ];
    let rows = fields.into_iter().flat_map(|(label, text)| {
        let rows = wrap::words(text, room).into_iter().enumerate();
        rows.map(move |(index, row)| {
            let label = if index == 0 { label } else { "" };
            Line::from(vec![
                Span::styled(format!("{label:LABEL$}"), theme.strong()),
                Span::raw(row),
            ])
        })
    });
    std::iter::once(Line::default()).chain(rows).collect()
}
