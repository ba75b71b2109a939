//! File systems, zvols, snapshots.

use axion_core::config::Compression;
use axion_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};

/// What a dataset is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DatasetKind {
    /// A file system.
    Filesystem,
    /// A zvol: a block device.
    Volume,
}

/// What a dataset is for; what decides about block sizes and compression.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Anything.
    #[default]
    General,
    /// Disks of VMs.
    Vm,
    /// Databases: small writes anywhere.
    Database,
    /// Large files that are read and written from end to end: images, simulation output, media.
    Stream,
    /// Written once, seldom read.
    Archive,
}

/// Whether an encrypted dataset can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Its key is loaded.
    Available,
    /// Its key is not loaded.
    Unavailable,
}

/// A dataset as it is. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Dataset {
    /// Name, pool first: `tank/scratch`.
    pub name: String,
    /// What it is.
    pub kind: DatasetKind,
    /// Taken, with what is below it and its snapshots.
    pub used: u64,
    /// Can still be written.
    pub available: u64,
    /// Reachable in it now.
    pub referenced: u64,
    /// What the data would take without compression against what it takes: `1.53`.
    pub compress_ratio: String,
    /// Compression in force: `lz4`, `zstd`, `off`.
    pub compression: String,
    /// Largest block of a file system's files, or the only block size of a zvol.
    pub block_size: u64,
    /// Whether reading a file of a file system writes when that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub atime: Option<bool>,
    /// Where a file system keeps extended attributes: `sa` beside the inode, `dir` in hidden directories, `off` nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub xattr: Option<String>,
    /// Size of a zvol.
    pub volume_size: Option<u64>,
    /// Device node of a zvol.
    pub device: Option<String>,
    /// Most that it and what is below it may take.
    pub quota: Option<u64>,
    /// Kept free for it.
    pub reservation: Option<u64>,
    /// Where a file system is mounted.
    pub mounted_at: Option<String>,
    /// The snapshot that it is a clone of.
    pub origin: Option<String>,
    /// How it is encrypted: `aes-256-gcm`.
    pub encryption: Option<String>,
    /// Whether it can be read, where it is encrypted.
    pub key: Option<KeyState>,
    /// What goes on where the last stream into it broke off: `resume` of `GET /v1/snapshots/{name}/stream`.
    pub resume_token: Option<String>,
    /// When it was made, seconds since 1970.
    pub created_unix_s: u64,
    /// It belongs to the node itself: it is shown and not changed here.
    pub system: bool,
}

/// A dataset to be made or changed (body of `PUT /v1/datasets/{name}`).
///
/// What it is, its use and its encryption are settled when it is made; the rest can be changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct DatasetSpec {
    /// Size: it is a zvol. Absent: it is a file system. A zvol can be made larger, never smaller.
    pub size: Option<ByteSize>,
    /// Take room for a zvol as it is written, instead of all at once.
    pub sparse: bool,
    /// What it is for. Absent: `vm` for a zvol, `general` for a file system.
    pub r#use: Option<Use>,
    /// Compression. Absent: by use.
    pub compression: Option<Compression>,
    /// Block size, a power of two: 512 B to 16 MiB for a file system, 4 KiB to 128 KiB for a zvol. Absent: by use.
    pub block_size: Option<ByteSize>,
    /// Most that it and what is below it may take.
    pub quota: Option<ByteSize>,
    /// Kept free for it.
    pub reservation: Option<ByteSize>,
    /// Encrypt it. Absent: as what is above it.
    pub encryption: Option<Encryption>,
}

/// Encryption of a dataset and of what is below it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Encryption {
    /// What unlocks it.
    pub key: Key,
}

/// What unlocks a dataset.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Key {
    /// Words: 8 to 512 bytes.
    Passphrase(String),
    /// A key of 32 bytes, as 64 hex digits.
    Hex(String),
}

// Keys stay out of logs.
impl std::fmt::Debug for Encryption {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Encryption { .. }")
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Passphrase(..)",
            Self::Hex(_) => "Hex(..)",
        })
    }
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// Whole name: `tank/scratch@monday`.
    pub name: String,
    /// The dataset that it is of.
    pub dataset: String,
    /// The part behind `@`.
    pub snapshot: String,
    /// Id, decimal; the same on every node that it was sent to.
    pub guid: String,
    /// Bytes that only it still has.
    pub used: u64,
    /// Bytes reachable in it.
    pub referenced: u64,
    /// When it was made, seconds since 1970.
    pub created_unix_s: u64,
    /// Datasets that are clones of it.
    pub clones: Vec<String>,
}

/// A snapshot to be made (body of `PUT /v1/snapshots/{dataset@name}`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct SnapshotSpec {
    /// Of everything below as well, all at the same instant.
    pub recursive: bool,
}

/// A dataset to be set back (body of `POST /v1/snapshots/{dataset@name}/rollback`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct RollbackRequest {
    /// Delete the snapshots that are newer; without it they are a reason to refuse.
    pub discard_newer: bool,
}

/// A clone to be made (body of `POST /v1/snapshots/{dataset@name}/clone`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CloneSpec {
    /// Name of the new dataset, in the same pool.
    pub name: String,
}

/// What is sent of a snapshot (query of `GET /v1/snapshots/{dataset@name}/stream`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields, default)]
pub struct SendOptions {
    /// Only what changed since this older snapshot, which the receiver has: the part behind `@`, or a whole name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// As it is on the disks: what is encrypted stays so, and the receiver needs no key.
    pub raw: bool,
    /// Go on where a stream broke off: `resume_token` of the receiving dataset. It says itself what is sent, and how.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<String>,
}

/// How a stream is received (query of `POST /v1/datasets/{name}/receive`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams), into_params(parameter_in = Query))]
#[serde(deny_unknown_fields, default)]
pub struct ReceiveOptions {
    /// Keep what arrived of a stream that breaks off, so that it can go on; without it nothing is left.
    pub resumable: bool,
    /// Lose what was written to the dataset since its last snapshot, and snapshots that the sender does not have.
    pub discard_changes: bool,
}
