//! Wishes that a machine cannot grant.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One wish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Refusal {
    /// Key in the machine config: `profile.hugepages[0]`.
    pub key: String,
    /// Why not.
    pub reason: String,
    /// The nearest that is possible, as TOML, where there is one.
    pub nearest: Option<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.key, self.reason)?;
        match &self.nearest {
            Some(nearest) => write!(f, "; possible: {nearest}"),
            None => Ok(()),
        }
    }
}

/// Everything that cannot be granted; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(Refusal::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Refusals(pub Vec<Refusal>);
