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

use axion_api::init::UnitState;

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

/// How a run has ended whose VMM had nothing to complain about.
pub const POWERED_OFF: &str = "guest powered off";

/// How a unit that has ended did so.
fn end(unit: &Unit, goal: Goal) -> End {
    let status = &unit.status;
    let clean = status.exit_status == Some(0);
    let why = match (&status.exit, goal) {
        (_, Goal::Cut) => "power cut".to_owned(),
        _ if clean => POWERED_OFF.to_owned(),
        (Some(exit), _) => exit.clone(),
        (None, _) => "ended for an unknown reason".to_owned(),
    };
    End {
        why,
        failed: !clean && goal == Goal::Run,
        unix_us: status.since_unix_us,
    }
}
