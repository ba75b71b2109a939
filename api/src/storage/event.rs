//! What happened to a pool.

use serde::{Deserialize, Serialize};

/// What happened to a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolEvent {
    /// Name of the pool.
    pub pool: String,
    /// What it is about.
    pub about: PoolEventKind,
    /// Whether somebody should look.
    pub bad: bool,
    /// One line for people: `nvme0n1p1 is faulted, was online`.
    pub detail: String,
}

/// What an event of a pool is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PoolEventKind {
    /// The pool came or went.
    Presence,
    /// Health of the pool.
    Health,
    /// Health of a device.
    Device,
    /// Errors of a device were counted, or data is damaged.
    Errors,
    /// A scrub or resilver began or ended.
    Scan,
}

impl std::fmt::Display for PoolEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pool `{}`: {}", self.pool, self.detail)
    }
}
