//! Pools and their devices.

use axion_api::storage::Health;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Theme, wrap};
use crate::app::App;
use crate::node::{DeviceFacts, PoolFacts};

/// Columns of a name and of a state.
const COLUMNS: (usize, usize) = (28, 12);

/// Every pool, for `width` columns.
pub fn lines<'a>(app: &'a App, theme: &Theme, width: u16) -> Vec<Line<'a>> {
    let mut lines = vec![Line::styled(
        format!("{:2$} {:3$}", "Pools", "state", COLUMNS.0, COLUMNS.1),
        theme.strong(),
    )];
    match &app.snapshot.pools {
        None => lines.push(Line::styled("nothing is known of them yet", theme.dim())),
        Some(pools) if pools.is_empty() => {
            let text = "none; axctl pool disks tells what one can be made of";
            lines.push(Line::styled(text, theme.dim()));
        }
        Some(pools) => {
            for pool in pools {
                pool_lines(pool, theme, width, &mut lines);
            }
        }
    }
    if !app.snapshot.locked.is_empty() {
        lines.push(Line::styled(
            "Locked datasets, u takes a passphrase",
            theme.strong(),
        ));
        let names = app.snapshot.locked.iter();
        lines.extend(names.map(|name| Line::styled(format!("  {name}"), theme.warn())));
    }
    lines
}

fn style(state: Health, theme: &Theme) -> Style {
    match state {
        Health::Online | Health::Available | Health::InUse => theme.good(),
        Health::Degraded | Health::Offline | Health::Unknown => theme.warn(),
        Health::Faulted | Health::Removed | Health::Unavailable | Health::Suspended => theme.bad(),
    }
}

fn pool_lines<'a>(pool: &'a PoolFacts, theme: &Theme, width: u16, lines: &mut Vec<Line<'a>>) {
    let mut about = format!(" {} % of {}", pool.used_percent, pool.size);
    if pool.holds_state {
        about += ", node's state";
    }
    lines.push(row(&pool.name, pool.state, about, theme));
    lines.extend(pool.devices.iter().map(|device| device_line(device, theme)));
    lines.extend(
        pool.scan
            .iter()
            .map(|scan| Line::styled(format!("  {scan}"), theme.dim())),
    );
    for advice in &pool.advice {
        let within = usize::from(width).saturating_sub(2);
        lines.extend(
            wrap::words(advice, within)
                .into_iter()
                .map(|line| Line::styled(format!("  {line}"), theme.warn())),
        );
    }
    lines.push(Line::default());
}

fn row<'a>(name: &str, state: Health, about: String, theme: &Theme) -> Line<'a> {
    Line::from(vec![
        Span::raw(format!("{:1$} ", super::cut(name, COLUMNS.0), COLUMNS.0)),
        Span::styled(
            format!("{:1$}", state.to_string(), COLUMNS.1),
            style(state, theme),
        ),
        Span::raw(about),
    ])
}

fn device_line<'a>(device: &DeviceFacts, theme: &Theme) -> Line<'a> {
    let [read, write, checksum] = device.errors;
    let errors = if device.errors == [0; 3] {
        String::new()
    } else {
        format!(" errors: {read} read, {write} write, {checksum} checksum")
    };
    row(&format!("  {}", device.name), device.state, errors, theme)
}
