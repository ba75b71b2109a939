//! Questions about a node in trouble.

use axion_api::recovery::{ResetPlan, Stick};
use ratatui::style::Style;

use super::Theme;
use super::dialog::Row;
use crate::app::trouble::{MOST_STICKS, SHELL, Trouble};

/// Lines of a plan that are shown; the rest is counted.
const MOST_LINES: usize = 6;

/// Title and rows.
pub fn rows(question: &Trouble, theme: &Theme) -> (&'static str, Vec<Row>) {
    let plain = |text: &str| (text.to_owned(), Style::new());
    let strong = |text: String| (text, theme.strong());
    match question {
        Trouble::Menu => (
            "What is wanted?",
            vec![
                strong("b  support bundle to a USB stick".to_owned()),
                plain("   logs, config without secrets, hardware, pools, the last crash"),
                strong("f  factory reset".to_owned()),
                plain("   forget the machine config, what the node keeps, or both"),
                strong("s  rescue shell on this line".to_owned()),
                plain("   where the machine config allows it"),
                plain(""),
                plain("Esc goes back."),
            ],
        ),
        Trouble::Sticks(sticks) => {
            let mut rows: Vec<Row> = (1..)
                .zip(sticks.iter().take(MOST_STICKS))
                .map(|(number, stick)| strong(format!("{number}  {}", about(stick))))
                .collect();
            rows.push(plain(""));
            rows.push(plain(
                "A file is added; what is there stays. Press its number, or Esc.",
            ));
            ("Which stick?", rows)
        }
        Trouble::Scope => (
            "Factory reset: what is forgotten?",
            vec![
                strong("c  the machine config on the installed disk".to_owned()),
                strong("s  the state: VMs and their disks, certificate, token".to_owned()),
                strong("a  both".to_owned()),
                plain(""),
                plain("The next question says what is lost. Esc goes back."),
            ],
        ),
        Trouble::Reset { plan, typed } => ("Factory reset?", reset(plan, typed, theme)),
        Trouble::Shell { typed } => (
            "Rescue shell on this line?",
            vec![
                plain(
                    "A shell with every right takes the place of this console. `exit` brings the console back.",
                ),
                plain(""),
                strong(format!("Type \"{SHELL}\" and press Enter. Esc goes back.")),
                strong(format!("> {typed}_")),
            ],
        ),
    }
}

/// `sda1  KEYS, 14.9 GiB, SanDisk Ultra 4C530001230512105022`.
fn about(stick: &Stick) -> String {
    let mebibytes = stick.size >> 20;
    let size = if mebibytes >= 1024 {
        format!("{}.{} GiB", mebibytes / 1024, mebibytes % 1024 * 10 / 1024)
    } else {
        format!("{mebibytes} MiB")
    };
    let label = if stick.label.is_empty() {
        "no name"
    } else {
        &stick.label
    };
    let serial = stick.serial.as_deref().unwrap_or_default();
    let text = format!("{}  {label}, {size}, {} {serial}", stick.device, stick.disk);
    text.trim_end().to_owned()
}

fn reset(plan: &ResetPlan, typed: &str, theme: &Theme) -> Vec<Row> {
    let mut rows = Vec::new();
    for (heading, lines, style) in [
        ("Lost:", &plan.lost, theme.bad()),
        ("Kept:", &plan.kept, Style::new()),
    ] {
        if lines.is_empty() {
            continue;
        }
        rows.push((heading.to_owned(), theme.strong()));
        rows.extend(
            lines
                .iter()
                .take(MOST_LINES)
                .map(|line| (format!("- {line}"), style)),
        );
        if let more @ 1.. = lines.len().saturating_sub(MOST_LINES) {
            rows.push((format!("- and {more} more"), style));
        }
    }
    rows.push((String::new(), Style::new()));
    let ask = format!(
        "Type the host name, {}, and press Enter: the node restarts and forgets. Esc goes back.",
        plan.hostname
    );
    rows.push((ask, theme.strong()));
    rows.push((format!("> {typed}_"), theme.strong()));
    rows
}
