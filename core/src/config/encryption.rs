//! `[storage.encryption]`: whether the node's own datasets are encrypted, and what unlocks them.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// Where [`Encryption::secret`] is, which is shown nowhere and kept on no disk of the node.
pub const SECRET_KEY: &str = "storage.encryption.secret";
/// Where [`Encryption::secrets`] are, of which the same holds.
pub const SECRETS_KEY: &str = "storage.encryption.secrets";
/// Registers that whoever runs on the machine may reset at any time (TCG PC Client Platform TPM Profile, 4.6.2).
pub const RESETTABLE_PCRS: [u8; 2] = [16, 23];
/// Last register of a PC.
pub const LAST_PCR: u8 = 23;

/// Encryption of the node's own datasets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Encryption {
    /// What unlocks them. It decides when they are made; ones that are there stay as they are.
    pub key: KeySource,
    /// The key, where it is this config's: 64 hex digits, or a passphrase of 8 to 512 bytes.
    pub secret: Option<Secret>,
    /// Keys of other datasets by their names, which unlock them at boot: 64 hex digits, or a passphrase of 8 to 512 bytes.
    pub secrets: BTreeMap<String, Secret>,
    /// Registers of the TPM that keys are sealed to: 0 to 23, without 16 and 23.
    pub pcrs: Vec<u8>,
}

impl Default for Encryption {
    fn default() -> Self {
        Self {
            key: KeySource::None,
            secret: None,
            secrets: BTreeMap::new(),
            // Which keys the firmware trusts, and which image it started.
            pcrs: vec![7, 11],
        }
    }
}

/// What unlocks the node's own datasets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// They are not encrypted.
    #[default]
    None,
    /// The TPM, and a recovery passphrase.
    Tpm,
    /// A passphrase that somebody types at each boot.
    Passphrase,
    /// [`Encryption::secret`].
    Config,
}

impl KeySource {
    /// For people.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tpm => "tpm",
            Self::Passphrase => "passphrase",
            Self::Config => "config",
        }
    }
}

/// A secret. Neither logs nor the API nor a file of the node ever has it: it is written out as `(hidden)`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// What is shown instead.
    pub const HIDDEN: &str = "(hidden)";

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(Self::HIDDEN)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The message of serde's own would repeat what was given.
        let text = String::deserialize(deserializer);
        let text = text.map_err(|_| serde::de::Error::custom("a secret is text in quotes"))?;
        Ok(text.into())
    }
}

/// Whether this is a key of 32 bytes, as hex digits.
pub fn is_hex_key(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether this can be a passphrase: ZFS takes 8 to 512 bytes, and a line is one.
pub fn is_passphrase(text: &str) -> bool {
    (8..=512).contains(&text.len()) && !text.contains(['\n', '\r', '\0'])
}
