//! The keys that pools ask for when the node starts.

use std::sync::Mutex;

use axion_api::keys::Recovery;
use axion_api::storage::Key;
use axion_core::config::{Encryption, KeySource, is_hex_key};
use axion_storage::keys::{Keyring, Locked, NewKey};
use axion_storage::names;
use axion_tpm::{SignedPolicy, Tpm, TpmError};
use zeroize::Zeroizing;

use super::{conversation, pcrs, policy, recovery, seals, wanted};
use crate::failure::chain;
use crate::node::Node;
use crate::sync::lock;

/// What the config and the TPM have.
pub struct Ring<'n> {
    node: &'n Node,
    encryption: Encryption,
    unnoted: Mutex<Option<Zeroizing<String>>>,
}

impl std::fmt::Debug for Ring<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ring { .. }")
    }
}

impl<'n> Ring<'n> {
    /// The keys of this node.
    pub fn new(node: &'n Node) -> Self {
        Self {
            node,
            encryption: wanted(node),
            unnoted: Mutex::default(),
        }
    }

    /// The recovery passphrase of the state on `pool`, where nobody has noted it since it was made.
    pub fn recovery(&self, pool: &str) -> Option<Recovery> {
        let passphrase = lock(&self.unnoted).take()?;
        Some(Recovery {
            pool: pool.to_owned(),
            passphrase: passphrase.to_string(),
        })
    }

    fn sealed(&self) -> Result<NewKey, String> {
        let passphrase = recovery::generate()?;
        let mut tpm = conversation(self.node)?;
        let image = policy(self.node);
        let sealed = tpm.seal(passphrase.as_bytes(), pcrs(&self.encryption), image);
        let sealed = [sealed.map_err(|error| chain(&error))?];
        let key = Key::Passphrase(passphrase.to_string());
        *lock(&self.unnoted) = Some(passphrase);
        Ok(NewKey {
            key,
            sealed: Some(serde_json::to_string(&sealed).map_err(|error| error.to_string())?),
        })
    }

    /// Keeps what the TPM gave of a dataset's key, where it is to be shown.
    fn keep(&self, dataset: &Locked, passphrase: &str) {
        if dataset.unnoted && names::is_system(&dataset.name) {
            *lock(&self.unnoted) = Some(Zeroizing::new(passphrase.to_owned()));
        }
    }
}

impl Keyring for Ring<'_> {
    fn make(&self) -> Result<Option<NewKey>, String> {
        match self.encryption.key {
            KeySource::None => Ok(None),
            KeySource::Tpm => self.sealed().map(Some),
            KeySource::Config => {
                let key = declared(&self.encryption)?;
                Ok(Some(NewKey { key, sealed: None }))
            }
            KeySource::Passphrase => Err("it has no passphrase yet".to_owned()),
        }
    }

    fn knows(&self, dataset: &Locked) -> bool {
        dataset.sealed.is_some() || self.encryption.secrets.contains_key(&dataset.name)
    }

    fn find(&self, dataset: &Locked) -> Result<Key, String> {
        if let Some(secret) = self.encryption.secrets.get(&dataset.name) {
            return Ok(key(secret.expose(), dataset.is_hex));
        }
        if names::is_system(&dataset.name) && self.encryption.key == KeySource::Config {
            return declared(&self.encryption);
        }
        if dataset.sealed.is_none() {
            return Err("the node does not know its key".to_owned());
        }
        let image = policy(self.node);
        let secret = unseal(&mut conversation(self.node)?, dataset, image)?;
        let text = std::str::from_utf8(&secret).map_err(|_| "what the TPM gives is no key".to_owned())?;
        self.keep(dataset, text);
        Ok(key(text, dataset.is_hex))
    }
}

fn key(text: &str, is_hex: bool) -> Key {
    if is_hex {
        Key::Hex(text.to_owned())
    } else {
        Key::Passphrase(text.to_owned())
    }
}

/// The key that the config declares.
fn declared(encryption: &Encryption) -> Result<Key, String> {
    let missing = "no machine config document gives `storage.encryption.secret`";
    let secret = encryption
        .secret
        .as_ref()
        .ok_or_else(|| missing.to_owned())?
        .expose();
    Ok(key(secret, is_hex_key(secret)))
}

/// What is sealed of a key.
pub(super) fn secret(key: &Key) -> Zeroizing<Vec<u8>> {
    let (Key::Passphrase(text) | Key::Hex(text)) = key;
    Zeroizing::new(text.as_bytes().to_vec())
}

/// What the TPM gives of a dataset's seals: the first that it opens. Where it opens none, why it does not open the newest.
pub(super) fn unseal(
    tpm: &mut Tpm,
    dataset: &Locked,
    image: Option<&SignedPolicy>,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut why: Option<TpmError> = None;
    for sealed in seals(dataset) {
        match tpm.unseal(&sealed, image) {
            Ok(secret) => return Ok(secret),
            Err(error) => {
                let goes_on = error.is_drift();
                why.get_or_insert(error);
                if !goes_on {
                    break;
                }
            }
        }
    }
    Err(why.map_or_else(
        || "nothing that this version of Axion sealed is kept with it".to_owned(),
        |error| chain(&error),
    ))
}

#[cfg(test)]
mod tests;
