//! Volumes: disks that a node keeps for its VMs.

use axion_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};

/// What a volume is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum VolumeKind {
    /// A sparse raw file.
    File,
    /// A zvol: a block device on a pool, with snapshots.
    Zvol,
}

impl std::fmt::Display for VolumeKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Zvol => "zvol",
        })
    }
}

/// What a volume is to be (body of `PUT /v1/volumes/{name}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VolumeSpec {
    /// Bytes that the guest sees, a multiple of 4 KiB (a zvol's: of its block size), 1 MiB at least. A volume can grow, and a
    /// VM that runs sees it at its next start.
    pub size: ByteSize,
    /// What it begins with: `sha256:` and the digest of an uploaded image, which is copied; or, for a zvol, `VOLUME@SNAPSHOT`
    /// or a zvol's snapshot by its whole name (`tank/base@1`), which it shares its blocks with. Without it zeros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is kept in. Absent: a zvol where a pool is imported, else a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<VolumeKind>,
    /// The pool of a zvol. Absent: the one of the snapshot that it begins with, the one that keeps the node's state, or the one
    /// with the most room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Block size of a zvol, a power of two from 4 KiB to 128 KiB. Absent: 16 KiB, on raidz 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_size: Option<ByteSize>,
    /// Keep room for all of a zvol, rather than take it as it is written.
    #[serde(default)]
    pub reserved: bool,
}

impl VolumeSpec {
    /// An empty volume of that size, kept in whatever the node has.
    pub fn of(size: ByteSize) -> Self {
        Self {
            size,
            from: None,
            kind: None,
            pool: None,
            block_size: None,
            reserved: false,
        }
    }
}

/// A volume as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Volume {
    /// Name: 1 to 40 of a-z, 0-9 and `-`, starting with a letter.
    pub name: String,
    /// Changes with every write; for `If-Match`.
    pub revision: u64,
    /// What was asked for.
    pub spec: VolumeSpec,
    /// What it is kept in.
    pub kind: VolumeKind,
    /// The zvol, where it is one: `tank/axion/zvols/data`.
    pub dataset: Option<String>,
    /// Bytes that it takes on the node, snapshots included; absent where its pool does not say.
    pub allocated: Option<u64>,
    /// The VM whose disk it is.
    pub used_by: Option<String>,
    /// When it was made, microseconds since 1970 by the node's clock.
    pub created_unix_us: u64,
}

/// Part of the name of what zvols of volumes are in: `POOL/axion/zvols`.
pub const ZVOLS: &str = "axion/zvols";

/// The zvol of the volume `name` in a pool.
pub fn zvol(pool: &str, name: &str) -> String {
    format!("{pool}/{ZVOLS}/{name}")
}
