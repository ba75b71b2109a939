//! ZFS at the start of the node: the module, pools, the node's state.
//!
//! ```text
//! pools declared, or a pool's label on a disk? ── no ──► nothing: no module, no thread, no time
//!        │ yes
//!        ▼
//! spl (host id) ─ zfs (limit of its cache) ─ import or make ─ state datasets mounted ─ threads fenced ─ watched
//! ```
//! The module is also loaded when the agent first asks for a pool. Whatever goes wrong here is said, degrades the boot, and
//! leaves a node that forgets; a disk that does not answer costs no more than [`PATIENCE`].

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axion_api::storage::Call;
use axion_core::profile::Action;
use axion_core::topology::Topology;
use axion_storage::command::{Children, Tools};
use axion_storage::{Storage, boot, contents, hostid};

use super::tasks::{Done, config, given, read_modules, several};
use crate::clock;
use crate::failure::chain;
use crate::node::Node;
use crate::profile;
use crate::sync::lock;
use crate::units::Commands;

const ROOT: &str = "/";
/// The longest that the boot waits for pools, besides `storage.settle`: the deadline of one import.
const PATIENCE: Duration = Duration::from_secs(130);
/// The longest that the end of the node waits for pools to be given back.
const GIVING_BACK: Duration = Duration::from_secs(60);
/// Time between two looks at whether each pool is well: a file of the kernel, which costs nothing.
const WATCH: Duration = Duration::from_secs(10);
/// Time between two looks at whether a scrub is due.
const SCRUBS: Duration = Duration::from_secs(3600);
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

/// What init has to do with pools.
#[derive(Debug, Default)]
pub struct Pools {
    storage: OnceLock<Arc<Storage>>,
    watched: AtomicBool,
}

fn storage(node: &Node) -> Arc<Storage> {
    let new = || {
        let tools = Tools {
            children: Arc::new(Pid1(node.commands.clone())),
            ..Tools::default()
        };
        Arc::new(Storage::new(tools, ROOT, host_id(node)))
    };
    node.pools.storage.get_or_init(new).clone()
}

fn host_id(node: &Node) -> u32 {
    hostid::of(&lock(&node.status).machine_id)
}

/// Imports pools, makes those that are declared and nowhere, and mounts the node's state.
pub async fn start_pools(node: Arc<Node>) -> Done {
    let patience = config(&node)?.storage.settle.0 + PATIENCE;
    let work = {
        let node = node.clone();
        move || start(&node, Instant::now() + patience)
    };
    let done = match tokio::time::timeout(patience, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done?,
        Err(_) => Err(format!(
            "the pools are not ready after {} s: a disk does not answer; going on without them",
            patience.as_secs()
        )
        .into()),
    };
    watch_if_any(&node);
    done
}

fn start(node: &Node, deadline: Instant) -> Done {
    let wanted = &config(node)?.storage;
    if wanted.pools.is_empty() && !is_any_pool_on_disks() {
        node.log
            .info("no pool is declared, and none is on a disk: what the node keeps is gone when it restarts");
        return Ok(());
    }
    load(node)?;
    let storage = storage(node);
    let started = storage.start(wanted, deadline)?;
    for line in &started.done {
        node.log.info(line);
    }
    fence(node);
    match &started.state {
        Some(pool) => {
            lock(&node.status).persistent_state = true;
            node.log
                .info(&format!("the node's state is on the pool `{pool}`"));
        }
        None => node
            .log
            .warning("no pool keeps the node's state: it is gone when the node restarts"),
    }
    several(started.problems)
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
fn fence(node: &Node) {
    let actions = node.plan().into_iter().flat_map(|plan| &plan.actions);
    for planned in actions.filter(|planned| matches!(planned.action, Action::WorkqueueCpumask { .. })) {
        if let Err(error) = profile::perform(Path::new(ROOT), &planned.action) {
            node.log.warning(&format!("{}: {}", planned.key, chain(&error)));
        }
    }
}

/// Does what the agent asks for. The first wish for a pool loads the modules.
///
/// # Errors
/// What was asked for made this program fail.
pub async fn serve(node: &Arc<Node>, call: String) -> Result<String, tokio::task::JoinError> {
    let work = {
        let node = node.clone();
        move || perform(&node, &call)
    };
    let answer = tokio::task::spawn_blocking(work).await;
    watch_if_any(node);
    answer
}

fn perform(node: &Node, call: &str) -> String {
    let parsed = serde_json::from_str::<Call>(call);
    let brings_pool = matches!(
        parsed,
        Ok(Call::CreatePool { .. } | Call::ImportPool { .. } | Call::FoundPools)
    );
    let brings_threads = brings_pool || matches!(parsed, Ok(Call::PutDataset { .. } | Call::Clone { .. }));
    let storage = storage(node);
    if brings_pool
        && storage.present().is_err()
        && let Err(error) = load(node)
    {
        node.log.error(&format!("loading ZFS: {}", chain(&*error)));
    }
    let answer = storage.serve_json(call);
    if brings_threads {
        fence(node);
    }
    answer
}

/// Gives every pool back, so that the next host to see it need not ask whose it is. `false`: the kernel did not let go in
/// time, and what is on the disks is as after a power cut.
pub async fn give_back(node: &Node) -> bool {
    let Some(storage) = node.pools.storage.get().cloned() else {
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

fn watch_if_any(node: &Arc<Node>) {
    let has_zfs = node
        .pools
        .storage
        .get()
        .is_some_and(|storage| storage.present().is_ok());
    if has_zfs && !node.pools.watched.swap(true, Ordering::Relaxed) {
        tokio::spawn(watch(node.clone()));
    }
}

/// Looks after the pools for as long as the node is up.
async fn watch(node: Arc<Node>) {
    let mut before = complaints(&node).await;
    let mut states = kernel_states(Path::new(ROOT));
    let mut next_scrubs = clock::since_start();
    loop {
        if clock::since_start() >= next_scrubs {
            next_scrubs = clock::since_start() + SCRUBS;
            begin_scrubs(&node).await;
        }
        tokio::time::sleep(WATCH).await;
        let now = kernel_states(Path::new(ROOT));
        if now == states {
            continue;
        }
        states = now;
        let after = complaints(&node).await;
        for complaint in after.difference(&before) {
            node.log.error(complaint);
        }
        if after.is_empty() && !before.is_empty() {
            node.log.info("every pool is well again");
        }
        before = after;
    }
}

/// Name and state of each pool, as the kernel has it (`/proc/spl/kstat/zfs/POOL/state`).
fn kernel_states(root: &Path) -> BTreeSet<(String, String)> {
    let pools = std::fs::read_dir(root.join("proc/spl/kstat/zfs"))
        .into_iter()
        .flatten()
        .flatten();
    let state = |pool: std::fs::DirEntry| {
        let state = std::fs::read_to_string(pool.path().join("state")).ok()?;
        Some((
            pool.file_name().to_string_lossy().into_owned(),
            state.trim().to_owned(),
        ))
    };
    pools.filter_map(state).collect()
}

async fn complaints(node: &Arc<Node>) -> BTreeSet<String> {
    let storage = storage(node);
    let look = move || match storage.pools() {
        Ok(pools) => pools.iter().filter_map(boot::complaint).collect(),
        Err(error) => BTreeSet::from([chain(&error)]),
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

async fn begin_scrubs(node: &Arc<Node>) {
    let Some(interval) = node
        .config
        .get()
        .map(|effective| effective.config.storage.scrub.0)
    else {
        return;
    };
    let storage = storage(node);
    let now = clock::unix_us() / 1_000_000;
    let begin = move || storage.scrub_what_is_due(interval, now);
    match tokio::task::spawn_blocking(begin).await {
        Ok(Ok(pools)) => {
            for pool in pools {
                node.log.info(&format!("a scrub of the pool `{pool}` has begun"));
            }
        }
        Ok(Err(error)) => node.log.error(&format!("scrubs: {}", chain(&error))),
        Err(error) => node.log.error(&format!("scrubs: internal error: {error}")),
    }
}

#[cfg(test)]
mod tests;
