//! Installation by a person at the console: `Install` of `org.axion.Init1` takes the JSON of a [`Call`] and gives the JSON of an
//! [`Answer`].
//!
//! ```text
//! Offer ─ disks, interfaces, what is in force        Plan(answers) ─ what is wrong, by field │ summary and its word
//! Perform(answers, word) ─ begun; Status tells how far it is ─ done or failed, until Dismiss
//! ```

use axion_core::config::{NodeAnswers, PoolChoice, Unanswered};
use serde::{Deserialize, Serialize};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Call {
    /// Whether there is anything to ask, and how far an installation is.
    Status,
    /// What can be chosen.
    Offer,
    /// What would happen.
    Plan(Answers),
    /// Install: answers, and the word that their summary has.
    Perform(Box<Answers>, String),
    /// The end of the last installation was seen.
    Dismiss,
}

/// What comes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// To [`Call::Status`] and [`Call::Dismiss`].
    Status(Status),
    /// To [`Call::Offer`].
    Offer(Offer),
    /// To [`Call::Plan`].
    Summary(Summary),
    /// To [`Call::Plan`] and [`Call::Perform`]: nothing is written, for these reasons.
    Refused(Vec<Unanswered>),
    /// To [`Call::Perform`]: writing has begun.
    Begun,
    /// The call cannot be answered.
    Failed(String),
}

/// Whether and how far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// This node can be installed: it was not started from an installed disk.
    pub offered: bool,
    /// It was started to be installed.
    pub asked: bool,
    /// The last installation, until it was dismissed.
    pub progress: Option<Progress>,
}

/// How far an installation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It is under way.
    Running {
        /// What is being done.
        step: String,
        /// Of the image.
        percent: u8,
    },
    /// It is done; the disk.
    Done(String),
    /// It has failed; why.
    Failed(String),
}

/// What can be chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// Disks; boot media are not among them.
    pub disks: Vec<OfferedDisk>,
    /// Interfaces.
    pub interfaces: Vec<OfferedInterface>,
    /// What is in force.
    pub node: NodeAnswers,
    /// The config in force names interfaces.
    pub config_has_interfaces: bool,
    /// The config in force declares pools.
    #[serde(default)]
    pub config_has_pools: bool,
}

/// A disk that may be chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedDisk {
    /// `serial:…`, `wwid:…` or `pci:…`: the same after a restart.
    pub id: String,
    /// Size, for people.
    pub size: String,
    /// Model.
    pub model: String,
    /// What is on it, for people; empty: nothing that is known.
    pub contents: String,
    /// It holds a pool that may stay where it is.
    pub keeps_pool: bool,
    /// It holds a pool.
    pub has_pool: bool,
    /// Why it cannot be chosen, where it cannot.
    pub unfit: Option<String>,
}

/// An interface.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferedInterface {
    /// Name in this boot.
    pub name: String,
    /// MAC address.
    pub mac: String,
    /// Whether a cable with a partner is there.
    pub link: bool,
}

/// What a person has answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answers {
    /// [`OfferedDisk::id`].
    pub disk: String,
    /// What becomes of a pool on it.
    pub pool: PoolChoice,
    /// [`OfferedDisk::id`] of a second disk that holds the same; empty: none. A pool on it stays where it is, or is in the way.
    pub mirror: String,
    /// The node.
    pub node: NodeAnswers,
}

/// What would happen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Lines for people.
    pub text: String,
    /// The word to type: it changes with everything that is going to be written.
    pub token: String,
}
