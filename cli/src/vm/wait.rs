//! Waiting for a VM to be what was asked for.

use std::time::Duration;

use axion_api::client::Client;
use axion_api::vm::{DesiredState, Vm, VmState};
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::output::Output;

/// How often the VM is looked at.
const POLL: Duration = Duration::from_millis(250);

/// What a VM is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The guest runs.
    Running,
    /// It is off.
    Stopped,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// On its way.
    Pending,
    /// There.
    Done,
    /// It will not get there by itself.
    Missed,
}

/// Whether `now` is what is waited for; `before` is the VM as it was before it was asked, whose failure does not count.
pub fn progress(goal: Goal, before: &Vm, now: &Vm) -> Progress {
    let unchanged = before.status == now.status;
    match (goal, now.status.state, now.desired) {
        (Goal::Running, VmState::Running, _) | (Goal::Stopped, VmState::Stopped, _) => Progress::Done,
        (Goal::Running, VmState::Failed, _) if unchanged => Progress::Pending,
        // A guest that stands still waits for someone.
        (Goal::Running, VmState::Failed | VmState::Paused, _) => Progress::Missed,
        // It ran and ended before it was looked at.
        (Goal::Running, VmState::Stopped, DesiredState::Stopped) => Progress::Missed,
        // One that failed before it was asked, or now: off, if not in the way that was asked for. One that is to be started again
        // is not.
        (Goal::Stopped, VmState::Failed, DesiredState::Stopped) if now.status.pid.is_none() => Progress::Done,
        (Goal::Running, VmState::Starting | VmState::Stopping | VmState::Stopped, _)
        | (Goal::Stopped, _, _) => Progress::Pending,
    }
}

/// Waits until the VM is at its goal.
///
/// # Errors
/// It will not get there, or not within `limit`.
pub async fn until(
    client: &Client,
    goal: Goal,
    before: &Vm,
    mut now: Vm,
    limit: Duration,
    output: &Output,
) -> Result<Vm, Error> {
    let deadline = Instant::now() + limit;
    let spinner = output.wait(format!("{} is {}", now.name, now.status.state));
    let result = loop {
        match progress(goal, before, &now) {
            Progress::Done => break Ok(now),
            Progress::Missed => {
                break Err(Error::Vm {
                    name: now.name,
                    state: now.status.state.to_string(),
                    reason: now
                        .status
                        .exit
                        .or(now.status.pause.map(|pause| pause.to_string())),
                });
            }
            Progress::Pending if Instant::now() >= deadline => {
                break Err(Error::Waited {
                    name: now.name,
                    state: now.status.state.to_string(),
                    seconds: limit.as_secs(),
                });
            }
            Progress::Pending => {}
        }
        sleep(POLL).await;
        now = match client.vm(&now.name).await {
            Ok(vm) => vm,
            Err(error) => break Err(error.into()),
        };
        spinner.set_message(format!("{} is {}", now.name, now.status.state));
    };
    spinner.finish_and_clear();
    result
}

/// Waits if that was asked for, and prints the VM.
pub async fn finish(
    client: &Client,
    goal: Goal,
    before: &Vm,
    now: Vm,
    limit: Option<Duration>,
    output: &Output,
) -> Result<(), Error> {
    let vm = match limit {
        Some(limit) => until(client, goal, before, now, limit, output).await?,
        None => now,
    };
    output.show(&vm, |_| format!("{} is {}.\n", vm.name, vm.status.state))
}

/// Waits until the guest has the memory that it is to have, or no guest is there that could.
///
/// # Errors
/// It does not have it within `limit`.
pub async fn for_memory(client: &Client, mut now: Vm, limit: Duration, output: &Output) -> Result<Vm, Error> {
    let deadline = Instant::now() + limit;
    let spinner = output.wait(format!("{} changes its memory", now.name));
    let result = loop {
        let there = now.status.memory.as_ref().is_none_or(|memory| {
            memory.present == Some(memory.wanted) || (memory.present.is_none() && now.status.pid.is_none())
        });
        if there {
            break Ok(now);
        }
        if Instant::now() >= deadline {
            break Err(Error::Waited {
                name: now.name,
                state: now.status.state.to_string(),
                seconds: limit.as_secs(),
            });
        }
        sleep(POLL).await;
        now = match client.vm(&now.name).await {
            Ok(vm) => vm,
            Err(error) => break Err(error.into()),
        };
    };
    spinner.finish_and_clear();
    result
}
