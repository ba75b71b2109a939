//! ZFS for whoever may ask PID 1: the agent's calls, and the scrubs that are due.
//!
//! A call blocks for as long as the kernel takes, and so does one that hangs: each has a thread of its own, and there are only
//! so many, so that neither the other interfaces of init nor its threads for short work wait for a disk.

use std::sync::Arc;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Answer, Call};
use axion_storage::{Storage, StorageError};
use tokio::sync::{Semaphore, oneshot};

use crate::clock;
use crate::failure::chain;
use crate::node::Node;
use crate::pool_watch;
use crate::stage2;

/// Calls at the same time.
static CALLS: Semaphore = Semaphore::const_new(8);
/// A call waits for so long until it is its turn.
const TURN: Duration = Duration::from_secs(10);
/// Bytes of the stack of a call's thread.
const STACK: usize = 512 * 1024;
/// Time between two looks for scrubs that are due; the first comes when the node has settled.
const SCRUB_CHECK: Duration = Duration::from_secs(3600);

fn problem(problem: Problem) -> Answer {
    Answer::Problem(problem)
}

/// Does work that blocks on a thread of its own.
pub async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> std::io::Result<T> {
    on_own_thread("storage", work).await
}

/// Does work that blocks on a thread of that name, which nobody else waits for.
pub async fn on_own_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> std::io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK);
    thread.spawn(move || {
        // Whoever asked may be gone.
        let _ = sender.send(work());
    })?;
    receiver
        .await
        .map_err(|_| std::io::Error::other("the thread ended"))
}

/// Whether a call is a reason to load ZFS: a node that has no pool loads it when somebody wants one.
fn begins_with_zfs(call: &Call) -> bool {
    matches!(
        call,
        Call::Disks | Call::FoundPools | Call::CreatePool { .. } | Call::ImportPool { .. }
    )
}

/// Whether the kernel has more threads afterwards.
fn brings_threads(call: &Call) -> bool {
    matches!(
        call,
        Call::CreatePool { .. }
            | Call::ImportPool { .. }
            | Call::PutDataset { .. }
            | Call::Clone { .. }
            | Call::MakeVolume { .. }
    )
}

/// Whether there may be something to tell of a pool afterwards.
fn touches_pools(call: &Call) -> bool {
    matches!(
        call,
        Call::CreatePool { .. }
            | Call::ImportPool { .. }
            | Call::ExportPool { .. }
            | Call::DestroyPool { .. }
            | Call::Scrub { .. }
            | Call::Replace { .. }
            | Call::Device { .. }
    )
}

async fn perform(node: &Arc<Node>, call: Call) -> Answer {
    let storage = match node.storage.get().cloned() {
        Some(storage) => storage,
        None if begins_with_zfs(&call) => match stage2::load_zfs(node).await {
            Ok(storage) => storage,
            Err(error) => {
                let detail = format!("ZFS cannot be loaded: {}", chain(&*error));
                return problem(Problem::new(Kind::Unavailable, detail));
            }
        },
        // No ZFS, no pools: that is an answer.
        None if call == Call::Pools => return Answer::Pools(Vec::new()),
        None => return problem(StorageError::Absent.into()),
    };
    let Ok(Ok(_turn)) = tokio::time::timeout(TURN, CALLS.acquire()).await else {
        let detail = "too many storage calls are under way; see whether a disk hangs (`axctl pool list`)";
        return problem(Problem::new(Kind::Unavailable, detail));
    };
    let work = {
        let node = node.clone();
        move || {
            let (fence, touches) = (brings_threads(&call), touches_pools(&call));
            let answer = storage.serve(call);
            if fence {
                stage2::fence_threads(&node);
            }
            if touches {
                node.pools_touched.notify_one();
            }
            answer
        }
    };
    let served = on_thread(work).await;
    served.unwrap_or_else(|error| {
        let detail = format!("the storage call was not finished: {error}");
        problem(Problem::new(Kind::Internal, detail))
    })
}

/// Answers a call of the agent, JSON both ways.
pub async fn serve(node: &Arc<Node>, call: &str) -> String {
    let answer = match serde_json::from_str(call) {
        Ok(call) => perform(node, call).await,
        Err(error) => problem(Problem::new(
            Kind::Malformed,
            format!("not a storage call: {error}"),
        )),
    };
    // Answers hold nothing that JSON cannot.
    serde_json::to_string(&answer).unwrap_or_default()
}

/// Offers ZFS to callers, watches pools and begins the scrubs that are due from now on, unless it is offered already.
pub fn offer(node: &Arc<Node>, storage: Arc<Storage>) {
    if node.storage.set(storage.clone()).is_ok() {
        tokio::spawn(keep_scrubbed(node.clone(), storage.clone()));
        tokio::spawn(pool_watch::watch(node.clone(), storage));
    }
}

async fn keep_scrubbed(node: Arc<Node>, storage: Arc<Storage>) {
    loop {
        tokio::time::sleep(SCRUB_CHECK).await;
        let Some(config) = node.config.get() else { continue };
        let interval = config.config.storage.scrub.0;
        let now = clock::unix_us() / 1_000_000;
        let storage = storage.clone();
        let begun = on_thread(move || storage.scrub_what_is_due(interval, now)).await;
        match begun {
            Ok(Ok(pools)) => {
                for pool in pools {
                    node.log.info(&format!(
                        "pool `{pool}` is scrubbed, as its last scrub is {} d ago",
                        interval.as_secs() / 86_400
                    ));
                }
            }
            Ok(Err(error)) => node
                .log
                .warning(&format!("cannot look for scrubs that are due: {}", chain(&error))),
            Err(error) => node
                .log
                .warning(&format!("cannot look for scrubs that are due: {error}")),
        }
    }
}
