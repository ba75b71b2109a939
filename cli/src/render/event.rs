//! Events.

use axion_api::event::{Event, What};
use axion_core::profile::ItemState;

use super::{Style, Tone, milliseconds, moment, plain};
use crate::render::{host, netboot, vm};

/// One line.
pub fn line(event: &Event, style: &Style) -> String {
    let text = match &event.what {
        What::Vm(vm) => {
            let reason = vm::detail(vm)
                .map(|detail| format!(" ({})", plain(&detail)))
                .unwrap_or_default();
            let state = style.paint(&vm.status.state.to_string(), vm::tone(vm.status.state));
            format!("vm {} {state}{reason}", plain(&vm.name))
        }
        What::VmDeleted { name } => format!("vm {} deleted", plain(name)),
        What::Unit(unit) => {
            let state = style.paint(&unit.state.to_string(), host::unit_tone(unit.state));
            let exit = unit
                .exit
                .as_ref()
                .map(|exit| format!(" ({})", plain(exit)))
                .unwrap_or_default();
            format!("unit {} {state}{exit}", plain(&unit.name))
        }
        What::Phase(phase) => {
            let (outcome, tone) = host::outcome(phase.outcome);
            let name = plain(&phase.name);
            format!(
                "phase {name} {} in {}",
                style.paint(outcome, tone),
                milliseconds(phase.duration_us)
            )
        }
        What::Profile { state, items } => {
            let keys: Vec<String> = items.iter().map(|item| plain(&item.key)).collect();
            let (word, tone) = match state {
                ItemState::Ok => ("in force", Tone::Good),
                state => (state.word(), Tone::Bad),
            };
            let what = if keys.is_empty() {
                String::new()
            } else {
                format!(": {}", keys.join(", "))
            };
            format!("profile {}{what}", style.paint(word, tone))
        }
        What::Notice { text, .. } => style.paint(&plain(text), Tone::Warning),
        What::Pool(event) => {
            let tone = if event.bad { Tone::Bad } else { Tone::Plain };
            style.paint(&plain(&event.to_string()), tone)
        }
        What::Netboot(step) => netboot::step(step, style),
        What::Lost { count } => style.paint(&format!("{count} events were lost"), Tone::Warning),
    };
    format!("{} {text}", style.paint(&moment(event.unix_us), Tone::Faint))
}
