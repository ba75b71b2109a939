//! The slot of an installed node: an update that has started well is confirmed, one that has not gives way.
//!
//! ```text
//! on trial ─ ready, the agent answers, the profile is as planned ─> confirmed: the loader counts no more
//!          └ otherwise, or not within the deadline: why is written beside the slot ─> reboot; the loader counts, and after
//!            three starts takes the last confirmed slot
//! ```
//! A confirmed slot is never voted upon: a node that works badly stays up and says so.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_api::init::Phase;
use axion_core::cmdline::CommandLine;
use axion_core::topology::Topology;
use axion_install::esp::Esp;
use axion_install::fat::Volume;
use axion_install::plan::NAMES;
use axion_install::slot::{ARGUMENT, Slot, State};
use axion_install::storage::{Disk, Part};
use axion_install::table::{self, Partition};

use crate::failure::chain;
use crate::node::Node;
use crate::power::Verb;
use crate::sync::lock;

/// An update that is not ready by then has failed.
const DEADLINE: Duration = Duration::from_secs(600);
const STEP: Duration = Duration::from_secs(1);
/// Tasks whose failure speaks against an update.
const VOTERS: [&str; 2] = ["agent", "attestation"];

/// Why something about the installed disk came to nothing.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;

/// The slot that the kernel command line says was started; `None`: the node was not started from an installed disk.
pub fn running(cmdline: &CommandLine) -> Option<Slot> {
    cmdline.get(ARGUMENT).and_then(Slot::parse)
}

/// Decides about the running slot. Comes back at once where nothing is on trial.
pub async fn watch(node: Arc<Node>) {
    let Some(slot) = running(&node.cmdline) else {
        return;
    };
    let state = match on_thread(|esp| Ok(esp.state()?)).await {
        Ok(state) => state,
        Err(e) => {
            node.log
                .error(&format!("slot {slot}: cannot read its entry: {}", chain(&*e)));
            return;
        }
    };
    tell(&node, slot, &state);
    if !on_trial(&state, slot) {
        return;
    }
    let verdict = tokio::time::timeout(DEADLINE, ready(&node)).await;
    let verdict =
        verdict.unwrap_or_else(|_| Err(format!("it was not ready within {} s", DEADLINE.as_secs())));
    match verdict {
        Ok(()) => match on_thread(move |esp| Ok(esp.confirm(slot)?)).await {
            Ok(_) => node.log.info(&format!("slot {slot} is confirmed")),
            // It stays on trial, and is voted upon again after the next start.
            Err(e) => node
                .log
                .error(&format!("slot {slot}: cannot be confirmed: {}", chain(&*e))),
        },
        Err(why) => {
            node.log
                .error(&format!("slot {slot} is not confirmed: {why}; rebooting"));
            let kept = on_thread(move |esp| Ok(esp.set_verdict(slot, &why)?)).await;
            if let Err(e) = kept {
                node.log
                    .error(&format!("slot {slot}: cannot keep why: {}", chain(&*e)));
            }
            let _ = node.power.send(Verb::Reboot);
        }
    }
}

/// Says which slot runs, and what became of the other one.
fn tell(node: &Node, slot: Slot, state: &State) {
    if let Some(named) = state.of(slot) {
        let standing = if on_trial(state, slot) {
            "on trial"
        } else {
            "confirmed"
        };
        node.log.info(&format!(
            "slot {slot} runs, Axion {}, {standing}",
            named.entry.version
        ));
    }
    let Some(other) = state.of(slot.other()).filter(|named| named.name.failed()) else {
        return;
    };
    let (log, slot, version) = (node.log.clone(), slot.other(), other.entry.version.clone());
    tokio::spawn(async move {
        let why = on_thread(move |esp| Ok(esp.verdict(slot)?)).await.ok().flatten();
        let why = why
            .unwrap_or_else(|| "it never got as far as saying why: it hung or the kernel ended".to_owned());
        log.warning(&format!("slot {slot}, Axion {version}, was given up: {why}"));
    });
}

fn on_trial(state: &State, slot: Slot) -> bool {
    state.of(slot).is_some_and(|named| named.name.tries.is_some())
}

/// Waits for the boot's end; what speaks against it, if so.
async fn ready(node: &Node) -> Result<(), String> {
    loop {
        let phases = {
            let boot = lock(&node.boot);
            boot.ready_us.map(|_| boot.phases.clone())
        };
        match phases {
            Some(phases) => return verdict(&phases),
            None => tokio::time::sleep(STEP).await,
        }
    }
}

fn verdict(phases: &[Phase]) -> Result<(), String> {
    let tasks = phases.iter().flat_map(|phase| &phase.tasks);
    let failed = tasks.filter(|task| VOTERS.contains(&task.name.as_str()));
    let failed = failed.filter_map(|task| Some(format!("{}: {}", task.name, task.error.as_deref()?)));
    let failed: Vec<String> = failed.collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(failed.join("; "))
    }
}

/// Does something to the ESP of the installed disk, on a thread.
pub async fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&Esp<Part<&Disk>>) -> Result<T, Failed> + Send + 'static,
) -> Result<T, Failed> {
    let on_disk = move || -> Result<T, Failed> {
        let (disk, esp) = find()?;
        let volume = Volume::open(Part::new(&disk, esp.start, esp.length))?;
        work(&Esp::new(volume))
    };
    tokio::task::spawn_blocking(on_disk).await?
}

/// The installed disk and its ESP.
pub fn find() -> Result<(Disk, Partition), Failed> {
    let mut found = Vec::new();
    for disk in Topology::read(Path::new("/")).disks {
        let path = Path::new("/dev").join(&disk.name);
        let Ok(file) = OpenOptions::new().read(true).write(true).open(&path) else {
            continue;
        };
        let Ok(storage) = Disk::new(file, disk.logical_sector.into()) else {
            continue;
        };
        let [_, esp, _] = NAMES;
        let partitions = table::read(&storage).unwrap_or_default();
        let installed = NAMES
            .iter()
            .all(|name| partitions.iter().any(|p| p.name == *name));
        if installed && let Some(esp) = partitions.into_iter().find(|p| p.name == esp) {
            found.push((storage, esp));
        }
    }
    let count = found.len();
    match found.pop() {
        Some(one) if count == 1 => Ok(one),
        None => Err("no disk holds an installation".into()),
        Some(_) => Err(format!("{count} disks hold an installation, and one must").into()),
    }
}

#[cfg(test)]
mod tests;
