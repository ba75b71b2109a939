//! The node's state, unlocked after the boot went on without it.
//!
//! The services run on a state in memory meanwhile. Taking the other one over is a restart of the agent and of a boot server, and no
//! more: the agent goes down, the state is mounted over the one in memory, it comes up with its own certificate, store and audit log. VMs would
//! hang on volumes that are hidden then; while one runs, nothing is unlocked.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_api::init::UnitState;
use axion_api::keys::{StateLock, UnlockRequest};
use axion_api::problem::{Kind, Problem};
use axion_api::storage::Key;
use axion_core::config::KeySource;
use axion_core::paths;
use axion_storage::Storage;
use axion_storage::keys::{Keyring, Locked, NewKey, StateError};
use axion_storage::names;

use super::{apart, noted, recovery, ring, seal, storage, wanted};
use crate::failure::chain;
use crate::node::Node;
use crate::stage2;
use crate::storage::on_thread;
use crate::sync::lock;

const AGENT: &str = "agent";
/// The boot server's unit.
const BOOT_SERVER: &str = "netboot";
/// The agent passes the answer on before it goes down.
const ANSWERED: Duration = Duration::from_millis(500);
/// The agent is down so long after it was asked to, or its cgroup is killed.
const DOWN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);
/// Mounting takes so long at most.
const MOUNTED: Duration = Duration::from_secs(60);

/// The key that somebody gave.
#[derive(Debug)]
struct Given(Key);

impl Keyring for Given {
    fn make(&self) -> Result<Option<NewKey>, String> {
        Ok(Some(NewKey {
            key: self.0.clone(),
            sealed: None,
        }))
    }

    fn find(&self, _: &Locked) -> Result<Key, String> {
        Ok(self.0.clone())
    }
}

/// Unlocks the state; that it is taken over is begun, and not waited for.
pub(super) async fn unlock(node: &Arc<Node>, request: UnlockRequest) -> Result<(), Problem> {
    let conflict = |detail: String| Problem::new(Kind::Conflict, detail);
    let Ok(turn) = node.keys.unlocking.clone().try_lock_owned() else {
        return Err(conflict("the state is being unlocked already".to_owned()));
    };
    if lock(&node.status).state_lock.is_none() {
        return Err(conflict("the node's state is not locked".to_owned()));
    }
    let units = node.units.list().await;
    let running = units.iter().filter(|unit| unit.transient && unit.pid.is_some());
    let running: Vec<&str> = running.map(|unit| unit.name.as_str()).collect();
    if !running.is_empty() {
        let names = running.join(", ");
        let detail = format!("something runs on the state in memory; stop it first: {names}");
        return Err(conflict(detail));
    }
    let storage = storage(node)?;
    let key = recovery::normalized(&request.key);
    let pool = {
        let node = node.clone();
        let storage = storage.clone();
        apart(move || open(&node, &storage, key, request.seal)).await?
    };
    node.log.info(&format!("the state on `{pool}` is unlocked"));
    let node = node.clone();
    tokio::spawn(async move {
        take_over(node, storage, pool).await;
        drop(turn);
    });
    Ok(())
}

/// Loads the key, and seals it where the TPM is to keep it.
fn open(node: &Node, storage: &Storage, key: Key, with_seal: bool) -> Result<String, Problem> {
    let Some(effective) = node.config.get() else {
        return Err(Problem::new(Kind::Internal, "there is no machine config"));
    };
    let given = Given(key);
    let prepared = storage.prepare_state(&effective.config.storage, &given);
    let (pool, _) = prepared.map_err(|error| match error {
        StateError::Locked { reason, .. } if reason.contains("Incorrect key") => {
            Problem::new(Kind::Invalid, "this does not unlock the state").at("/key")
        }
        StateError::Locked { reason, .. } | StateError::Other(reason) => Problem::new(Kind::Conflict, reason),
    })?;
    let none = || Problem::new(Kind::Conflict, "no pool keeps the node's state");
    let pool = pool.ok_or_else(none)?;
    let above = names::system(&pool, "");
    // Unlocked it is in any case; the next boot asks again.
    let dataset = storage.key_of(&above).unwrap_or_else(|error| {
        node.log.warning(&format!(
            "the key of `{above}` cannot be looked at: {}",
            chain(&error)
        ));
        None
    });
    if dataset.as_ref().is_some_and(|dataset| dataset.unnoted) {
        // Whoever types it has it.
        noted(node, &above);
    }
    if with_seal {
        let keeps = |dataset: &Locked| dataset.sealed.is_some() || wanted(node).key == KeySource::Tpm;
        if let Some(dataset) = dataset.filter(keeps) {
            match seal(node, storage, &dataset, &ring::secret(&given.0)) {
                Ok(()) => node
                    .log
                    .info(&format!("the key of `{above}` is sealed to the TPM again")),
                Err(why) => node
                    .log
                    .warning(&format!("the key of `{above}` is not sealed to the TPM: {why}")),
            }
        }
    }
    Ok(pool)
}

/// Restarts the agent with the state.
async fn take_over(node: Arc<Node>, storage: Arc<Storage>, pool: String) {
    tokio::time::sleep(ANSWERED).await;
    stop_agent(&node).await;
    let mounting = {
        let (node, storage, pool) = (node.clone(), storage.clone(), pool.clone());
        on_thread(move || {
            let mounted = storage.mount_state(&pool, Instant::now() + MOUNTED);
            stage2::fence_threads(&node);
            mounted
        })
    };
    let mounted = match mounting.await {
        Ok(Ok(())) => stage2::prepare_state(node.clone())
            .await
            .map_err(|error| chain(&*error)),
        Ok(Err(error)) => Err(chain(&error)),
        Err(error) => Err(error.to_string()),
    };
    match mounted {
        Ok(()) => {
            lock(&node.status).state_lock = None;
            node.log
                .info(&format!("the node's state is on the pool `{pool}`"));
        }
        Err(why) => {
            node.log.error(&format!(
                "the state on `{pool}` is unlocked and cannot be used: {why}"
            ));
            lock(&node.status).state_lock = Some(StateLock {
                pool,
                reason: why,
                is_new: false,
            });
        }
    }
    if let Err(error) = node.units.start_unit(AGENT).await {
        node.log
            .error(&format!("the agent is not started again: {}", chain(&error)));
    }
    // Its sandbox shows it the machines' configs where they were. Of a node that boots nobody there is none.
    let _ = node.units.restart(BOOT_SERVER).await;
}

/// Has the agent go down, and waits for that.
async fn stop_agent(node: &Node) {
    // A node without one has nothing in its state.
    if node.units.stop(AGENT).await.is_err() {
        return;
    }
    let is_down = async {
        loop {
            let agent = node.units.get(AGENT).await;
            if agent.is_ok_and(|agent| matches!(agent.state, UnitState::Inactive | UnitState::Failed)) {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    if tokio::time::timeout(DOWN, is_down).await.is_err() {
        let _ = node.units.kill(AGENT).await;
    }
    // Its socket would be taken for that of an agent that listens.
    let _ = std::fs::remove_file(Path::new(paths::AGENT_SOCKET));
}
