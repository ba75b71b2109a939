//! The first page: what an operator in front of the machine needs, most urgent first.

use axion_api::init::UnitState;
use axion_api::vm::VmState;
use axion_core::profile::Standing;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{Theme, log, services, wrap};
use crate::app::App;
use crate::node::{Profile, Proved};

/// Columns of the labels; a CA fingerprint fits behind them on 80.
const LABEL: usize = 9;
/// Columns from which services and VMs stand beside the facts.
const WIDE: u16 = 120;

pub fn draw(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    let token = token_lines(app, theme, area.width);
    let problems = problem_lines(app, theme, area.width);
    let facts = facts(app, theme);
    let wide = area.width >= WIDE;
    let beside = if wide {
        services::lines(app, theme, area.width - 81)
    } else {
        Vec::new()
    };
    let [top, middle, below, rest] = Layout::vertical([
        Constraint::Length(if token.is_empty() { 0 } else { height(&token) + 2 }),
        // Half of the screen for problems at most: the rest still has to say how to reach the node.
        Constraint::Length(height(&problems).min(area.height / 2)),
        Constraint::Length(height(&facts).max(height(&beside))),
        Constraint::Fill(1),
    ])
    .areas(area);
    if !token.is_empty() {
        let title = if app.snapshot.local.first_token.is_some() {
            "First API token: it opens this node"
        } else {
            "Recovery passphrase: it opens this node's state"
        };
        let inner = theme.boxed(frame, top, title, theme.warn());
        frame.render_widget(Paragraph::new(token), inner);
    }
    frame.render_widget(Paragraph::new(problems), middle);
    let [left, right] = Layout::horizontal([
        Constraint::Length(if wide { 81 } else { below.width }),
        Constraint::Min(0),
    ])
    .areas(below);
    frame.render_widget(Paragraph::new(facts), left);
    frame.render_widget(Paragraph::new(beside), right);
    log_tail(frame, rest, app, theme);
}

fn height(lines: &[Line<'_>]) -> u16 {
    u16::try_from(lines.len()).unwrap_or(u16::MAX - 2)
}

/// The first token, or else the recovery passphrase, whole on any screen: a part of it is of no use to anyone.
fn token_lines<'a>(app: &App, theme: &Theme, width: u16) -> Vec<Line<'a>> {
    let recovery = app.snapshot.recovery.as_ref().map(|recovery| recovery.expose());
    let Some(token) = app.snapshot.local.first_token.as_deref().or(recovery) else {
        return Vec::new();
    };
    let room = usize::from(width.saturating_sub(2));
    let note = "Note it now, then press n. After that it is never shown again.";
    let token = wrap::words(token, room)
        .into_iter()
        .map(|row| Line::styled(row, theme.strong()));
    token
        .chain(wrap::words(note, room).into_iter().map(Line::from))
        .collect()
}

fn problem_lines<'a>(app: &App, theme: &Theme, width: u16) -> Vec<Line<'a>> {
    let rows = |problem: String| {
        let rows = wrap::words(&problem, usize::from(width.saturating_sub(2)));
        rows.into_iter().enumerate().map(|(index, row)| {
            let mark = if index == 0 { "! " } else { "  " };
            Line::from(vec![
                Span::styled(mark, theme.bad()),
                Span::styled(row, theme.warn()),
            ])
        })
    };
    app.snapshot.problems().into_iter().flat_map(rows).collect()
}

fn facts<'a>(app: &'a App, theme: &Theme) -> Vec<Line<'a>> {
    let snapshot = &app.snapshot;
    let mut lines = Vec::new();
    let mut group = |label: &'static str, values: Vec<Vec<Span<'a>>>| {
        for (index, value) in values.into_iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let head = Span::styled(format!("{label:LABEL$}"), theme.strong());
            lines.push(std::iter::once(head).chain(value).collect());
        }
    };
    group("API", api(app, theme));
    let fingerprint = snapshot
        .local
        .fingerprint
        .as_deref()
        .unwrap_or("not there yet: the agent makes it at its first start");
    group("CA", vec![vec![Span::raw(fingerprint)]]);
    let facts = snapshot.init.as_ref().ok();
    if let Some(facts) = facts {
        group("Network", network(&facts.node.network));
    }
    let load = snapshot.load;
    let cpu = load.cpu_percent.unwrap_or_default();
    let cpus = if load.cpus == 1 { "CPU" } else { "CPUs" };
    group(
        "CPU",
        vec![gauge(
            theme,
            u64::from(cpu),
            format!("{cpu:3} % of {} {cpus}", load.cpus),
        )],
    );
    let percent = (load.used_mib * 100)
        .checked_div(load.memory_mib)
        .unwrap_or_default();
    let memory = format!(
        "{percent:3} %, {} of {}",
        gibibytes(load.used_mib),
        gibibytes(load.memory_mib)
    );
    group("Memory", vec![gauge(theme, percent, memory)]);
    if let Some(state) = &snapshot.profile {
        group("Profile", vec![profile(state, theme)]);
    }
    if let Some(facts) = facts {
        group("Clock", vec![clock(&facts.node, theme)]);
        let state = if facts.node.state_lock.is_some() {
            Span::styled("locked; in memory only meanwhile", theme.bad())
        } else if facts.node.persistent_state {
            Span::raw("kept on disk")
        } else {
            Span::raw("in memory only: VMs and settings are gone after a reboot")
        };
        group("State", vec![vec![state]]);
        let degraded = facts.node.mirror_degraded.as_str();
        if !degraded.is_empty() {
            let why = vec![
                Span::styled("mirror degraded: ", theme.bad()),
                Span::raw(degraded),
            ];
            group("Disks", vec![why]);
        }
        // A machine that started by BIOS knows nothing of it.
        let secure_boot = facts.node.secure_boot.as_str();
        if !secure_boot.is_empty() && !secure_boot.starts_with("none") {
            group(
                "Firmware",
                vec![vec![Span::raw("Secure Boot "), Span::raw(secure_boot)]],
            );
        }
        group("TPM", vec![vec![Span::raw(facts.node.tpm.as_str())]]);
        group("Services", vec![units(app, theme)]);
    }
    group("VMs", vec![vms(app, theme)]);
    lines
}

fn api<'a>(app: &App, theme: &Theme) -> Vec<Vec<Span<'a>>> {
    let urls = app.snapshot.api_urls();
    if urls.is_empty() {
        let why = match app.snapshot.init {
            Ok(_) => "not reachable: this node has no address yet",
            Err(_) => "not known: init does not answer",
        };
        return vec![vec![Span::styled(why, theme.warn())]];
    }
    let hidden = urls.len().saturating_sub(2);
    let mut values: Vec<Vec<Span<'_>>> = urls.into_iter().take(2).map(|url| vec![Span::raw(url)]).collect();
    if let Some(last) = values.last_mut().filter(|_| hidden > 0) {
        last.push(Span::styled(format!("  and {hidden} more"), theme.dim()));
    }
    values
}

fn network(interfaces: &[(String, String)]) -> Vec<Vec<Span<'_>>> {
    if interfaces.is_empty() {
        return vec![vec![Span::raw("no network interface found")]];
    }
    let shown = interfaces
        .iter()
        .take(4)
        .map(|(name, detail)| vec![Span::raw(format!("{name:8} {detail}"))]);
    let more = (interfaces.len() > 4).then(|| vec![Span::raw(format!("and {} more", interfaces.len() - 4))]);
    shown.chain(more).collect()
}

fn gauge<'a>(theme: &Theme, percent: u64, words: String) -> Vec<Span<'a>> {
    let style = match percent {
        0..80 => theme.good(),
        80..95 => theme.warn(),
        _ => theme.bad(),
    };
    vec![
        Span::raw("["),
        Span::styled(theme.gauge(percent, 30), style),
        Span::raw("] "),
        Span::raw(words),
    ]
}

/// `1.2 GiB`, rounded down.
fn gibibytes(mib: u64) -> String {
    format!("{}.{} GiB", mib / 1024, mib % 1024 * 10 / 1024)
}

fn profile<'a>(profile: &Profile, theme: &Theme) -> Vec<Span<'a>> {
    let mut spans = vec![Span::raw(profile.division())];
    match profile.trouble() {
        Some(trouble) => spans.push(Span::styled(format!(": {trouble}"), theme.bad())),
        None if profile.standing == Standing::Planned => spans.push(Span::raw(": in force")),
        None => {}
    }
    match &profile.proof {
        Some(Proved::Quiet) => spans.push(Span::raw(", proved")),
        Some(Proved::Disturbed(cpus)) => {
            spans.push(Span::styled(format!(", CPUs {cpus} disturbed"), theme.bad()));
        }
        None => {}
    }
    spans
}

fn clock<'a>(node: &'a axion_api::init::NodeStatus, theme: &Theme) -> Vec<Span<'a>> {
    if node.time_synchronized {
        return vec![Span::raw("set by NTP")];
    }
    let why = if node.time_detail.is_empty() {
        "no reason known"
    } else {
        &node.time_detail
    };
    vec![Span::styled("not set by NTP: ", theme.warn()), Span::raw(why)]
}

fn units<'a>(app: &App, theme: &Theme) -> Vec<Span<'a>> {
    let units: Vec<_> = app
        .snapshot
        .init
        .iter()
        .flat_map(|facts| &facts.units)
        .filter(|u| !u.transient)
        .collect();
    let up = units
        .iter()
        .filter(|unit| unit.state == UnitState::Running)
        .count();
    let down = units
        .iter()
        .filter(|unit| matches!(unit.state, UnitState::Failed | UnitState::BackOff))
        .count();
    counted(&[(up, "running", Style::new()), (down, "down", theme.bad())])
}

fn vms<'a>(app: &App, theme: &Theme) -> Vec<Span<'a>> {
    let Ok(vms) = &app.snapshot.vms else {
        return vec![Span::styled("not known: the agent does not answer", theme.warn())];
    };
    let count = |states: &[VmState]| vms.iter().filter(|vm| states.contains(&vm.status.state)).count();
    counted(&[
        (
            count(&[VmState::Running, VmState::Starting, VmState::Stopping]),
            "running",
            Style::new(),
        ),
        (count(&[VmState::Paused]), "paused", theme.warn()),
        (count(&[VmState::Stopped]), "stopped", Style::new()),
        (count(&[VmState::Failed]), "failed", theme.bad()),
    ])
}

/// `2 running, 1 failed`; zeros are left out, but for `none`.
fn counted<'a>(counts: &[(usize, &str, Style)]) -> Vec<Span<'a>> {
    let mut spans = Vec::new();
    for (count, word, style) in counts.iter().filter(|(count, ..)| *count > 0) {
        if !spans.is_empty() {
            spans.push(Span::raw(", "));
        }
        spans.push(Span::styled(format!("{count} {word}"), *style));
    }
    if spans.is_empty() {
        vec![Span::raw("none")]
    } else {
        spans
    }
}

fn log_tail(frame: &mut Frame<'_>, area: Rect, app: &App, theme: &Theme) {
    if area.height < 2 {
        return;
    }
    let rule = theme.rule().repeat(usize::from(area.width.saturating_sub(4)));
    let head = Line::from(vec![
        Span::styled("Log ", theme.strong()),
        Span::styled(rule, theme.dim()),
    ]);
    let room = usize::from(area.height - 1);
    let mut lines: Vec<Line<'_>> = app
        .log
        .newest()
        .take(room)
        .map(|entry| log::line(entry, theme))
        .collect();
    lines.push(head);
    lines.reverse();
    frame.render_widget(Paragraph::new(lines), area);
}
