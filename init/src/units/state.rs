//! What a unit does in which state. Pure: no clock, no process.

use std::fmt;
use std::time::Duration;

use axion_api::init::{UnitState, UnitStatus};
use nix::sys::signal::Signal;

use super::cgroup::Shortages;
use super::spec::{Restart, Spec};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A unit that lived this long is taken for healthy: its next pause is the first one again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
    /// Killed by the kernel, as its unit was at its memory limit.
    AtMemoryLimit,
    /// Killed by the kernel, as the node was out of memory.
    NodeOutOfMemory,
}

impl Exit {
    /// Reads a raw wait status (wait(2)).
    pub fn from_raw(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Status(libc::WEXITSTATUS(status))
        }
    }

    /// Tells a SIGKILL for want of memory from any other, by what the unit's cgroup had counted before the process started and
    /// what it has counted now.
    pub fn explained(self, before: Shortages, now: Shortages) -> Self {
        if self != Self::Signal(libc::SIGKILL) || now.kills <= before.kills {
            self
        } else if now.at_limit > before.at_limit {
            Self::AtMemoryLimit
        } else {
            Self::NodeOutOfMemory
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(f, "exited with status {status}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "killed by {signal}"),
                Err(_) => write!(f, "killed by signal {number}"),
            },
            Self::AtMemoryLimit => f.write_str("killed by SIGKILL: it reached its memory limit"),
            Self::NodeOutOfMemory => f.write_str("killed by SIGKILL: the node was out of memory"),
        }
    }
}

/// What happened to a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Someone wants it to run.
    Start,
    /// Someone wants it down.
    Stop,
    /// Someone wants every process of it killed.
    Kill,
    /// Someone wants it down and up again.
    Restart,
    /// Its process runs.
    Spawned(u32),
    /// Its process could not be started.
    SpawnFailed(String),
    /// Its process ended.
    Exited(Exit),
    /// The timer that was armed as this generation fired.
    Timer(u64),
}

/// What the supervisor has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start the process and report [`Event::Spawned`] or [`Event::SpawnFailed`].
    Spawn,
    /// SIGTERM to the process.
    Terminate,
    /// SIGKILL to everything in the cgroup.
    Kill,
    /// Report [`Event::Timer`] with the generation after the time.
    Arm(Duration, u64),
}

/// A unit.
#[derive(Debug)]
pub struct Unit {
    /// What it is.
    pub spec: Spec,
    state: UnitState,
    pid: Option<u32>,
    restarts: u32,
    since_unix_us: u64,
    exit: Option<String>,
    exit_status: Option<i32>,
    last_line: Option<String>,
    /// Time since the kernel's start at which the process was started.
    started: Duration,
    /// Ends in a row without a healthy life between them.
    failures: u32,
    /// Only the timer that was armed last counts.
    generation: u64,
    start_again: bool,
}

impl Unit {
    /// A unit that is down.
    pub fn new(spec: Spec, unix_us: u64) -> Self {
        Self {
            spec,
            state: UnitState::Inactive,
            pid: None,
            restarts: 0,
            since_unix_us: unix_us,
            exit: None,
            exit_status: None,
            last_line: None,
            started: Duration::ZERO,
            failures: 0,
            generation: 0,
            start_again: false,
        }
    }

    /// Whether it has neither a process nor a start to come.
    pub fn is_down(&self) -> bool {
        matches!(self.state, UnitState::Inactive | UnitState::Failed)
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// What D-Bus says of it.
    pub fn status(&self) -> UnitStatus {
        UnitStatus {
            name: self.spec.name.clone(),
            description: self.spec.description.clone(),
            transient: self.spec.transient,
            state: self.state,
            pid: self.pid,
            restarts: self.restarts,
            since_unix_us: self.since_unix_us,
            exit: self.exit.clone(),
            exit_status: self.exit_status,
            last_line: self.last_line.clone(),
        }
    }

    /// Takes note of the last line of the process that has ended; [`Event::Exited`] follows.
    pub fn set_last_line(&mut self, line: Option<String>) {
        self.last_line = line;
    }

    /// Takes an event; `now` is the time since the kernel's start, `unix_us` the time of day.
    pub fn handle(&mut self, event: Event, now: Duration, unix_us: u64) -> Vec<Action> {
        let before = self.state;
        let actions = match (event, self.state) {
            (Event::Start, UnitState::Inactive | UnitState::Failed | UnitState::BackOff) => self.spawn(),
            (Event::Start, UnitState::Stopping) => {
                self.start_again = true;
                Vec::new()
            }
            (Event::Stop, UnitState::Running) => self.stop(),
            (Event::Stop, UnitState::Stopping) => {
                self.start_again = false;
                Vec::new()
            }
            (Event::Stop | Event::Kill, UnitState::BackOff) => {
                self.state = UnitState::Inactive;
                self.generation += 1;
                Vec::new()
            }
            // A service of the node comes back by its restart rule, as after any crash; a transient unit was wanted down.
            (Event::Kill, UnitState::Running) => {
                if self.spec.transient {
                    self.state = UnitState::Stopping;
                }
                vec![Action::Kill]
            }
            (Event::Kill, UnitState::Stopping) => vec![Action::Kill],
            (Event::Restart, UnitState::Running) => {
                self.start_again = true;
                self.stop()
            }
            (Event::Restart, UnitState::Stopping) => {
                self.start_again = true;
                Vec::new()
            }
            (Event::Restart, _) => self.spawn(),
            (Event::Spawned(pid), _) => {
                self.state = UnitState::Running;
                self.pid = Some(pid);
                self.started = now;
                Vec::new()
            }
            (Event::SpawnFailed(why), _) => {
                self.exit = Some(why);
                self.exit_status = None;
                self.last_line = None;
                self.ended(false, now)
            }
            (Event::Exited(exit), _) => {
                self.exit = Some(exit.to_string());
                self.exit_status = match exit {
                    Exit::Status(status) => Some(status),
                    Exit::Signal(_) | Exit::AtMemoryLimit | Exit::NodeOutOfMemory => None,
                };
                self.pid = None;
                // What the process left behind in its cgroup goes with it.
                let mut actions = vec![Action::Kill];
                actions.extend(self.ended(exit == Exit::Status(0), now));
                actions
            }
            (Event::Timer(generation), _) if generation != self.generation => Vec::new(),
            (Event::Timer(_), UnitState::BackOff) => {
                self.restarts += 1;
                self.spawn()
            }
            (Event::Timer(_), UnitState::Stopping) => vec![Action::Kill],
            (Event::Start | Event::Stop | Event::Kill | Event::Timer(_), _) => Vec::new(),
        };
        if self.state != before {
            self.since_unix_us = unix_us;
        }
        actions
    }

    fn spawn(&mut self) -> Vec<Action> {
        self.generation += 1;
        self.start_again = false;
        vec![Action::Spawn]
    }

    fn stop(&mut self) -> Vec<Action> {
        self.state = UnitState::Stopping;
        self.generation += 1;
        vec![
            Action::Terminate,
            Action::Arm(self.spec.stop_timeout, self.generation),
        ]
    }

    fn ended(&mut self, clean: bool, now: Duration) -> Vec<Action> {
        self.generation += 1;
        if self.state == UnitState::Stopping {
            self.state = UnitState::Inactive;
            return if self.start_again {
                self.spawn()
            } else {
                Vec::new()
            };
        }
        let again = match self.spec.restart {
            Restart::Always => true,
            Restart::OnError(max) => !clean && self.restarts < max,
        };
        if !again {
            self.state = if clean {
                UnitState::Inactive
            } else {
                UnitState::Failed
            };
            return Vec::new();
        }
        if now.saturating_sub(self.started) >= HEALTHY_AFTER {
            self.failures = 0;
        }
        let pause = pause(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.state = UnitState::BackOff;
        vec![Action::Arm(pause, self.generation)]
    }
}

/// The pause before a start after so many failures in a row: doubles from 0.2 s up to 30 s.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE
        .saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX))
        .min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
