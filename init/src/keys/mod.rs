//! The TPM, and the keys of encrypted datasets.
//!
//! ```text
//! phase profile   measure ── a thread of its own: PCR_Event, /run/axion/tpm-events.json        nothing waits for it, but
//! phase storage   ring ───── the keys that pools ask for: config, TPM, or nobody yet            who wants a key of the TPM
//!                    └─ locked: the node goes on with a state in memory, and says so
//! later           unlock ── a passphrase, typed on the console or sent: key loaded, answered ── agent down ─ state mounted ─ agent up
//! ```
//! No boot waits for a TPM: each conversation has a deadline ([`PATIENCE`]), and one that did not answer once is not asked
//! again in the same boot. Whatever it does not do is said in words.
//!
//! Secrets are in memory no longer than they are needed, are wiped, and have no way into the log: the types that hold them
//! show nothing. A recovery passphrase is kept until somebody has noted it, and had of the TPM again after each start until then.

mod measure;
pub mod policy;
mod recovery;
mod ring;
mod unlock;

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axion_api::keys::{Answer, Call, HostTpm, PcrValue, Recovery, SealRequest, SealedKey, StateLock};
use axion_api::problem::{Kind, Problem};
use axion_api::storage::KeyState;
use axion_core::config;
use axion_storage::keys::Locked;
use axion_storage::{Storage, StorageError, names};
use axion_tpm::{Pcrs, Sealed, SignedPolicy, Tpm, TpmError, Values};

use self::measure::Measured;
pub use self::measure::begin;
pub use self::ring::Ring;
use crate::failure::chain;
use crate::node::Node;
use crate::storage::on_thread;
use crate::sync::lock;

/// A conversation with the TPM ends after so long: making a key takes a slow one a second.
const PATIENCE: Duration = Duration::from_secs(10);
const ROOT: &str = "/";
/// Seals of a key that are kept, the newest first: each slot of an installed node has registers of its own.
const SEALS: usize = 2;

/// What init knows of the TPM and of keys.
#[derive(Default)]
pub struct Keys {
    /// What became of measuring in this boot.
    measured: OnceLock<Measured>,
    /// The recovery passphrase that nobody has noted yet.
    recovery: Mutex<Option<Recovery>>,
    /// What the running image brings for its own measurement.
    policy: OnceLock<Option<SignedPolicy>>,
    /// Held while the state is being unlocked.
    unlocking: Arc<tokio::sync::Mutex<()>>,
}

/// What `[storage.encryption]` says.
fn wanted(node: &Node) -> config::Encryption {
    let effective = node.config.get();
    effective
        .map(|effective| effective.config.storage.encryption.clone())
        .unwrap_or_default()
}

/// A conversation with the TPM, once the boot is measured.
fn conversation(node: &Node) -> Result<Tpm, String> {
    match node.keys.measured.wait() {
        Measured::Absent => Err(TpmError::Absent.to_string()),
        Measured::Failed(why) => Err(why.clone()),
        Measured::Done(_) => Tpm::open(Path::new(ROOT), PATIENCE).map_err(|error| chain(&error)),
    }
}

/// What the running image brings for its own measurement.
fn policy(node: &Node) -> Option<&SignedPolicy> {
    let read = || policy::kept(Path::new(ROOT), &node.log);
    node.keys.policy.get_or_init(read).as_ref()
}

/// Seals that are kept with a dataset; one that is not understood, of another version perhaps, is none.
fn seals(dataset: &Locked) -> Vec<Sealed> {
    let text = dataset.sealed.as_deref().unwrap_or_default();
    let seals: Vec<serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    let understood = seals
        .into_iter()
        .filter_map(|seal| serde_json::from_value(seal).ok());
    understood.collect()
}

fn pcrs(encryption: &config::Encryption) -> Pcrs {
    encryption.pcrs.iter().copied().collect()
}

/// Seals a dataset's key to the registers as they are, or to whoever vouches for them, and keeps it with the dataset. The seal for
/// one other state of the registers stays: that of the slot which is not running.
fn seal(node: &Node, storage: &Storage, dataset: &Locked, secret: &[u8]) -> Result<(), String> {
    let mut tpm = conversation(node)?;
    let in_words = |error: TpmError| chain(&error);
    let image = policy(node);
    let new = tpm.seal(secret, pcrs(&wanted(node)), image).map_err(in_words)?;
    let mut kept = Vec::with_capacity(SEALS);
    for old in seals(dataset) {
        let now = tpm.values(old.registers()).map_err(in_words)?;
        if !old.changed(&now, image).is_empty() {
            kept.push(old);
        }
    }
    kept.insert(0, new);
    kept.truncate(SEALS);
    let text = serde_json::to_string(&kept).map_err(|error| error.to_string())?;
    storage
        .keep_sealed(&dataset.name, &text)
        .map_err(|error| chain(&error))
}

/// The node's state is locked: said where an operator looks, until it is unlocked.
pub fn lock_state(node: &Node, pool: &str, reason: &str, is_new: bool) {
    let locked = StateLock {
        pool: pool.to_owned(),
        reason: reason.to_owned(),
        is_new,
    };
    node.log.error(&locked.to_string());
    lock(&node.status).state_lock = Some(locked);
}

/// Keeps a recovery passphrase until somebody has noted it.
pub fn show_recovery(node: &Node, recovery: Option<Recovery>) {
    let Some(recovery) = recovery else { return };
    node.log.warning(&format!(
        "the state on `{}` has a recovery passphrase: the console shows it until it is noted, `axctl pool recovery` once",
        recovery.pool
    ));
    *lock(&node.keys.recovery) = Some(recovery);
    lock(&node.status).recovery_waits = true;
}

/// Somebody has noted the recovery passphrase of a dataset. Where that cannot be remembered, it is shown once more.
fn noted(node: &Node, dataset: &str) {
    let remembered = storage(node).and_then(|storage| Ok(storage.note(dataset)?));
    if let Err(problem) = remembered {
        node.log.warning(&format!(
            "the recovery passphrase of `{dataset}` is noted, and shown again after the next start: {}",
            problem.detail
        ));
    }
}

/// Answers a call of the agent or the console, JSON both ways.
pub async fn serve(node: &Arc<Node>, call: &str) -> String {
    let answer = match serde_json::from_str(call) {
        Ok(call) => perform(node, call).await.unwrap_or_else(Answer::Problem),
        // What it was may be a secret.
        Err(_) => Answer::Problem(Problem::new(Kind::Malformed, "not a call about keys")),
    };
    // Answers hold nothing that JSON cannot.
    serde_json::to_string(&answer).unwrap_or_default()
}

async fn perform(node: &Arc<Node>, call: Call) -> Result<Answer, Problem> {
    match call {
        Call::Tpm => {
            let node = node.clone();
            let told = apart(move || Ok(tell(&node))).await?;
            Ok(Answer::Tpm(Box::new(told)))
        }
        Call::Unlock { request } => unlock::unlock(node, request).await.map(|()| Answer::Done),
        Call::Seal { request } => {
            let node = node.clone();
            apart(move || seal_again(&node, &request)).await?;
            Ok(Answer::Done)
        }
        Call::Recovery { forget } => {
            let recovery = {
                let mut waits = lock(&node.keys.recovery);
                let recovery = if forget { waits.take() } else { waits.clone() };
                lock(&node.status).recovery_waits = waits.is_some();
                recovery
            };
            let none = "there is no recovery passphrase that was not shown yet";
            let recovery = recovery.ok_or_else(|| Problem::new(Kind::NotFound, none))?;
            if forget {
                let (node, pool) = (node.clone(), recovery.pool.clone());
                apart(move || {
                    noted(&node, &names::system(&pool, ""));
                    Ok(())
                })
                .await?;
            }
            Ok(Answer::Recovery(recovery))
        }
    }
}

/// Work that blocks, on a thread of its own.
async fn apart<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let failed = |error| Problem::new(Kind::Internal, format!("the call was not finished: {error}"));
    on_thread(work).await.map_err(failed)?
}

/// ZFS, where the node has it.
fn storage(node: &Node) -> Result<Arc<Storage>, Problem> {
    let storage = node.storage.get().cloned();
    storage.ok_or_else(|| StorageError::Absent.into())
}

/// Seals a key anew, as an operator asks.
fn seal_again(node: &Node, request: &SealRequest) -> Result<(), Problem> {
    let conflict = |detail: String| Problem::new(Kind::Conflict, detail);
    let storage = storage(node)?;
    let name = match (&request.dataset, storage.state_pool()) {
        (Some(name), _) => name.clone(),
        (None, Some(pool)) => names::system(&pool, ""),
        (None, None) => return Err(conflict("no pool keeps the node's state".to_owned())),
    };
    let missing = || conflict(format!("`{name}` has no key of its own"));
    let dataset = storage.key_of(&name)?.ok_or_else(missing)?;
    let secret = match &request.key {
        Some(key) => {
            let key = recovery::normalized(key);
            storage.verify_key(&name, &key)?;
            ring::secret(&key)
        }
        None => {
            let mut tpm = conversation(node).map_err(conflict)?;
            ring::unseal(&mut tpm, &dataset, policy(node)).map_err(|why| {
                conflict(format!(
                    "the TPM does not give the key of `{name}`: {why}; give it with the request"
                ))
            })?
        }
    };
    seal(node, &storage, &dataset, &secret).map_err(|why| conflict(format!("not sealed: {why}")))?;
    node.log
        .info(&format!("the key of `{name}` is sealed to the TPM"));
    Ok(())
}

/// The TPM as it is.
fn tell(node: &Node) -> HostTpm {
    let (state_lock, recovery_waits) = {
        let status = lock(&node.status);
        (status.state_lock.clone(), status.recovery_waits)
    };
    let mut told = HostTpm {
        events: measure::events(Path::new(ROOT)),
        state_lock,
        recovery_waits,
        ..HostTpm::default()
    };
    match node.keys.measured.get() {
        Some(Measured::Absent) => {}
        Some(Measured::Failed(why)) => {
            told.present = true;
            told.problem = Some(why.clone());
        }
        Some(Measured::Done(identity)) => {
            told.present = true;
            told.manufacturer = Some(identity.manufacturer.clone());
            told.firmware = Some(identity.firmware.clone());
        }
        None => told.problem = Some("it has not answered yet".to_owned()),
    }
    let values = if told.present && told.problem.is_none() {
        Tpm::open(Path::new(ROOT), PATIENCE).and_then(|mut tpm| tpm.read(Pcrs::ALL))
    } else {
        Ok(Vec::new())
    };
    let values = values.unwrap_or_else(|error| {
        told.problem = Some(chain(&error));
        Vec::new()
    });
    told.pcrs = (0..)
        .zip(&values)
        .map(|(pcr, value)| PcrValue {
            pcr,
            sha256: hex::encode(value),
        })
        .collect();
    let keyed = node.storage.get().and_then(|storage| storage.keyed().ok());
    let values: Values = (0..).zip(values).collect();
    told.keys = keyed
        .iter()
        .flatten()
        .filter_map(|dataset| sealed_key(dataset, &values, policy(node)))
        .collect();
    told
}

/// The best of a dataset's seals: one that the TPM opens now, else the newest.
fn sealed_key(dataset: &Locked, values: &Values, image: Option<&SignedPolicy>) -> Option<SealedKey> {
    let changed = |sealed: &Sealed| sealed.changed(values, image);
    let seals = seals(dataset);
    let opens = seals.iter().find(|sealed| changed(sealed).is_empty());
    let shown = opens.or_else(|| seals.first())?;
    Some(SealedKey {
        dataset: dataset.name.clone(),
        pcrs: shown.pcrs.into(),
        signed_pcrs: shown.signed_registers().into(),
        changed: changed(shown),
        unlocked: dataset.state == KeyState::Available,
    })
}
