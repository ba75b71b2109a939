//! What is to be done for one VM now. Pure.
//!
//! ```text
//!            goal Run                                goal PowerOff, Cut
//! no unit    start                                   -
//! running    -                                       press the power button | cut the power
//! stopping   -                                       - | cut the power
//! back-off   -                                       cut the power
//! ended      record the end, goal becomes PowerOff;  record the end
//!            where it was stopped by another hand
//!            (the node goes down): forget the unit,
//!            keep the goal
//! ```
//!
//! A unit that has ended is always recorded first and removed then, so a crash between the two repeats the recording and
//! loses nothing.

use axion_api::init::{UnitState, UnitStatus};
use axion_api::vmm::GUEST_HALTED;

use super::record::{End, Goal, Record};
use crate::init::Unit;

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Rest,
    /// Start the VMM.
    Start,
    /// Press the guest's power button.
    PressPower,
    /// Cut the power.
    CutPower,
    /// Store how the run ended, with a goal of being off, then remove the unit.
    Record(End),
    /// Remove the unit and keep the goal.
    Forget,
}

/// What is to be done for a VM with this record and this unit.
pub fn plan(record: &Record, unit: Option<&Unit>) -> Action {
    let Some(unit) = unit else {
        return if record.goal == Goal::Run {
            Action::Start
        } else {
            Action::Rest
        };
    };
    match (unit.status.state, record.goal) {
        (UnitState::Running | UnitState::Stopping | UnitState::BackOff, Goal::Run)
        | (UnitState::Stopping, Goal::PowerOff) => Action::Rest,
        (UnitState::Running, Goal::PowerOff) => Action::PressPower,
        (UnitState::Running | UnitState::Stopping, Goal::Cut)
        | (UnitState::BackOff, Goal::PowerOff | Goal::Cut) => Action::CutPower,
        (UnitState::Inactive | UnitState::Failed, Goal::Run) if unit.was_stopped => Action::Forget,
        (UnitState::Inactive | UnitState::Failed, goal) => Action::Record(end(unit, goal)),
    }
}

/// How a unit that has ended did so.
fn end(unit: &Unit, goal: Goal) -> End {
    let status = &unit.status;
    let clean = status.exit_status == Some(0);
    let halted = status.last_line.as_deref() == Some(GUEST_HALTED);
    let why = match goal {
        Goal::Cut => "power cut".to_owned(),
        _ if clean && halted => GUEST_HALTED.to_owned(),
        _ if clean => "guest powered off".to_owned(),
        _ => failure(status),
    };
    End {
        why,
        failed: !clean && goal == Goal::Run,
        unix_us: status.since_unix_us,
    }
}

/// Why a VMM failed, for people: how its process ended, and its last words where they belong to that. Who is killed by SIGKILL
/// has none; what it said last was about something else.
pub fn failure(unit: &UnitStatus) -> String {
    let Some(exit) = &unit.exit else {
        return "ended for an unknown reason".to_owned();
    };
    let words = unit.last_line.as_deref().filter(|line| !line.is_empty());
    match words {
        _ if exit.starts_with(SIGKILL) => exit.clone(),
        Some(words) if exit == SIGSYS => format!("{exit}, {FORBIDDEN}: {words}"),
        None if exit == SIGSYS => format!("{exit}, {FORBIDDEN}"),
        Some(words) => format!("{exit}: {words}"),
        None => exit.clone(),
    }
}

/// What init says of a process that the kernel killed at once, and, behind it, for want of memory.
const SIGKILL: &str = "killed by SIGKILL";
/// What init says of a process that made a system call which its seccomp filter does not allow.
const SIGSYS: &str = "killed by SIGSYS";
const FORBIDDEN: &str = "for a system call that its sandbox forbids";
