//! ZFS at the start of the node: the module, pools, the node's state.
//!
//! ```text
//! pools declared, a pool's label on a disk, or a factory reset ordered? ── no ──► nothing: no module, no thread, no time
//!        │ yes
//!        ▼
//! spl (host id) ─ zfs (limit of its cache) ─ import or make ─ state datasets mounted ─ threads fenced ─ watched
//! ```
//! The module is also loaded when the agent first asks for a pool. Whatever goes wrong here is said, degrades the boot, and
//! leaves a node that forgets; a disk that does not answer costs no more than [`PATIENCE`].

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_core::config::Storage as Wanted;
use axion_core::profile::Action;
use axion_core::topology::Topology;
use axion_install::plan::NAMES;
use axion_storage::boot::Started;
use axion_storage::command::{Children, Tools};
use axion_storage::{Storage, SystemDisks, contents, hostid};

use super::run::TaskError;
use super::tasks::{Done, config, given, read_modules, several};
use crate::failure::chain;
use crate::install;
use crate::keys::{self, Ring};
use crate::node::Node;
use crate::profile;
use crate::reset;
use crate::slot;
use crate::sync::lock;
use crate::units::Commands;

const ROOT: &str = "/";
/// The longest that the boot waits for pools, besides `storage.settle`: the deadline of one import.
const PATIENCE: Duration = Duration::from_secs(130);
/// What was begun in that time may take so much longer: a mount that ends behind the boot would come to lie over what runs.
const LAST_MOUNT: Duration = Duration::from_secs(5);
/// The longest that the end of the node waits for pools to be given back.
const GIVING_BACK: Duration = Duration::from_secs(60);
/// ZFS's cache gets one part in so many of the memory where the boot profile is off.
const ARC_SHARE: u64 = 8;

/// Commands of storage are started and waited for as PID 1 does.
#[derive(Debug)]
struct Pid1(Arc<Commands>);

impl Children for Pid1 {
    fn spawn(&self, command: &mut std::process::Command) -> std::io::Result<std::process::Child> {
        self.0.spawn(command)
    }

    fn wait(
        &self,
        child: &mut std::process::Child,
        deadline: Instant,
    ) -> std::io::Result<Option<std::process::ExitStatus>> {
        self.0.wait(child.id(), deadline)
    }

    fn kill(&self, child: &mut std::process::Child) {
        self.0.kill(child.id());
    }
}

/// ZFS by way of the two programs.
fn storage(node: &Node) -> Storage {
    let tools = Tools {
        children: Arc::new(Pid1(node.commands.clone())),
        ..Tools::default()
    };
    let storage = Storage::new(tools, ROOT, host_id(node));
    if slot::running(&node.cmdline).is_none() {
        return storage;
    }
    let [_, _, part, _] = NAMES;
    let disks = || {
        slot::find()
            .map(|installed| installed.names())
            .unwrap_or_default()
    };
    storage.with_system(SystemDisks {
        disks: Box::new(disks),
        part,
    })
}

fn host_id(node: &Node) -> u32 {
    hostid::of(&lock(&node.status).machine_id)
}

/// Imports pools, makes those that are declared and nowhere, and mounts the node's state.
pub async fn start_pools(node: Arc<Node>) -> Done {
    if install::is_asked_for(&node.cmdline) {
        node.log
            .info("no pool is imported: the node was started to be installed on a disk");
        return Ok(());
    }
    let patience = config(&node)?.storage.settle.0 + PATIENCE;
    let ordered = {
        let node = node.clone();
        let looking = tokio::task::spawn_blocking(move || reset::given(&node));
        let looked = tokio::time::timeout(patience, looking).await;
        looked.ok().and_then(Result::ok).flatten()
    };
    let is_ordered = ordered.is_some();
    let storage = Arc::new(storage(&node).with_reset(ordered));
    let work = {
        let (node, storage) = (node.clone(), storage.clone());
        move || {
            let started = start(&node, &storage, is_ordered, Instant::now() + patience);
            started.and_then(|started| several(started.problems))
        }
    };
    let done = match tokio::time::timeout(patience + LAST_MOUNT, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done?,
        Err(_) => Err(format!(
            "the pools are not ready after {} s: a disk does not answer; going on without them",
            patience.as_secs()
        )
        .into()),
    };
    if storage.present().is_ok() {
        crate::storage::offer(&node, storage);
    }
    done
}

/// `is_ordered`: a factory reset is, whose pools may be on disks that the kernel does not show yet.
fn start(node: &Node, storage: &Storage, is_ordered: bool, deadline: Instant) -> Result<Started, TaskError> {
    let wanted = &config(node)?.storage;
    if !has_use(wanted, is_ordered, is_any_pool_on_disks) {
        node.log
            .info("no pool is declared, and none is on a disk: what the node keeps is gone when it restarts");
        return Ok(Started::default());
    }
    load(node)?;
    let ring = Ring::new(node);
    let started = storage.start(wanted, &ring, deadline)?;
    for line in &started.done {
        node.log.info(line);
    }
    fence_threads(node);
    match &started.state {
        Some(pool) => {
            node.log
                .info(&format!("the node's state is on the pool `{pool}`"));
            keys::show_recovery(node, ring.recovery(pool));
        }
        None => match &started.locked {
            Some((pool, reason, is_new)) => keys::lock_state(node, pool, reason, *is_new),
            None => node
                .log
                .warning("no pool keeps the node's state: it is gone when the node restarts"),
        },
    }
    Ok(started)
}

/// Whether the node has a use for ZFS.
fn has_use(wanted: &Wanted, is_ordered: bool, is_any_on_disks: impl FnOnce() -> bool) -> bool {
    !wanted.pools.is_empty() || is_ordered || is_any_on_disks()
}

/// Whether any disk says that it is of a pool.
fn is_any_pool_on_disks() -> bool {
    let root = Path::new(ROOT);
    let disks = Topology::read(root).disks;
    disks.iter().any(|disk| {
        let contents = contents::look(root, disk);
        contents.labels.iter().any(|(_, label)| !label.is_destroyed())
    })
}

/// Loads ZFS on a node that had no use for it so far.
///
/// # Errors
/// The image has no such module, or the kernel refuses it.
pub async fn load_zfs(node: &Arc<Node>) -> Result<Arc<Storage>, TaskError> {
    let work = {
        let node = node.clone();
        move || load(&node)
    };
    tokio::task::spawn_blocking(work).await??;
    crate::storage::offer(node, Arc::new(storage(node)));
    let offered = node.storage.get().cloned();
    offered.ok_or_else(|| "ZFS is loaded and not offered".into())
}

/// Loads the modules. Their parameters are the host id and, below what the boot profile says, a limit of the cache: ZFS's own
/// leaves 1 GiB to everything else.
fn load(node: &Node) -> Done {
    let memory = nix::sys::sysinfo::sysinfo()?.ram_total();
    let own = [
        ("spl", format!("spl_hostid={}", host_id(node))),
        ("zfs", format!("zfs_arc_max={}", memory / ARC_SHARE)),
    ];
    Ok(read_modules()?.load("zfs", &given(node, &own))?)
}

/// Moves the threads that a pool brought along off the workloads' CPUs, as all threads of the kernel were before.
pub fn fence_threads(node: &Node) {
    let actions = node.plan().into_iter().flat_map(|plan| &plan.actions);
    for planned in actions.filter(|planned| matches!(planned.action, Action::WorkqueueCpumask { .. })) {
        if let Err(error) = profile::perform(Path::new(ROOT), &planned.action) {
            node.log.warning(&format!("{}: {}", planned.key, chain(&error)));
        }
    }
}

/// Gives every pool back, so that the next host to see it need not ask whose it is. `false`: the kernel did not let go in
/// time, and what is on the disks is as after a power cut.
pub async fn give_back(node: &Node) -> bool {
    let Some(storage) = node.storage.get().cloned() else {
        return true;
    };
    let work = tokio::task::spawn_blocking(move || storage.stop());
    let problems = match tokio::time::timeout(GIVING_BACK, work).await {
        Ok(Ok(problems)) => problems,
        Ok(Err(error)) => vec![format!("internal error: {error}")],
        Err(_) => {
            let seconds = GIVING_BACK.as_secs();
            node.log.error(&format!(
                "pools are not given back after {seconds} s; going down without"
            ));
            return false;
        }
    };
    for problem in problems {
        node.log.error(&format!("giving pools back: {problem}"));
    }
    true
}

#[cfg(test)]
mod tests;
