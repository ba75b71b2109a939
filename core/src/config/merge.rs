//! Sources, merging and provenance.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::check::read;
use super::place::Place;
use super::{ConfigError, MachineConfig, SECRET_KEY, SECRETS_KEY, Secret};

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
    /// What this version does not know and has left out; the rest of these documents is in force.
    #[serde(default)]
    pub ignored: Vec<Rejected>,
}

/// A document that was refused, or something in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Which.
    pub source: Source,
    /// Line from 1, where known.
    pub line: Option<usize>,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// Checks each document, drops the ones with an error, leaves out what only later versions know, and merges the others over the
/// defaults, weakest source first.
///
/// Tables are merged key by key, arrays are replaced whole. A key without a default that nobody gave (`console.log`) has
/// no provenance.
pub fn resolve(documents: &[Document]) -> Effective {
    let mut ordered: Vec<&Document> = documents.iter().collect();
    ordered.sort_by_key(|document| document.source.rank());

    let (mut rejected, mut ignored) = (Vec::new(), Vec::new());
    let mut merged = Merged::default();
    // The defaults hold nothing that TOML cannot: the empty table is never taken.
    merged.add(
        toml::Table::try_from(MachineConfig::default()).unwrap_or_default(),
        &Source::Default,
    );
    for document in ordered {
        let name = document.source.to_string();
        match read(&document.text, &name) {
            Ok(known) => {
                merged.add(known.table, &document.source);
                let left_out = known.left_out.into_iter();
                ignored.extend(left_out.map(|error| error.rejected(document.source.clone())));
            }
            Err(error) => rejected.push(error.rejected(document.source.clone())),
        }
    }
    match MachineConfig::deserialize(merged.table) {
        Ok(config) => Effective {
            config,
            provenance: merged.provenance,
            rejected,
            ignored,
        },
        // Valid documents merge to a valid one, as no rule spans documents; should one ever, the defaults hold.
        Err(error) => {
            let whole = ConfigError::without_line("the merged machine config", error.message());
            rejected.extend(documents.iter().map(|d| whole.clone().rejected(d.source.clone())));
            Effective {
                rejected,
                ..resolve(&[])
            }
        }
    }
}

/// What the documents say, those with an error left out, as one document to be kept on a disk: without the table `left_out`,
/// and without keys of what is on that disk and on others.
pub fn in_one(documents: &[Document], left_out: &str) -> String {
    let mut ordered: Vec<&Document> = documents.iter().collect();
    ordered.sort_by_key(|document| document.source.rank());
    let mut merged = toml::Table::new();
    for document in ordered {
        if let Ok(known) = read(&document.text, "") {
            merge(&mut merged, known.table);
        }
    }
    merged.remove(left_out);
    remove(&mut merged, SECRET_KEY);
    remove(&mut merged, SECRETS_KEY);
    merged.to_string()
}

/// Removes the value at a dotted key.
fn remove(table: &mut toml::Table, key: &str) {
    match key.split_once('.') {
        None => drop(table.remove(key)),
        Some((first, rest)) => {
            if let Some(toml::Value::Table(below)) = table.get_mut(first) {
                remove(below, rest);
            }
        }
    }
}

/// Documents merged so far.
#[derive(Default)]
struct Merged {
    table: toml::Table,
    provenance: BTreeMap<String, Provenance>,
}

impl Merged {
    fn add(&mut self, table: toml::Table, source: &Source) {
        record(&table, &Place::default(), source, &mut self.provenance);
        merge(&mut self.table, table);
    }
}

fn merge(base: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(table)) => merge(below, table),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn record(table: &toml::Table, above: &Place, source: &Source, into: &mut BTreeMap<String, Provenance>) {
    for (key, value) in table {
        let place = above.key(key);
        match value {
            toml::Value::Table(below) => record(below, &place, source, into),
            leaf => {
                let change = ChangeCost::of(&place);
                let is_secret = [SECRET_KEY, SECRETS_KEY].contains(&above.to_string().as_str())
                    || place.to_string() == SECRET_KEY;
                let value = if is_secret {
                    format!("\"{}\"", Secret::HIDDEN)
                } else {
                    leaf.to_string()
                };
                let entry = Provenance {
                    value,
                    source: source.clone(),
                    change,
                };
                into.insert(place.to_string(), entry);
            }
        }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(" line {line}")).unwrap_or_default();
        write!(f, "{}{line}: {}", self.source, self.message)
    }
}

impl Source {
    /// Later wins.
    fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Volume(_) => 1,
            Self::Installed(_) => 2,
            Self::CommandLine(_) => 3,
        }
    }
}

impl ChangeCost {
    /// What changing the value at `place` takes.
    fn of(place: &Place) -> Self {
        match place.section() {
            // Init has read it.
            "console" if place.to_string() == "console.rescue_shell" => Self::Reboot,
            // Certificates carry the host name; listeners and terminals are opened once.
            "hostname" | "api" | "console" => Self::RestartService,
            // A module that is no longer wanted cannot safely be unloaded, a kernel setting that is no longer given
            // has no value to go back to.
            // What a boot server serves is kept while the node starts.
            "version" | "modules" | "sysctl" | "install" | "update" | "netboot" => Self::Reboot,
            // Pools are imported and made while the node starts.
            "storage" if place.to_string() != "storage.scrub" => Self::Reboot,
            "profile" => Self::of_profile(&place.to_string()),
            _ => Self::Live,
        }
    }

    /// What is a kernel argument, or is set before its users start, takes a reboot.
    fn of_profile(key: &str) -> Self {
        match key {
            "profile.cpu.irqs"
            | "profile.power.governor"
            | "profile.power.c_states"
            | "profile.memory.transparent_hugepages"
            | "profile.memory.arc_limit"
            | "profile.kvm.nx_huge_pages"
            | "profile.kvm.halt_poll_us" => Self::Live,
            _ => Self::Reboot,
        }
    }
}

impl ConfigError {
    pub(super) fn without_line(source_name: &str, message: &str) -> Self {
        Self {
            source_name: source_name.to_owned(),
            line: None,
            message: message.to_owned(),
        }
    }

    /// The same as a record of what was refused.
    pub fn rejected(self, source: Source) -> Rejected {
        Rejected {
            source,
            line: self.line,
            message: self.message,
        }
    }
}
