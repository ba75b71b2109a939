//! What VMMs say of themselves: whether the guest has begun, runs or stands still.
//!
//! A VMM cannot call the agent, so it is asked: several times a second until its guest has begun, every few seconds then
//! ([`run`]), and whenever the agent itself has changed something. That init has started a process says nothing of its guest: a
//! config, a kernel or memory that cannot be had ends it before. A guest that stands still because the node is full is noticed
//! that way, too. What was heard belongs to one process of a VM and is forgotten with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axion_api::init::UnitState;
use axion_api::vmm::{API_SOCKET, VmmStatus};
use futures_util::future::join_all;
use tokio::sync::watch;

use super::control::{self, ControlError, Socket};
use super::record::{Stored, unit_name};
use super::{Vms, VmsError, kernel};
use crate::events::unix_us;
use crate::init::InitError;
use crate::log::chain;

/// Between two looks at all machines.
const INTERVAL: Duration = Duration::from_secs(5);
/// Between two looks at those whose guests have not begun.
const STARTS: Duration = Duration::from_millis(200);

/// What a VMM said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// Process of the VMM.
    pub pid: u32,
    /// Its answer.
    pub status: VmmStatus,
    /// When its state was first seen, microseconds since 1970.
    pub since_unix_us: u64,
}

impl Machine {
    /// Its guest has run, if only until a reset.
    pub fn has_run(&self) -> bool {
        has_run(&self.status)
    }
}

fn has_run(status: &VmmStatus) -> bool {
    status.start_us.is_some()
}

/// What every VMM said last.
pub struct Machines {
    seen: Mutex<BTreeMap<String, Machine>>,
    changed: watch::Sender<()>,
    /// There was a look at all of them.
    looked: watch::Sender<bool>,
}

impl Default for Machines {
    fn default() -> Self {
        Self {
            seen: Mutex::default(),
            changed: watch::Sender::new(()),
            looked: watch::Sender::new(false),
        }
    }
}

impl Machines {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<String, Machine>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the process `pid` of a VM said last.
    pub fn get(&self, name: &str, pid: u32) -> Option<Machine> {
        self.seen()
            .get(name)
            .filter(|machine| machine.pid == pid)
            .cloned()
    }

    /// Wakes when the state of a machine is another one.
    pub fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    fn note(&self, name: &str, pid: u32, status: VmmStatus) {
        let state = |status: &VmmStatus| (status.state, status.pause_reason.clone());
        let memory = |status: &VmmStatus| status.memory.map(|memory| memory.present);
        let mut seen = self.seen();
        let before = seen.get(name).filter(|before| before.pid == pid);
        // An answer from before the guest began that comes after a later one.
        if before.is_some_and(Machine::has_run) && !has_run(&status) {
            return;
        }
        let same = before.filter(|before| state(&before.status) == state(&status));
        let since_unix_us = same.map_or_else(unix_us, |before| before.since_unix_us);
        let news = match before {
            Some(before) => same.is_none() || memory(&before.status) != memory(&status),
            None => has_run(&status),
        };
        seen.insert(
            name.to_owned(),
            Machine {
                pid,
                status,
                since_unix_us,
            },
        );
        drop(seen);
        if news {
            self.changed.send_replace(());
        }
    }

    fn forget_others(&self, names: &[(String, u32)]) {
        self.seen().retain(|name, machine| {
            names
                .iter()
                .any(|(there, pid)| there == name && *pid == machine.pid)
        });
    }
}

impl Vms {
    /// VMs whose VMM runs, and its process.
    async fn running(&self) -> Result<Vec<(String, u32)>, VmsError> {
        let units = self.init.units()?;
        let process = |stored: &Stored| {
            let unit = units.get(&unit_name(&stored.name))?;
            let pid = unit
                .status
                .pid
                .filter(|_| unit.status.state == UnitState::Running)?;
            Some((stored.name.clone(), pid))
        };
        Ok(self.records().await?.iter().filter_map(process).collect())
    }

    /// Asks every VMM that runs, or those whose guests have not begun; whether there is one.
    async fn look(&self, all: bool) -> Result<bool, VmsError> {
        let running = self.running().await?;
        self.machines.forget_others(&running);
        let begun = |name: &str, pid: u32| {
            let machine = self.machines.get(name, pid);
            machine.is_some_and(|machine| machine.has_run())
        };
        let asked = running.iter().filter(|(name, pid)| all || !begun(name, *pid));
        let answers = join_all(asked.map(|(name, pid)| self.ask(name, *pid))).await;
        self.machines.looked.send_replace(true);
        Ok(!answers.is_empty())
    }

    /// Waits until every VMM that runs was asked once: before that, a guest that has run for long looks like one that starts.
    pub async fn looked(&self) {
        let mut looked = self.machines.looked.subscribe();
        // The sender lives as long as this does.
        let _ = looked.wait_for(|looked| *looked).await;
    }

    /// Asks the VMM of one VM; one that has just been started is waited for.
    pub async fn look_at(&self, name: &str) -> Option<VmmStatus> {
        let pid = self.init.units().ok()?.get(&unit_name(name))?.status.pid?;
        let status = self.reach(name, control::status(self.socket(name, API_SOCKET)));
        self.hear(name, pid, status.await).await
    }

    /// Asks the VMM of one VM as it is: one whose sockets are to come is asked again soon.
    async fn ask(&self, name: &str, pid: u32) -> Option<VmmStatus> {
        let socket = Socket {
            comes: false,
            ..self.socket(name, API_SOCKET)
        };
        self.hear(name, pid, control::status(socket).await).await
    }

    /// A socket of the VMM of one VM. Who has said something has opened its sockets: where there is none any more it is about to
    /// end, which takes the longer the more memory it has, and nothing is to be waited for.
    pub(super) fn socket(&self, name: &str, file: &str) -> Socket {
        let silent = || {
            let units = self.init.units().ok()?;
            let unit = &units.get(&unit_name(name))?.status;
            let pid = unit.pid.filter(|_| unit.state == UnitState::Running)?;
            Some(self.machines.get(name, pid).is_none())
        };
        Socket {
            path: self.run_directory(name).join(file),
            comes: silent().unwrap_or_default(),
        }
    }

    /// Waits for a VMM's answer for as long as it runs.
    pub(super) async fn reach<T>(
        &self,
        name: &str,
        call: impl Future<Output = Result<T, ControlError>>,
    ) -> Result<T, ControlError> {
        tokio::select! {
            answer = call => answer,
            // Without init nobody knows, and the call has its own limit.
            Ok(()) = self.wait_until_ended(name) => Err(ControlError::Ended),
        }
    }

    /// Waits until nothing of a VM runs.
    pub(super) async fn wait_until_ended(&self, name: &str) -> Result<(), InitError> {
        let mut units = self.init.watch();
        loop {
            units.borrow_and_update();
            let listed = self.init.units()?;
            let unit = listed.get(&unit_name(name));
            if unit.is_none_or(|unit| matches!(unit.status.state, UnitState::Inactive | UnitState::Failed)) {
                return Ok(());
            }
            if units.changed().await.is_err() {
                return Ok(());
            }
        }
    }

    async fn hear(&self, name: &str, pid: u32, said: Result<VmmStatus, ControlError>) -> Option<VmmStatus> {
        match said {
            Ok(mut status) => {
                if let Some(in_force) = &mut status.in_force {
                    kernel::add(in_force, name, pid);
                }
                self.machines.note(name, pid, status.clone());
                if let Some(memory) = status.memory {
                    self.follow_memory(name, memory).await;
                }
                Some(status)
            }
            Err(error) => {
                // It ended in between, or it hangs.
                tracing::debug!("VM {name}: {}", chain(&error));
                None
            }
        }
    }
}

/// Watches for ever. Those that start have a loop of their own: one that does not answer holds up nobody else's start.
pub async fn run(vms: Arc<Vms>) {
    tokio::join!(follow(&vms, true, INTERVAL), follow(&vms, false, STARTS));
}

async fn follow(vms: &Vms, all: bool, interval: Duration) {
    let mut units = vms.init.watch();
    loop {
        units.borrow_and_update();
        let pause = match vms.look(all).await {
            Ok(true) => Some(interval),
            // Nothing is there to be asked until a unit changes.
            Ok(false) => None,
            Err(_) => Some(INTERVAL),
        };
        tokio::select! {
            _ = units.changed() => {}
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => {}
        }
    }
}
