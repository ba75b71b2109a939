//! The machine config: one TOML document, its sources, and where each effective value came from.
//!
//! ```text
//! built-in defaults < AXION-CFG volume (axion.toml) < installed state < axion.config= on the command line
//! ```
//!
//! A later source wins **per field**. Each document is checked on its own before anything is merged: one that has an
//! error is rejected whole, with its line, and the node goes on with the others ([`Effective::rejected`]), so that a
//! typing error never makes a node unreachable. What only a later version knows is left out, and told ([`Effective::ignored`]).

mod answers;
mod check;
mod encryption;
mod hidden;
mod install;
mod merge;
mod netboot;
mod place;
mod profile;
mod schema;
mod storage;
#[cfg(test)]
mod tests;
mod update;
mod validate;

pub use answers::{Addressing, Field, NetworkAnswers, NodeAnswers, StateAnswer, SystemPool, Unanswered};
pub use check::{check, check_all};
pub use encryption::{
    Encryption, KeySource, LAST_PCR, RESETTABLE_PCRS, SECRET_KEY, SECRETS_KEY, Secret, is_hex_key,
    is_passphrase,
};
pub use hidden::{hide, restore};
pub use install::{AfterInstall, DiskSelector, Existing, Install, PoolChoice};
pub use merge::{ChangeCost, Document, Effective, Provenance, Rejected, Source, in_one, resolve};
pub use netboot::{AddressRange, Netboot};
pub use profile::{
    ArcLimit, CStates, CpuChoice, DeviceChoice, Governor, HugepageRule, IommuChoice, IrqPolicy, Mitigations,
    NodeChoice, NxHugePages, PStates, PageSize, Profile, ProfileCpu, ProfileIommu, ProfileKvm, ProfileMemory,
    ProfileMode, ProfilePower, RestartChoice, Smt, SriovRule, TransparentHugepages, VfioRule,
};
pub use schema::{
    Api, Boot, Console, FailureAction, Interface, InterfaceMatch, Logging, MachineConfig, Network, Time,
    Watchdog,
};
pub use storage::{
    Compression, DiskChoice, ImportPolicy, POOL_NAME_FORM, PoolLayout, PoolRule, StatePool, Storage,
    is_pool_name,
};
pub use update::{Update, is_update_key};
pub use validate::{Forward, parse_address, parse_forward, parse_token_hash};

/// A machine config document that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{source_name}{}: {message}", line.map(|n| format!(" line {n}")).unwrap_or_default())]
pub struct ConfigError {
    /// The document, as an operator would name it: a file, a URL, `axion.config= on the kernel command line`.
    pub source_name: String,
    /// Line in the document, from 1, where known.
    pub line: Option<usize>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Everything that is wrong with a document, line by line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigErrors(pub Vec<ConfigError>);
