//! Services and VMs as two tables.

use axion_api::init::{UnitState, UnitStatus};
use axion_api::vm::{Vm, VmState};
use ratatui::text::{Line, Span};

use super::{Theme, age_words, cut};
use crate::app::App;

/// Columns of name, state and age.
const COLUMNS: (usize, usize, usize) = (18, 10, 12);
/// Columns from which details follow the first three.
const DETAILED: u16 = 60;

/// Both tables, for `width` columns.
pub fn lines<'a>(app: &'a App, theme: &Theme, width: u16) -> Vec<Line<'a>> {
    let detailed = width >= DETAILED;
    let mut lines = vec![head(
        "Services",
        &["pid", "restarts", "last end"],
        detailed,
        theme,
    )];
    match &app.snapshot.init {
        Err(why) => lines.push(Line::styled(format!("Init does not answer: {why}."), theme.bad())),
        Ok(facts) => {
            let own = facts.units.iter().filter(|unit| !unit.transient);
            lines.extend(own.map(|unit| unit_line(app, unit, detailed, theme)));
        }
    }
    lines.push(Line::default());
    lines.push(head("VMs", &["CPUs", "memory", "last end"], detailed, theme));
    match &app.snapshot.vms {
        Err(why) => {
            lines.push(Line::styled(
                format!("The agent does not answer: {why}."),
                theme.warn(),
            ));
            let known = app.snapshot.running_vms().into_iter();
            lines.extend(known.map(|name| Line::from(format!("{name}: its process runs"))));
        }
        Ok(vms) if vms.is_empty() => {
            lines.push(Line::styled("none; axctl vm run NAME makes one", theme.dim()))
        }
        Ok(vms) => lines.extend(vms.iter().map(|vm| vm_line(app, vm, detailed, theme))),
    }
    lines
}

fn head<'a>(title: &str, details: &[&str; 3], detailed: bool, theme: &Theme) -> Line<'a> {
    let (name, state, age) = COLUMNS;
    let [first, second, third] = details;
    let mut text = format!("{title:name$} {:state$} {:age$}", "state", "for");
    if detailed {
        text += &format!(" {first:>6} {second:>8}  {third}");
    }
    Line::styled(text, theme.strong())
}

fn row<'a>(name: &str, state: Span<'a>, age: &str, details: Option<String>) -> Line<'a> {
    let (name_width, _, age_width) = COLUMNS;
    let mut spans = vec![
        Span::raw(format!("{:name_width$} ", cut(name, name_width))),
        state,
    ];
    spans.push(Span::raw(format!(" {age:age_width$}")));
    spans.extend(details.map(Span::raw));
    Line::from(spans)
}

fn unit_line<'a>(app: &App, unit: &UnitStatus, detailed: bool, theme: &Theme) -> Line<'a> {
    let style = match unit.state {
        UnitState::Running => theme.good(),
        UnitState::Inactive => theme.dim(),
        UnitState::Stopping | UnitState::BackOff => theme.warn(),
        UnitState::Failed => theme.bad(),
    };
    let state = Span::styled(format!("{:1$}", unit.state.to_string(), COLUMNS.1), style);
    let details = detailed.then(|| {
        let pid = unit.pid.map(|pid| pid.to_string()).unwrap_or_default();
        format!(
            " {pid:>6} {:>8}  {}",
            unit.restarts,
            unit.exit.as_deref().unwrap_or_default()
        )
    });
    row(&unit.name, state, &age_words(app, unit.since_unix_us), details)
}

fn vm_line<'a>(app: &App, vm: &Vm, detailed: bool, theme: &Theme) -> Line<'a> {
    let style = match vm.status.state {
        VmState::Running => theme.good(),
        VmState::Stopped => theme.dim(),
        VmState::Starting | VmState::Stopping | VmState::Paused => theme.warn(),
        VmState::Failed => theme.bad(),
    };
    let state = Span::styled(format!("{:1$}", vm.status.state.to_string(), COLUMNS.1), style);
    let details = detailed.then(|| {
        let memory = vm.memory().to_string();
        format!(
            " {:>6} {memory:>8}  {}",
            vm.spec.cpus,
            vm.status.exit.as_deref().unwrap_or_default()
        )
    });
    row(&vm.name, state, &age_words(app, vm.status.since_unix_us), details)
}
