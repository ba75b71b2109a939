//! Volumes: disks that a node keeps for its VMs.

use axion_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};

/// What a volume is to be (body of `PUT /v1/volumes/{name}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VolumeSpec {
    /// Bytes that the guest sees, a multiple of 4 KiB, 1 MiB at least. They are taken from the node as they are written.
    pub size: ByteSize,
    /// What it begins with: `sha256:` and the digest of an uploaded image, which is copied. Without it zeros.
    #[serde(default)]
    pub from: Option<String>,
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
    /// Bytes that it takes on the node.
    pub allocated: u64,
    /// The VM whose disk it is.
    pub used_by: Option<String>,
    /// When it was made, microseconds since 1970 by the node's clock.
    pub created_unix_us: u64,
}
