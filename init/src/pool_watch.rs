//! What happens to pools, told to the log and to D-Bus peers.
//!
//! No daemon waits for the kernel's events. What the kernel says of each pool's health is a file, which is read every
//! [`GLANCE`] and costs nothing; `zpool` is run only when it differs, when something was done to a pool, now and then while a
//! scrub or resilver is under way, and seldom otherwise, for errors that a pool has taken in its stride.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_api::storage::Pool;
use axion_storage::Storage;
use axion_storage::watch::{changes, is_scanning};

use crate::failure::chain;
use crate::node::{Node, Signal};
use crate::storage::on_thread;

const ROOT: &str = "/";
/// Time between two glances at the kernel's files.
const GLANCE: Duration = Duration::from_secs(10);
/// Time between two looks while a pool is scrubbed or resilvered.
const SCANNING: Duration = Duration::from_secs(30);
/// Time between two looks otherwise.
const QUIET: Duration = Duration::from_secs(300);

/// Watches for as long as the node is up.
pub async fn watch(node: Arc<Node>, storage: Arc<Storage>) {
    let mut states = kernel_states(Path::new(ROOT));
    let mut before = look(&storage).await.unwrap_or_default();
    let mut seen = Instant::now();
    let mut blind = false;
    loop {
        let touched = tokio::select! {
            () = tokio::time::sleep(GLANCE) => false,
            () = node.pools_touched.notified() => true,
        };
        let now = kernel_states(Path::new(ROOT));
        let pause = if is_scanning(&before) { SCANNING } else { QUIET };
        if !touched && now == states && seen.elapsed() < pause {
            continue;
        }
        (states, seen) = (now, Instant::now());
        match look(&storage).await {
            Ok(after) => {
                tell(&node, &before, &after);
                (before, blind) = (after, false);
            }
            Err(error) if !blind => {
                node.log.error(&format!("cannot look at the pools: {error}"));
                blind = true;
            }
            Err(_) => {}
        }
    }
}

fn tell(node: &Node, before: &[Pool], after: &[Pool]) {
    for event in changes(before, after) {
        if event.bad {
            node.log.error(&event.to_string());
        } else {
            node.log.info(&event.to_string());
        }
        // Nobody may be listening.
        let _ = node.signals.send(Signal::Pool(Box::new(event)));
    }
}

async fn look(storage: &Arc<Storage>) -> Result<Vec<Pool>, String> {
    let storage = storage.clone();
    match on_thread(move || storage.pools()).await {
        Ok(Ok(pools)) => Ok(pools),
        Ok(Err(error)) => Err(chain(&error)),
        Err(error) => Err(error.to_string()),
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

#[cfg(test)]
mod tests;
