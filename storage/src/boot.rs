//! What happens to pools when the node starts and ends.
//!
//! ```text
//! wait for the disks of declared pools (deadline) ─> labels ─> import what may be ─> factory resets that were ordered
//!     ─> make what is declared and nowhere
//!     ─> state datasets, mounted ─> everything else mounted, zvols linked
//! ```
//! Nothing here stops a boot. A pool that is degraded is imported and said so; one that cannot be imported, or cannot be made,
//! is a problem that is reported, and the node goes on without it.

use std::path::Path;
use std::time::{Duration, Instant};

use axion_api::storage::{Health, KeyState, Pool};
use axion_core::config::{self, StatePool};
use axion_core::paths;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::error::{StorageError, chain};
use crate::import::{self, Verdict};
use crate::keys::Keyring;
use crate::plan;
use crate::storage::Storage;
use crate::wait::until;
use crate::{names, zvol};

/// Time between two looks for disks.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The longest that devices of zvols are waited for.
const ZVOLS: Duration = Duration::from_secs(10);

/// What came of the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Started {
    /// What was done, for the log.
    pub done: Vec<String>,
    /// What is not as it should be.
    pub problems: Vec<String>,
    /// The pool that keeps the node's state, which is mounted.
    pub state: Option<String>,
    /// The state that is locked: its pool, why, and whether nothing was made yet.
    pub locked: Option<(String, String, bool)>,
}

/// The node's own datasets: name, where it is mounted, largest block in bytes. In the order in which they are mounted.
const OWN: [(&str, &str, u32); 3] = [
    // A database of small pages, and logs.
    ("state", paths::STATE, 16 << 10),
    ("images", paths::IMAGES, 1 << 20),
    ("volumes", paths::VOLUMES, 64 << 10),
];

/// Which of the imported pools keeps the state; `has_state`: whether it does already.
///
/// State that is old, or new, is worse than none: what was revoked would be valid again, and a new one would be found from then on. So
/// as long as a declared pool is missing, whose state it may be, only another declared one that has it counts.
///
/// # Errors
/// The pool that keeps it, or may keep it, is missing, or cannot be looked at: why there is none, for people.
pub fn choose_state(
    wanted: &config::Storage,
    imported: &[String],
    has_state: impl Fn(&str) -> Result<bool, String>,
) -> Result<Option<String>, String> {
    let with_state = |pools: &[&String]| -> Result<Option<String>, String> {
        for name in pools {
            let has = has_state(name);
            if has.map_err(|why| format!("nobody knows whether pool `{name}` has the node's state: {why}"))? {
                return Ok(Some((*name).clone()));
            }
        }
        Ok(None)
    };
    match &wanted.state {
        StatePool::None => Ok(None),
        StatePool::Pool(name) if imported.contains(name) => Ok(Some(name.clone())),
        StatePool::Pool(name) => Err(format!(
            "pool `{name}`, which keeps the node's state, is not imported"
        )),
        StatePool::Auto => {
            let declared = || wanted.pools.iter().map(|rule| &rule.name);
            let (there, missing): (Vec<_>, Vec<_>) = declared().partition(|name| imported.contains(name));
            if let Some(name) = with_state(&there)? {
                return Ok(Some(name));
            }
            if let Some(missing) = missing.first() {
                return Err(format!(
                    "pool `{missing}`, which may keep the node's state, is not imported; if it does not, name the pool that does in \
                     `storage.state`"
                ));
            }
            let first = declared().next().cloned();
            let all: Vec<&String> = imported.iter().collect();
            Ok(with_state(&all)?.or(first))
        }
    }
}

/// What is wrong with an imported pool, for people.
pub fn complaint(pool: &Pool) -> Option<String> {
    let mut faults = Vec::new();
    let mut rest: Vec<_> = pool.vdevs.iter().collect();
    while let Some(vdev) = rest.pop() {
        rest.extend(&vdev.children);
        let fine = matches!(vdev.state, Health::Online | Health::Available);
        if vdev.children.is_empty() && !fine {
            let detail = vdev
                .detail
                .as_deref()
                .map(|detail| format!(" ({detail})"))
                .unwrap_or_default();
            faults.push(format!("{} is {}{detail}", vdev.name, vdev.state));
        }
    }
    let fine = pool.state == Health::Online && faults.is_empty() && pool.data_errors == 0;
    if fine {
        return None;
    }
    faults.sort();
    if pool.data_errors > 0 {
        faults.push(format!(
            "{} files or blocks are damaged for good",
            pool.data_errors
        ));
    }
    Some(format!(
        "pool `{}` is {}: {}",
        pool.name,
        pool.state,
        faults.join(", ")
    ))
}

pub(crate) fn in_time(deadline: Instant) -> Result<(), StorageError> {
    if Instant::now() < deadline {
        return Ok(());
    }
    let late = "no time is left for pools; a disk answers slowly".to_owned();
    Err(StorageError::Conflict(late))
}

/// Does something to each; where one fails, takes back what was done to those before, the last first. `act` answers whether
/// there is something to take back.
fn all_or_none<T, E>(
    each: &[T],
    act: impl Fn(&T) -> Result<bool, E>,
    take_back: impl Fn(&T),
) -> Result<(), E> {
    let mut done: Vec<&T> = Vec::new();
    for one in each {
        match act(one) {
            Ok(true) => done.push(one),
            Ok(false) => {}
            Err(error) => {
                done.into_iter().rev().for_each(take_back);
                return Err(error);
            }
        }
    }
    Ok(())
}

impl Storage {
    /// Imports and makes pools, and mounts what is in them. Nothing is begun after `deadline`: the node has gone on by then, and
    /// nothing may be mounted below what runs on it.
    ///
    /// # Errors
    /// The node has no ZFS, it does not answer, or no time is left; nothing is mounted then.
    pub fn start(
        &self,
        wanted: &config::Storage,
        keyring: &dyn Keyring,
        deadline: Instant,
    ) -> Result<Started, StorageError> {
        self.present()?;
        self.settle(wanted);
        let mut started = Started::default();
        let found = self.found_pools()?;
        for verdict in import::decide(&found, wanted, self.hostid) {
            in_time(deadline)?;
            match verdict {
                Verdict::Import { pool, force } => {
                    let name = &pool.label.pool;
                    match self.import(&pool, force) {
                        Ok(()) => started.done.push(format!("pool `{name}` is imported")),
                        Err(error) => started.problems.push(format!("pool `{name}`: {}", chain(&error))),
                    }
                }
                Verdict::Leave { reason, wanted, .. } if wanted => started.problems.push(reason),
                Verdict::Leave { reason, .. } => started.done.push(format!("not imported: {reason}")),
            }
        }
        let carried = self.carry_out_resets(deadline);
        started.done.extend(carried.done);
        started.problems.extend(carried.problems);
        self.set_pending(carried.pending);
        let imported = self.names()?;
        for (index, rule) in wanted.pools.iter().enumerate() {
            let is_somewhere =
                imported.contains(&rule.name) || found.iter().any(|f| f.label.pool == rule.name);
            in_time(deadline)?;
            if !is_somewhere {
                match self.declare(index, rule) {
                    Ok(()) => started.done.push(format!("pool `{}` was made", rule.name)),
                    Err(error) => started
                        .problems
                        .push(format!("pool `{}`: {}", rule.name, chain(&error))),
                }
            }
        }
        started
            .problems
            .extend(self.pools()?.iter().filter_map(complaint));
        self.start_state(wanted, keyring, deadline, &mut started);
        // From here on the state may be mounted: whoever was told of an error alone would put something else over it.
        let others = self.start_others(keyring, deadline, !imported.is_empty());
        started.problems.extend(others);
        Ok(started)
    }

    /// Unlocks and mounts what is not the node's own; what is not as it should be.
    fn start_others(&self, keyring: &dyn Keyring, deadline: Instant, some: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if some {
            match self.unlock_known(keyring, deadline) {
                Ok(locked) => problems.extend(locked),
                Err(error) => {
                    problems.push(format!("no dataset but the state is unlocked: {}", chain(&error)))
                }
            }
        }
        self.await_zvols(deadline);
        if let Err(error) = in_time(deadline).and_then(|()| self.mount_all()) {
            problems.push(chain(&error));
        }
        problems
    }

    /// Waits until the kernel shows a device for each zvol of a volume that can be read: it makes them behind an import, and VMs are
    /// started right after.
    fn await_zvols(&self, deadline: Instant) {
        let mut wanted = self.volumes().unwrap_or_default();
        wanted.retain(|volume| volume.key != Some(KeyState::Unavailable));
        if wanted.is_empty() {
            return;
        }
        until(deadline.min(Instant::now() + ZVOLS), LOOK_AGAIN, || {
            let nodes = zvol::nodes(&self.root.dev(), &self.root.sys());
            let all = wanted.iter().all(|volume| nodes.contains_key(&volume.name));
            all.then_some(())
        });
    }

    /// Names of imported pools.
    fn names(&self) -> Result<Vec<String>, StorageError> {
        Ok(self.pools()?.into_iter().map(|pool| pool.name).collect())
    }

    /// Waits until each disk of each declared pool is there, and each pool of an order that was given, or the deadline has passed.
    fn settle(&self, wanted: &config::Storage) {
        until(Instant::now() + wanted.settle.0, LOOK_AGAIN, || {
            let disks = self.disks();
            let mut choices = wanted.pools.iter().flat_map(|rule| &rule.disks);
            let all = choices.all(|choice| self.is_there(choice, &disks));
            (all && self.ordered_are_there()).then_some(())
        });
    }

    /// Makes a declared pool.
    fn declare(&self, index: usize, rule: &config::PoolRule) -> Result<(), StorageError> {
        self.not_ordered(&rule.name, None)?;
        let key = format!("storage.pools[{index}].");
        let plan = plan::plan(&rule.name, &plan::spec_of(rule), &self.candidates(), &key)?;
        self.make(&plan)
    }

    /// Which pool keeps the node's state.
    pub(crate) fn state_place(&self, wanted: &config::Storage) -> Result<Option<String>, String> {
        let pools = self.pools().map_err(|error| chain(&error))?;
        let imported: Vec<String> = pools.iter().map(|pool| pool.name.clone()).collect();
        let has_state = |pool: &str| {
            let found = self.find(&names::system(pool, "state"));
            found.map(|found| found.is_some()).map_err(|error| chain(&error))
        };
        let chosen = choose_state(wanted, &imported, has_state)?;
        if let Some(pool) = pools.iter().find(|pool| Some(&pool.name) == chosen.as_ref()) {
            let free = self.not_ordered(&pool.name, Some(&pool.guid));
            free.map_err(|error| format!("no state is kept on `{}`: {}", pool.name, chain(&error)))?;
        }
        Ok(chosen)
    }

    /// Makes the node's own datasets on a pool, but for those that are `there`.
    pub(crate) fn make_own(&self, pool: &str, there: &[&str]) -> Result<(), StorageError> {
        for (name, _, block) in OWN {
            let dataset = names::system(pool, name);
            if !there.contains(&dataset.as_str()) {
                let block = format!("recordsize={block}");
                let arguments = ["create", "-o", "mountpoint=legacy", "-o", &block, &dataset];
                self.tools.zfs(arguments).done()?;
            }
        }
        Ok(())
    }

    /// Mounts the node's own datasets of a pool: all, or none.
    pub(crate) fn mount_each(&self, pool: &str, deadline: Instant) -> Result<(), StorageError> {
        all_or_none(
            &OWN,
            |(name, place, _)| {
                in_time(deadline)?;
                self.mount_own(&names::system(pool, name), place)
            },
            // Nobody has anything open there yet.
            |(_, place, _)| {
                let _ = umount2(Path::new(place), MntFlags::empty());
            },
        )
    }

    /// Whether it was not mounted before.
    fn mount_own(&self, dataset: &str, place: &str) -> Result<bool, StorageError> {
        let failed = |source: std::io::Error| StorageError::System {
            action: format!("mount {dataset} at {place}"),
            source,
        };
        let mounts = std::fs::read_to_string(self.root.0.join("proc/self/mounts")).unwrap_or_default();
        if mounts
            .lines()
            .any(|line| line.starts_with(&format!("{dataset} {place} ")))
        {
            return Ok(false);
        }
        std::fs::create_dir_all(place).map_err(failed)?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some(dataset), Path::new(place), Some("zfs"), flags, None::<&str>)
            .map_err(|e| failed(e.into()))?;
        Ok(true)
    }

    /// Unmounts the node's own datasets and gives every pool back; for the end of the node. What went wrong.
    pub fn stop(&self) -> Vec<String> {
        if self.present().is_err() {
            return Vec::new();
        }
        if self.state_pool().is_some() {
            for (_, place, _) in OWN.iter().rev() {
                // What is still in use keeps its pool from being exported, which says so.
                let _ = umount2(Path::new(place), MntFlags::empty());
            }
        }
        self.export_all()
    }

    /// Starts the scrubs that are due, `interval` after the last; `now` is seconds since 1970. The pools that are scrubbed.
    ///
    /// # Errors
    /// ZFS does not answer.
    pub fn scrub_what_is_due(&self, interval: Duration, now: u64) -> Result<Vec<String>, StorageError> {
        let mut begun = Vec::new();
        for pool in self.pools()? {
            let created = self.dataset(&pool.name).map_or(now, |root| root.created_unix_s);
            if crate::tune::scrub_is_due(pool.scan.as_ref(), created, now, interval.as_secs()) {
                self.scrub(&pool.name, axion_api::storage::ScrubAction::Start)?;
                begun.push(pool.name);
            }
        }
        Ok(begun)
    }
}

#[cfg(test)]
mod tests;
