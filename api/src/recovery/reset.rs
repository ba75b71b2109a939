//! Factory reset: what of a node is forgotten.

use std::collections::BTreeMap;

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
    /// Ids of these pools (`guid` of a pool) by their names: another pool of such a name is not meant. An order of an earlier
    /// version has none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub guids: BTreeMap<String, String>,
}

impl ResetOrder {
    /// The pools that something is still to be done about.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.pools.iter().chain(&self.state).map(String::as_str)
    }

    /// Whether the pool `name` of this order is the one with the name and id `is`.
    pub fn means(&self, name: &str, is: (&str, &str)) -> bool {
        match self.guids.get(name) {
            Some(guid) => guid == is.1,
            None => name == is.0,
        }
    }

    /// How a pool of this order is called where it is missing: `` `tank` (id 77) ``.
    pub fn call(&self, name: &str) -> String {
        match self.guids.get(name) {
            Some(guid) => format!("`{name}` (id {guid})"),
            None => format!("`{name}`"),
        }
    }
}
