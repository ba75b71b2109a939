//! The machine config that a node keeps: shown, and replaced.
//!
//! `MachineConfig` of `org.axion.Init1` takes the JSON of a [`Call`] and gives the JSON of an [`Answer`].

use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// The document that the node keeps (`GET /v1/config`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConfigDocument {
    /// Where it is, for people.
    pub place: String,
    /// The document, TOML; `storage.encryption.secret` is `(hidden)`. Empty: there is none yet.
    pub text: String,
    /// Whether it is the one that the node has started with; another one takes effect at the next start.
    pub in_force: bool,
}

/// What became of a document (`PUT /v1/config`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ConfigApplied {
    /// Where it is, or would be, for people.
    pub place: String,
    /// Whether it was written; not where it was only looked at, or is there already.
    pub written: bool,
    /// Whether the next start differs from this one by it.
    pub at_next_start: bool,
}

/// Which document is shown (query of `GET /v1/config`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "schema", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields, default)]
pub struct ShowOptions {
    /// The one before it, which was kept when it was replaced.
    pub previous: bool,
}

/// How a document is taken (query of `PUT /v1/config`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::IntoParams))]
#[cfg_attr(feature = "schema", into_params(parameter_in = Query))]
#[serde(deny_unknown_fields, default)]
pub struct ApplyOptions {
    /// Only hold it against this node; nothing is written.
    pub dry_run: bool,
}

/// What is asked of init.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum Call {
    /// The document.
    Show(ShowOptions),
    /// Another document in its place.
    Apply {
        /// The document, TOML.
        text: String,
        /// How it is taken.
        #[serde(default)]
        options: ApplyOptions,
    },
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    /// The document.
    Document(ConfigDocument),
    /// It was taken.
    Applied(ConfigApplied),
    /// It was refused, or it failed.
    Problem(Problem),
}
