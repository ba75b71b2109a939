//! What is asked of init.
//!
//! `Recovery` of `org.axion.Init1` takes the JSON of a [`Call`] and gives the JSON of an [`Answer`].

use serde::{Deserialize, Serialize};

use super::{ResetPlan, ResetRequest, ResetScope};
use crate::problem::Problem;

/// Something that only PID 1 can tell or do about a node in trouble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
pub enum Call {
    /// The kernel's own log, as far as the kernel keeps it.
    KernelLog,
    /// The slots of an installed node.
    Slots,
    /// USB sticks that a support bundle can be written to.
    Sticks,
    /// What a factory reset would do; nothing is changed.
    PlanReset {
        /// What is forgotten.
        scope: ResetScope,
        /// Whether pools are destroyed.
        pools: bool,
    },
    /// Orders a factory reset and restarts the machine, which carries it out.
    Reset {
        /// What is ordered.
        request: ResetRequest,
    },
    /// Withdraws what was ordered and is not done: the pools that it waits for stay as they are.
    CancelReset,
}

/// What came of a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    /// Text.
    Text(String),
    /// Slots.
    Slots(Vec<InstalledSlot>),
    /// USB sticks.
    Sticks(Vec<Stick>),
    /// What a factory reset would do.
    ResetPlan(Box<ResetPlan>),
    /// It is done.
    Done,
    /// It was refused, or it failed.
    Problem(Problem),
}

/// A slot of an installed node that holds an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledSlot {
    /// `a` or `b`.
    pub slot: String,
    /// Version of the image.
    pub version: String,
    /// The slot with the highest one is started.
    pub generation: u64,
    /// Whether the node was started from it.
    pub running: bool,
    /// Tries that are left and that were made; none: it is confirmed.
    pub tries: Option<(u32, u32)>,
    /// Kernel command line.
    pub options: String,
    /// Why it was given up, where it said so.
    pub verdict: Option<String>,
}

/// A FAT volume of a USB stick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stick {
    /// Its device: `sda1`.
    pub device: String,
    /// Model of the stick.
    pub disk: String,
    /// Its serial number.
    pub serial: Option<String>,
    /// Label of the volume.
    pub label: String,
    /// Bytes of the volume.
    pub size: u64,
}
