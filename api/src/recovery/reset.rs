//! Factory reset: what of a node is forgotten.

use serde::{Deserialize, Serialize};

/// What a factory reset is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ResetScope {
    /// The machine config on the installed disk: the next boot has the defaults.
    Config,
    /// What the node keeps in its pool: VMs and their disks, networks, images, certificate, token, audit.
    State,
    /// Both.
    All,
}

impl ResetScope {
    /// Whether the machine config goes.
    pub const fn has_config(self) -> bool {
        matches!(self, Self::Config | Self::All)
    }

    /// Whether the node's state goes.
    pub const fn has_state(self) -> bool {
        matches!(self, Self::State | Self::All)
    }
}

/// A factory reset (body of `POST /v1/reset`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ResetRequest {
    /// What is forgotten.
    pub scope: ResetScope,
    /// Destroy every pool that is imported too, with all that is in them.
    #[serde(default)]
    pub pools: bool,
    /// The node's host name, typed by whoever wants this.
    pub confirm: String,
}

/// What a factory reset would do (`GET /v1/reset`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ResetPlan {
    /// What is forgotten.
    pub scope: ResetScope,
    /// Whether pools are destroyed.
    pub pools: bool,
    /// The host name, which confirms it.
    pub hostname: String,
    /// What is lost, for people.
    pub lost: Vec<String>,
    /// What stays, for people.
    pub kept: Vec<String>,
}

/// What was ordered, as it is kept on a disk until it is done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ResetOrder {
    /// The machine config on the installed disk goes.
    pub config: bool,
    /// The node's own datasets on this pool go.
    pub state: Option<String>,
    /// These pools go, the one that keeps the order last.
    pub pools: Vec<String>,
}
