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

use super::record::{Stored, unit_name};
use super::{Vms, VmsError, control, kernel};
use crate::events::unix_us;
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

    /// Asks the VMM of one VM.
    pub async fn look_at(&self, name: &str) -> Option<VmmStatus> {
        let pid = self
            .init
            .units()
            .ok()
            .and_then(|units| units.get(&unit_name(name))?.status.pid)?;
        self.ask(name, pid).await
    }

    async fn ask(&self, name: &str, pid: u32) -> Option<VmmStatus> {
        match control::status(self.run_directory(name).join(API_SOCKET)).await {
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
