//! Commands that PID 1 runs itself and waits for.
//!
//! A child that has ended can be taken off the process table once, and PID 1 takes every one in one place
//! ([`super::supervisor`]), so whoever runs a command learns of its end here. Starting one and reaping exclude each other:
//! the end of a command that was over at once is not missed, nor is a process id that meanwhile is another's ever waited for.

use std::collections::HashMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

use crate::sync::lock;
use crate::sys;

/// Commands that were started and not yet waited for.
#[derive(Debug, Default)]
pub struct Commands {
    /// By process id: how it ended, once it has.
    started: Mutex<HashMap<u32, Option<ExitStatus>>>,
    ended: Condvar,
}

impl Commands {
    /// Starts a command.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        let mut started = lock(&self.started);
        let child = command.spawn()?;
        started.insert(child.id(), None);
        Ok(child)
    }

    /// Waits for the end of a command, for as long as `deadline` is not over; `None`: it still runs. Blocks.
    ///
    /// # Errors
    /// It is no command that was started here, or its end was told before.
    pub fn wait(&self, pid: u32, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let mut started = lock(&self.started);
        loop {
            match started.get(&pid) {
                None => return Err(nix::errno::Errno::ECHILD.into()),
                Some(Some(status)) => {
                    let status = *status;
                    started.remove(&pid);
                    return Ok(Some(status));
                }
                Some(None) => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            started = match self.ended.wait_timeout(started, left) {
                Ok((guard, _)) => guard,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    /// Kills a command that nobody waits for any more.
    pub fn kill(&self, pid: u32) {
        // While it is not told of, its process id is its own.
        if lock(&self.started).remove(&pid) == Some(None)
            && let Ok(pid) = i32::try_from(pid)
        {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }

    /// Takes one ended child off the process table; one that is no command is the caller's. The outer `None`: no child
    /// has ended.
    pub fn reap(&self) -> Option<Option<(u32, i32)>> {
        let mut started = lock(&self.started);
        let (pid, status) = sys::reap()?;
        match started.get_mut(&pid) {
            None => Some(Some((pid, status))),
            Some(end) => {
                *end = Some(ExitStatus::from_raw(status));
                self.ended.notify_all();
                Some(None)
            }
        }
    }
}

#[cfg(test)]
mod tests;
