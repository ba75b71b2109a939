//! Keys of encrypted datasets: where they come from when the node starts, and what is kept of them beside the data.
//!
//! ```text
//! POOL/axion ── there, encrypted, locked ─> keyring: find ── a key ─> load-key ─> mounted
//!     │                                               └─ a reason ─> the state stays locked, the node goes on without
//!     └── missing ─> keyring: make ── a key, and what is kept of it ─> create ─> mounted
//!                                  └─ nothing: not encrypted          └─ a reason ─> locked, and nothing is made
//! ```
//! What is on the disk decides about datasets that are there; the machine config only about those that are to be made. Nothing
//! that should be encrypted is ever made without.
//!
//! A key that the TPM keeps lies, sealed, in the user property [`SEALED`] of the dataset itself: it can be read while the
//! dataset is locked, goes where the pool goes, and is nobody's secret. A passphrase that was made at random is what is sealed: until
//! somebody has noted it, which [`UNNOTED`] remembers across starts, it can be shown again whenever the TPM gives it.

use std::time::Instant;

use axion_api::storage::{Key, KeyState};
use axion_core::config;

use crate::boot::{Started, in_time};
use crate::datasets::{check_key, secret};
use crate::error::{StorageError, chain};
use crate::json::{member, members, property, text};
use crate::names;
use crate::storage::Storage;

/// The property of a dataset that its sealed key is kept in.
pub const SEALED: &str = "org.axion:sealed";
/// The property of a dataset whose passphrase was made at random and noted by nobody yet; its value says nothing more.
pub const UNNOTED: &str = "org.axion:unnoted";
/// Rounds of PBKDF2 for a passphrase that was made at random: the fewest that ZFS takes, as there is nothing to guess.
const RANDOM_ROUNDS: &str = "pbkdf2iters=100000";

/// A key for datasets that are to be made.
#[derive(Debug)]
pub struct NewKey {
    /// The key.
    pub key: Key,
    /// What is kept of it in [`SEALED`]. One that is sealed was made at random.
    pub sealed: Option<String>,
}

/// Where keys come from.
pub trait Keyring: std::fmt::Debug + Send + Sync {
    /// The key of node datasets that are to be made; `None`: they are not encrypted.
    ///
    /// # Errors
    /// They should be, and there is no key: the reason, for people.
    fn make(&self) -> Result<Option<NewKey>, String>;

    /// Whether the node itself may know the key of a dataset that is not its own; of another one nothing is said at boot.
    fn knows(&self, dataset: &Locked) -> bool {
        dataset.sealed.is_some()
    }

    /// The key of a dataset that is locked.
    ///
    /// # Errors
    /// There is none: the reason, for people.
    fn find(&self, dataset: &Locked) -> Result<Key, String>;
}

/// No keys: nothing is encrypted, and what is encrypted stays locked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoKeys;

impl Keyring for NoKeys {
    fn make(&self) -> Result<Option<NewKey>, String> {
        Ok(None)
    }

    fn find(&self, _: &Locked) -> Result<Key, String> {
        Err("its key is not here".to_owned())
    }
}

/// What a dataset has of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Name: the topmost that has this key.
    pub name: String,
    /// What is kept in [`SEALED`].
    pub sealed: Option<String>,
    /// Whether its key is hex digits, and no passphrase.
    pub is_hex: bool,
    /// Whether its key is loaded.
    pub state: KeyState,
    /// Whether its key is a recovery passphrase that nobody has noted yet.
    pub unnoted: bool,
}

/// Why the node's state could not be mounted.
#[derive(Debug)]
pub enum StateError {
    /// No key: which pool, why, and whether nothing is there yet.
    Locked {
        /// The pool.
        pool: String,
        /// Why, for people.
        reason: String,
        /// Nothing was made yet.
        is_new: bool,
    },
    /// Anything else.
    Other(String),
}

impl Storage {
    /// Datasets that have keys of their own.
    ///
    /// # Errors
    /// ZFS does not answer.
    pub fn keyed(&self) -> Result<Vec<Locked>, StorageError> {
        self.present()?;
        let properties = format!("name,encryptionroot,keyformat,keystatus,{SEALED},{UNNOTED}");
        let arguments = [
            "list",
            "-j",
            "--json-int",
            "-p",
            "-t",
            "filesystem,volume",
            "-o",
            &properties,
        ];
        let list = self.tools.zfs(arguments).json()?;
        let read = |(name, dataset): (&String, &serde_json::Value)| {
            let of = |name: &str| text(property(dataset, name));
            (of("encryptionroot").as_ref() == Some(name)).then(|| Locked {
                name: name.clone(),
                sealed: of(SEALED),
                is_hex: of("keyformat").as_deref() == Some("hex"),
                state: if of("keystatus").as_deref() == Some("available") {
                    KeyState::Available
                } else {
                    KeyState::Unavailable
                },
                unnoted: of(UNNOTED).is_some(),
            })
        };
        Ok(members(member(&list, "datasets")).filter_map(read).collect())
    }

    /// What one dataset has of a key; `None`: it has none of its own.
    ///
    /// # Errors
    /// ZFS does not answer.
    pub fn key_of(&self, dataset: &str) -> Result<Option<Locked>, StorageError> {
        Ok(self.keyed()?.into_iter().find(|keyed| keyed.name == dataset))
    }

    /// Keeps a sealed key with its dataset.
    ///
    /// # Errors
    /// ZFS refuses.
    pub fn keep_sealed(&self, dataset: &str, sealed: &str) -> Result<(), StorageError> {
        names::dataset(dataset)?;
        let setting = format!("{SEALED}={sealed}");
        Ok(self.tools.zfs(["set", &setting, dataset]).done()?)
    }

    /// Remembers that somebody has noted the passphrase of a dataset.
    ///
    /// # Errors
    /// ZFS refuses.
    pub fn note(&self, dataset: &str) -> Result<(), StorageError> {
        names::dataset(dataset)?;
        Ok(self.tools.zfs(["inherit", UNNOTED, dataset]).done()?)
    }

    /// Whether this is the dataset's key; nothing is changed.
    ///
    /// # Errors
    /// It is not.
    pub fn verify_key(&self, dataset: &str, key: &Key) -> Result<(), StorageError> {
        check_key(key)?;
        let run = self.tools.zfs(["load-key", "-n", "-L", "prompt", dataset]);
        Ok(run.secret(secret(key).0).done()?)
    }

    fn load(&self, dataset: &str, key: &Key) -> Result<(), StorageError> {
        check_key(key)?;
        let run = self.tools.zfs(["load-key", "-L", "prompt", dataset]);
        Ok(run.secret(secret(key).0).done()?)
    }

    /// Unlocks the datasets whose keys the keyring knows, the node's own left out. What stays locked, for people.
    pub(crate) fn unlock_known(
        &self,
        keyring: &dyn Keyring,
        deadline: Instant,
    ) -> Result<Vec<String>, StorageError> {
        let mut problems = Vec::new();
        for dataset in self.keyed()? {
            let waits = dataset.state == KeyState::Unavailable && keyring.knows(&dataset);
            if !waits || names::is_system(&dataset.name) {
                continue;
            }
            in_time(deadline)?;
            let loaded = keyring
                .find(&dataset)
                .and_then(|key| self.load(&dataset.name, &key).map_err(|error| chain(&error)));
            problems.extend(
                loaded
                    .err()
                    .map(|why| format!("`{}` stays locked: {why}", dataset.name)),
            );
        }
        Ok(problems)
    }

    /// Chooses the pool that keeps the node's state, and makes or unlocks the node's datasets on it; mounts nothing. The pool,
    /// and what is to be said about it.
    ///
    /// # Errors
    /// See [`StateError`].
    pub fn prepare_state(
        &self,
        wanted: &config::Storage,
        keyring: &dyn Keyring,
    ) -> Result<(Option<String>, Vec<String>), StateError> {
        let other = |error: StorageError| StateError::Other(chain(&error));
        let Some(pool) = self.state_place(wanted).map_err(StateError::Other)? else {
            return Ok((None, Vec::new()));
        };
        let on_pool = |error: StorageError| {
            StateError::Other(format!("the node's state on `{pool}`: {}", chain(&error)))
        };
        let above = names::system(&pool, "");
        let there = self.datasets(Some(&pool)).map_err(other)?;
        let found = there.iter().find(|dataset| dataset.name == above);
        let mut said = Vec::new();
        let locked = |reason, is_new| StateError::Locked {
            pool: pool.clone(),
            reason,
            is_new,
        };
        match found {
            None => {
                let key = keyring.make().map_err(|reason| match wanted.encryption.key {
                    // A passphrase that is typed now would not be the config's tomorrow.
                    config::KeySource::Config => {
                        StateError::Other(format!("the node's state on `{pool}` is not made: {reason}"))
                    }
                    _ => locked(reason, true),
                })?;
                self.make_above(&above, key).map_err(on_pool)?;
            }
            Some(dataset) if dataset.key == Some(KeyState::Unavailable) => {
                let keyed = self.key_of(&above).map_err(on_pool)?;
                let reason = || "its key is that of the whole pool".to_owned();
                let keyed = keyed.ok_or_else(|| locked(reason(), false))?;
                let key = keyring.find(&keyed).map_err(|reason| locked(reason, false))?;
                self.load(&above, &key)
                    .map_err(|error| locked(chain(&error), false))?;
            }
            Some(dataset) => {
                if dataset.encryption.is_none() && wanted.encryption.key != config::KeySource::None {
                    said.push(format!(
                        "the node's state on `{pool}` is not encrypted: it was made without, and only new datasets can be"
                    ));
                }
            }
        }
        let there: Vec<&str> = there.iter().map(|dataset| dataset.name.as_str()).collect();
        self.make_own(&pool, &there).map_err(on_pool)?;
        Ok((Some(pool), said))
    }

    /// Makes what holds datasets of the node, and no files.
    pub(crate) fn make_above(&self, above: &str, key: Option<NewKey>) -> Result<(), StorageError> {
        let mut arguments = vec!["create", "-o", "canmount=off", "-o", "mountpoint=none"];
        let Some(NewKey { key, sealed }) = key else {
            arguments.push(above);
            return Ok(self.tools.zfs(arguments).done()?);
        };
        check_key(&key)?;
        let (words, format) = secret(&key);
        let format = format!("keyformat={format}");
        let kept = sealed.map(|sealed| format!("{SEALED}={sealed}"));
        arguments.extend([
            "-o",
            "encryption=aes-256-gcm",
            "-o",
            &format,
            "-o",
            "keylocation=prompt",
        ]);
        let unnoted = format!("{UNNOTED}=yes");
        if let Some(kept) = &kept {
            arguments.extend(["-o", RANDOM_ROUNDS, "-o", kept, "-o", &unnoted]);
        }
        arguments.push(above);
        Ok(self.tools.zfs(arguments).secret(words).done()?)
    }

    /// Mounts the node's state, as [`Storage::prepare_state`] left it.
    ///
    /// # Errors
    /// The kernel refuses, or no time is left.
    pub fn mount_state(&self, pool: &str, deadline: Instant) -> Result<(), StorageError> {
        self.mount_each(pool, deadline)?;
        self.set_state_pool(pool);
        Ok(())
    }

    /// The node's state, at the start.
    pub(crate) fn start_state(
        &self,
        wanted: &config::Storage,
        keyring: &dyn Keyring,
        deadline: Instant,
        started: &mut Started,
    ) {
        match self.prepare_state(wanted, keyring) {
            Ok((pool, said)) => {
                started.problems.extend(said);
                let Some(pool) = pool else { return };
                match self.mount_state(&pool, deadline) {
                    Ok(()) => started.state = Some(pool),
                    Err(error) => {
                        let why = chain(&error);
                        started
                            .problems
                            .push(format!("the node's state on `{pool}`: {why}"));
                    }
                }
            }
            Err(StateError::Locked { pool, reason, is_new }) => started.locked = Some((pool, reason, is_new)),
            Err(StateError::Other(reason)) => started.problems.push(reason),
        }
    }
}

#[cfg(test)]
mod tests;
