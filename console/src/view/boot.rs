//! Boot phases and their tasks, with times.

use axion_api::init::{BootStatus, Outcome, Phase, Task};
use ratatui::text::{Line, Span};

use super::Theme;
use crate::app::App;

/// The page's lines.
pub fn lines<'a>(app: &'a App, theme: &Theme) -> Vec<Line<'a>> {
    let boot = match &app.snapshot.init {
        Ok(facts) => &facts.boot,
        Err(why) => return vec![Line::styled(format!("Init does not answer: {why}."), theme.bad())],
    };
    let head = Line::styled(format!("{:>9} {:>9}  phase, tasks", "at", "took"), theme.strong());
    let kernel = row(0, boot.kernel_us, "kernel, until init starts");
    let phases = boot.phases.iter().flat_map(|phase| phase_lines(phase, theme));
    [head, kernel]
        .into_iter()
        .chain(phases)
        .chain([ending(boot, theme)])
        .collect()
}

fn ending<'a>(boot: &BootStatus, theme: &Theme) -> Line<'a> {
    match boot.ready_us {
        Some(ready) => row(ready, 0, "ready").style(theme.good().patch(theme.strong())),
        None => Line::styled(format!("{:21}still booting", ""), theme.warn()),
    }
}

fn phase_lines<'a>(phase: &'a Phase, theme: &Theme) -> Vec<Line<'a>> {
    let (outcome, style) = match phase.outcome {
        Outcome::Ok => ("", theme.strong()),
        Outcome::Degraded => ("  went on without what failed", theme.warn()),
        Outcome::Failed => ("  stopped the boot", theme.bad()),
    };
    let head = row(
        phase.start_us,
        phase.duration_us,
        &format!("{}{outcome}", phase.name),
    )
    .style(style);
    let tasks = phase.tasks.iter().flat_map(|task| task_lines(task, theme));
    std::iter::once(head).chain(tasks).collect()
}

fn task_lines<'a>(task: &'a Task, theme: &Theme) -> Vec<Line<'a>> {
    let took = milliseconds(task.duration_us);
    let mut lines = vec![Line::styled(
        format!("{:9} {took:>9}    {}", "", task.name),
        theme.dim(),
    )];
    if let Some(error) = &task.error {
        let weight = if task.essential { theme.bad() } else { theme.warn() };
        lines.push(Line::from(vec![
            Span::raw(" ".repeat(23)),
            Span::styled(error.as_str(), weight),
        ]));
    }
    lines
}

fn row<'a>(at_us: u64, took_us: u64, name: &str) -> Line<'a> {
    let took = if took_us == 0 {
        String::new()
    } else {
        milliseconds(took_us)
    };
    Line::from(format!("{:>9} {took:>9}  {name}", milliseconds(at_us)))
}

fn milliseconds(us: u64) -> String {
    match us {
        0 => "0 ms".to_owned(),
        1..10_000 => format!("{}.{} ms", us / 1000, us % 1000 / 100),
        10_000..10_000_000 => format!("{} ms", us / 1000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}
