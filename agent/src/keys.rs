//! The TPM and the keys that it keeps: what PID 1 is asked for. Nothing of it is kept here.

use std::path::Path;
use std::time::Duration;

use axion_api::keys::{Answer, Call, MeasuredEvent, PROFILE_PCR, profile_event};
use axion_api::problem::{Kind, Problem};
use axion_core::paths;
use axion_core::profile::{Item, ItemState, Resolved};

use crate::app::App;

/// How long a call may take: a few conversations with a slow TPM, and a key that is derived of a passphrase.
const LONGEST: Duration = Duration::from_secs(120);

/// What init answers; its refusal is the error.
pub async fn ask(app: &App, call: &Call) -> Result<Answer, Problem> {
    // The text may hold a secret, which no message repeats.
    let unreadable = |_: serde_json::Error| {
        Problem::new(Kind::Internal, "init and the agent do not understand each other")
    };
    let text = serde_json::to_string(call).map_err(unreadable)?;
    let proxy = app.init.proxy()?;
    let late = |_| {
        let detail = format!("init did not finish within {} s; it may go on", LONGEST.as_secs());
        Problem::new(Kind::Unavailable, detail)
    };
    let answered = tokio::time::timeout(LONGEST, proxy.keys(&text))
        .await
        .map_err(late)?;
    let answer = answered.map_err(crate::init::InitError::from)?;
    match serde_json::from_str(&answer).map_err(unreadable)? {
        Answer::Problem(problem) => Err(problem),
        answer => Ok(answer),
    }
}

/// Whether the boot profile was measured into the TPM, as an item of its attestation. A machine without one has promised nothing.
pub fn attested(root: &Path, resolved: &Resolved) -> Item {
    let below = |path: &str| root.join(path.trim_start_matches('/'));
    let record = std::fs::read_to_string(below(paths::TPM_EVENTS));
    let events = record.iter().flat_map(|record| record.lines());
    let mut events = events.filter_map(|line| serde_json::from_str::<MeasuredEvent>(line).ok());
    let found = events.find(|event| event.pcr == PROFILE_PCR);
    let measured = format!("measured into PCR {PROFILE_PCR}");
    let (effective, state) = match (found, &record) {
        (Some(event), _) if event.content.string == profile_event(resolved) => {
            (measured.clone(), ItemState::Ok)
        }
        (Some(event), _) => (
            format!("PCR {PROFILE_PCR} has {}", event.content.string),
            ItemState::NeedsReboot,
        ),
        (None, Ok(_)) => ("not measured".to_owned(), ItemState::NeedsReboot),
        (None, Err(_)) if below("/dev/tpmrm0").exists() => ("being measured".to_owned(), ItemState::Ok),
        (None, Err(_)) => ("no TPM".to_owned(), ItemState::Ok),
    };
    Item {
        key: "tpm".to_owned(),
        desired: measured,
        effective,
        fix: (state != ItemState::Ok).then(|| "see `axctl tpm show`".to_owned()),
        state,
    }
}

#[cfg(test)]
mod tests;
