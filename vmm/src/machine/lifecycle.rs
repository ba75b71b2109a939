//! Which request a machine obeys in which state. Pure; `machine` carries out what is decided here.
//!
//! ```text
//! starting --> running <--> paused        reset: back to starting, with the same process and sockets
//!                 |            |
//!                 '--> stopped <'
//! ```
//!
//! Requests are idempotent: to pause a paused machine is done already.

use axion_api::vmm::MachineState;

/// What an operator asks of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Press the ACPI power button.
    PowerButton,
    /// Start anew.
    Reset,
    /// Stop the vCPUs.
    Pause,
    /// Let the vCPUs run.
    Resume,
    /// Cut the power.
    Stop,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The request is fulfilled already.
    Nothing,
    /// Press the button. A paused guest sees it when it goes on.
    PressButton,
    /// Pause.
    Pause,
    /// Resume.
    Resume,
    /// End this life of the machine and begin another.
    Reset,
    /// End the machine.
    End,
}

/// A request that the machine's state does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the machine is {}; {} needs it running or paused", name(*state), verb(*request))]
pub struct Refusal {
    /// State of the machine.
    pub state: MachineState,
    /// What was asked for.
    pub request: Request,
}

fn name(state: MachineState) -> &'static str {
    match state {
        MachineState::Starting => "starting",
        MachineState::Running => "running",
        MachineState::Paused => "paused",
        MachineState::Stopped => "stopped",
    }
}

/// Its name in the API.
pub(super) fn verb(request: Request) -> &'static str {
    match request {
        Request::PowerButton => "power-button",
        Request::Reset => "reset",
        Request::Pause => "pause",
        Request::Resume => "resume",
        Request::Stop => "stop",
    }
}

/// Decides about `request` in `state`.
///
/// # Errors
/// [`Refusal`].
pub fn decide(state: MachineState, request: Request) -> Result<Action, Refusal> {
    use MachineState::{Paused, Running, Starting, Stopped};
    match (state, request) {
        (Stopped, Request::Stop) => Ok(Action::Nothing),
        (Starting | Running | Paused, Request::Stop) => Ok(Action::End),
        (Starting | Stopped, _) => Err(Refusal { state, request }),
        (Running | Paused, Request::PowerButton) => Ok(Action::PressButton),
        (Running | Paused, Request::Reset) => Ok(Action::Reset),
        (Running, Request::Pause) => Ok(Action::Pause),
        (Paused, Request::Resume) => Ok(Action::Resume),
        (Paused, Request::Pause) | (Running, Request::Resume) => Ok(Action::Nothing),
    }
}

#[cfg(test)]
mod tests;
