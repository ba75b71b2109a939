//! The TPM of a node, what was measured into it, and the keys of encrypted datasets that it keeps.
//!
//! `Keys` of `org.axion.Init1` takes the JSON of a [`Call`] and gives the JSON of an [`Answer`].

use axion_core::profile::Resolved;
use serde::{Deserialize, Serialize};

use crate::problem::Problem;
use crate::storage::Key;

/// The register that the boot profile is measured into, once a boot.
///
/// The UAPI group's registry of registers gives 8 and 9 to GRUB and the kernel's EFI stub, 10 to IMA, 11 to 13 to
/// systemd-stub, 14 to shim, 16 and 23 can be reset by anybody, 17 to 22 belong to a dynamic launch. 15 is the system's own
/// identity, added by the user space that runs: here that is Axion's.
pub const PROFILE_PCR: u8 = 15;
/// Content type of events that Axion measures.
pub const CONTENT_TYPE: &str = "axion";

/// What is measured of a boot profile: the SHA-256 of its JSON, with sorted keys and without blanks.
pub fn profile_event(resolved: &Resolved) -> String {
    use sha2::{Digest, Sha256};
    // A plan holds nothing that JSON cannot. Objects of `Value` are sorted by their keys.
    let value = serde_json::to_value(resolved).unwrap_or_default();
    let digest = Sha256::digest(value.to_string());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("axion-profile:sha256:{hex}")
}

/// The TPM (`GET /v1/host/tpm`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct HostTpm {
    /// Whether the machine has one that the kernel knows.
    pub present: bool,
    /// Who made it, as the TCG's Vendor ID Registry has it: `IFX`, `INTC`, `AMD`.
    pub manufacturer: Option<String>,
    /// Version of its firmware.
    pub firmware: Option<String>,
    /// Why it is of no use, where it is not.
    pub problem: Option<String>,
    /// Its registers, in their SHA-256 bank.
    pub pcrs: Vec<PcrValue>,
    /// What Axion measured in this boot.
    pub events: Vec<MeasuredEvent>,
    /// Keys of datasets that are sealed to it.
    pub keys: Vec<SealedKey>,
    /// Why the node's state is locked, where it is.
    pub state_lock: Option<StateLock>,
    /// A recovery passphrase was made in this boot and nobody has said that it is noted.
    pub recovery_waits: bool,
}

/// A register and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PcrValue {
    /// Number, 0 to 23.
    pub pcr: u8,
    /// Value, 64 hex digits.
    pub sha256: String,
}

/// Something that was measured, as the TCG's Canonical Event Log has it in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MeasuredEvent {
    /// The register.
    pub pcr: u8,
    /// What was added to it.
    pub digests: Vec<EventDigest>,
    /// `axion`.
    pub content_type: String,
    /// What it was.
    pub content: EventContent,
}

/// The digest of an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventDigest {
    /// `sha256`.
    pub hash_alg: String,
    /// The digest of [`EventContent::string`], 64 hex digits.
    pub digest: String,
}

/// What an event was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct EventContent {
    /// `profile`.
    pub event_type: String,
    /// What was hashed.
    pub string: String,
    /// The boot: a UUID.
    pub boot_id: String,
    /// When, microseconds since 1970.
    pub timestamp: u64,
}

/// The key of a dataset that the TPM keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SealedKey {
    /// The dataset; the node's own are below `POOL/axion`.
    pub dataset: String,
    /// Registers whose values its newest seal is to.
    pub pcrs: Vec<u8>,
    /// Registers that may hold what the owner of a key signs: each image brings a signature of its own measurement.
    #[serde(default)]
    pub signed_pcrs: Vec<u8>,
    /// Those of them that are not as they were, or not as any signature says: the TPM keeps the key to itself. Empty: it gives it.
    pub changed: Vec<u8>,
    /// Whether the dataset can be read now.
    pub unlocked: bool,
}

/// Why the node's state cannot be used. It runs with one in memory meanwhile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct StateLock {
    /// The pool that has it.
    pub pool: String,
    /// Why the node cannot unlock it by itself.
    pub reason: String,
    /// Nothing is there yet: what is typed becomes the passphrase.
    pub is_new: bool,
}

impl std::fmt::Display for StateLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.is_new {
            "a new passphrase"
        } else {
            "the passphrase"
        };
        let reason = &self.reason;
        write!(
            f,
            "state locked: {reason}; type {what} on the console, or run `axctl pool unlock`"
        )
    }
}

/// The node's state is to be unlocked (body of `POST /v1/host/state/unlock`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct UnlockRequest {
    /// What unlocks it.
    pub key: Key,
    /// Seal it to the TPM as its registers are now, where the state's key is the TPM's to keep.
    #[serde(default = "yes")]
    pub seal: bool,
}

const fn yes() -> bool {
    true
}

/// The key of a dataset is to be sealed to the TPM as its registers are now (body of `POST /v1/host/tpm/seal`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SealRequest {
    /// The dataset. Absent: the node's own.
    pub dataset: Option<String>,
    /// Its key. Absent: the one that the TPM still gives.
    pub key: Option<Key>,
}

/// A recovery passphrase, told until it is noted.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Recovery {
    /// The pool whose state it unlocks.
    pub pool: String,
    /// The passphrase.
    pub passphrase: String,
}

// It stays out of logs.
impl std::fmt::Debug for Recovery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Recovery {{ pool: {:?}, .. }}", self.pool)
    }
}

/// What is asked of init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are those of the routes")]
pub enum Call {
    /// The TPM and what it keeps.
    Tpm,
    /// Unlocks the node's state.
    Unlock { request: UnlockRequest },
    /// Seals a key.
    Seal { request: SealRequest },
    /// The recovery passphrase that is not noted yet; with `forget` for the last time.
    Recovery { forget: bool },
}

/// What came of a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The TPM.
    Tpm(Box<HostTpm>),
    /// A recovery passphrase.
    Recovery(Recovery),
    /// It was refused, or it failed.
    Problem(Problem),
}

#[cfg(test)]
mod tests;
