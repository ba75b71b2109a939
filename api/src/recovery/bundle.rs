//! What is in a support bundle.

use serde::{Deserialize, Serialize};

/// Name of the manifest, which comes first in the archive.
pub const MANIFEST: &str = "manifest.json";

/// What a support bundle (`GET /v1/support/bundle`) holds: `manifest.json` in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Manifest {
    /// Version of this form; only 1 exists.
    pub format: u32,
    /// When it was made, seconds since 1970 by the node's clock.
    pub created_unix_s: u64,
    /// Version of Axion.
    pub version: String,
    /// Host name.
    pub hostname: String,
    /// Stable identity of the machine; empty where init did not answer.
    pub machine_id: String,
    /// This boot: a UUID.
    pub boot_id: String,
    /// Every part that was looked for, in the order of the archive.
    pub parts: Vec<Part>,
}

/// A part of a support bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Part {
    /// Its file.
    pub file: String,
    /// What it is, for people.
    pub what: String,
    /// Whether it is there.
    pub state: PartState,
    /// Bytes of the file.
    pub bytes: u64,
    /// Values in it that were hidden as they may be secret.
    pub hidden: u64,
    /// Why it is not there, or not whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Whether a part is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// As a whole.
    Whole,
    /// Its end alone: it was longer than a part may be.
    Cut,
    /// Not at all.
    Missing,
}
