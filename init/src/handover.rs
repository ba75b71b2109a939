//! What stage 1 tells stage 2.
//!
//! A file in the tmpfs that both see. It holds the text of config documents, so only root reads it, and stage 2
//! removes it once it was read.

use std::collections::BTreeMap;
use std::path::Path;

use axion_api::init::Phase;
use axion_core::config::{Document, Rejected, Source};
use axion_core::profile::Resolved;
use serde::{Deserialize, Serialize};

use crate::files::{self, Access, FileError};

const PATH: &str = "/run/axion/stage1.json";
/// What a kernel leaves for the one that it starts in its place, in that one's initramfs.
pub const CARRIED: &str = "/axion/documents.json";

/// What stage 1 found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Handover {
    /// Microseconds from the kernel's start to stage 1's first instruction.
    pub kernel_us: u64,
    /// Microseconds from the kernel's start to the hand-over itself.
    pub left_us: u64,
    /// Phases that have ended.
    pub phases: Vec<Phase>,
    /// Config documents, weakest first: where each came from, and its text.
    pub documents: Vec<(Source, String)>,
    /// Serial numbers of the volumes that documents came from, by device.
    pub volumes: BTreeMap<String, u32>,
    /// Documents that could not be had.
    pub rejected: Vec<Rejected>,
    /// The boot profile, planned for this machine.
    pub profile: Option<Resolved>,
}

/// The hand-over file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HandoverError {
    /// It cannot be written.
    #[error("cannot hand over to stage 2")]
    Write(#[from] FileError),
    /// It cannot be read.
    #[error("cannot read {PATH}, which stage 1 writes")]
    Read(#[source] std::io::Error),
    /// It is no JSON of this version.
    #[error("{PATH} is not what this version of axion-init writes")]
    Malformed(#[from] serde_json::Error),
}

impl Handover {
    /// Writes the file.
    ///
    /// # Errors
    /// `/run` cannot be written to.
    pub fn store(&self) -> Result<(), HandoverError> {
        let root_only = Access {
            uid: 0,
            gid: 0,
            mode: 0o600,
        };
        files::directory(
            Path::new(axion_core::paths::RUN),
            Access {
                mode: 0o755,
                ..root_only
            },
        )?;
        Ok(files::replace(
            Path::new(PATH),
            &serde_json::to_vec(self)?,
            root_only,
        )?)
    }

    /// Reads the file and removes it.
    ///
    /// # Errors
    /// It is not there, or is not stage 1's.
    pub fn take() -> Result<Self, HandoverError> {
        let text = std::fs::read(PATH).map_err(HandoverError::Read)?;
        let handover = serde_json::from_slice(&text)?;
        let _ = std::fs::remove_file(PATH);
        Ok(handover)
    }

    /// What outlasts this kernel: the documents. Times and the plan are the next one's own.
    pub fn to_carry(&self) -> Self {
        Self {
            documents: self.documents.clone(),
            rejected: self.rejected.clone(),
            volumes: self.volumes.clone(),
            ..Self::default()
        }
    }

    /// The documents as `core::config` takes them.
    pub fn documents(&self) -> Vec<Document> {
        let document = |(source, text): &(Source, String)| Document {
            source: source.clone(),
            text: text.clone(),
        };
        self.documents.iter().map(document).collect()
    }
}
