//! Measured boot: the boot profile in force is added to a register of the TPM, once.
//!
//! A boot may take two kernels: the first one's stage 1 decides about the second one's arguments and starts it in its own place.
//! Only the last kernel of a boot comes as far as stage 2, which is where this is; so whatever the way, a register that was
//! zero has one event in it. The record of it lies in [`paths::TPM_EVENTS`], and where that is, nothing is measured again.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axion_api::keys::{CONTENT_TYPE, EventContent, EventDigest, MeasuredEvent, PROFILE_PCR, profile_event};
use axion_core::paths;
use axion_tpm::{Identity, Pcrs, Tpm, extended};
use sha2::{Digest, Sha256};

use super::{PATIENCE, ROOT};
use crate::clock;
use crate::failure::chain;
use crate::node::Node;
use crate::sync::lock;

/// What became of it.
#[derive(Debug)]
pub enum Measured {
    /// The machine has no TPM.
    Absent,
    /// It has this one, and the profile is in it.
    Done(Identity),
    /// It did not do it: why, for people.
    Failed(String),
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Done(identity) => write!(
                f,
                "{} {}, boot profile in PCR {PROFILE_PCR}",
                identity.manufacturer, identity.firmware
            ),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// Stack of the thread that waits for the TPM, bytes.
const STACK: usize = 256 << 10;

/// Begins; nothing waits for its end but who wants something of the TPM.
pub fn begin(node: &Arc<Node>) {
    // A machine without a TPM pays with a look.
    if !Path::new(axion_tpm::DEVICE).exists() {
        return end(node, Measured::Absent);
    }
    let thread = std::thread::Builder::new()
        .name("tpm".to_owned())
        .stack_size(STACK);
    let work = {
        let node = node.clone();
        move || {
            let event = node
                .handover
                .profile
                .as_ref()
                .map_or_else(|| "axion-profile:unknown".to_owned(), profile_event);
            let measured = Tpm::open(Path::new(ROOT), PATIENCE)
                .map_err(Failed::from)
                .and_then(|tpm| measure(Path::new(ROOT), tpm, &event));
            let measured = measured.map_or_else(|error| Measured::Failed(chain(&*error)), Measured::Done);
            end(&node, measured);
        }
    };
    if let Err(error) = thread.spawn(work) {
        end(
            node,
            Measured::Failed(format!("no thread can be started: {error}")),
        );
    }
}

fn end(node: &Node, measured: Measured) {
    match &measured {
        Measured::Absent => {}
        Measured::Done(_) => node.log.info(&format!("TPM: {measured}")),
        Measured::Failed(why) => {
            node.log.error(&format!("TPM: the boot is not measured: {why}"));
            // A record without an event says that there will be none.
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(log_file(Path::new(ROOT)));
            drop(file);
        }
    }
    lock(&node.status).tpm = measured.to_string();
    let _ = node.keys.measured.set(measured);
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Measures, and writes it down.
fn measure(root: &Path, mut tpm: Tpm, event: &str) -> Result<Identity, Failed> {
    let identity = tpm.identity()?;
    if !events(root).is_empty() {
        return Ok(identity);
    }
    let register: Pcrs = [PROFILE_PCR].into_iter().collect();
    let before = tpm.read(register)?.first().copied().unwrap_or_default();
    tpm.measure(PROFILE_PCR, event.as_bytes())?;
    let after = tpm.read(register)?.first().copied().unwrap_or_default();
    if after != extended(&before, event.as_bytes()) {
        return Err(format!("PCR {PROFILE_PCR} holds something else than what was measured into it").into());
    }
    record(root, event)?;
    Ok(identity)
}

fn log_file(root: &Path) -> PathBuf {
    root.join(paths::TPM_EVENTS.trim_start_matches('/'))
}

/// Appends an event to the record, a line of JSON each.
fn record(root: &Path, event: &str) -> Result<(), Failed> {
    let boot_id = std::fs::read_to_string(root.join("proc/sys/kernel/random/boot_id")).unwrap_or_default();
    let event = MeasuredEvent {
        pcr: PROFILE_PCR,
        digests: vec![EventDigest {
            hash_alg: "sha256".to_owned(),
            digest: hex::encode(Sha256::digest(event.as_bytes())),
        }],
        content_type: CONTENT_TYPE.to_owned(),
        content: EventContent {
            event_type: "profile".to_owned(),
            string: event.to_owned(),
            boot_id: boot_id.trim().to_owned(),
            timestamp: clock::unix_us(),
        },
    };
    let line = format!("{}\n", serde_json::to_string(&event)?);
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_file(root))?;
    Ok(file.write_all(line.as_bytes())?)
}

/// What was measured in this boot.
pub fn events(root: &Path) -> Vec<MeasuredEvent> {
    let text = std::fs::read_to_string(log_file(root)).unwrap_or_default();
    let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
    events.collect()
}

#[cfg(test)]
mod tests;
