//! Pools, datasets and snapshots: what PID 1 is asked for.
//!
//! The agent may not open a disk. What a request wants is one call of init, which runs `zpool` and `zfs`, and whose refusals are
//! problems already. ZFS itself is the store: nothing of this is kept here, so nothing can differ from what there is.

use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Answer, Call};

use crate::init::{Init, InitError};

/// How long a call may take: what init gives a command, a few of them.
const LONGEST: Duration = Duration::from_secs(600);

/// What init answers; its refusal is the error.
pub async fn ask(init: &Init, call: &Call) -> Result<Answer, Problem> {
    let text = serde_json::to_string(call).map_err(|error| unreadable(&error))?;
    let proxy = init.proxy()?;
    let answered = tokio::time::timeout(LONGEST, proxy.storage(&text)).await;
    let late = |_| {
        let detail = format!("ZFS did not finish within {} s; it may go on", LONGEST.as_secs());
        Problem::new(Kind::Unavailable, detail)
    };
    let answer = answered.map_err(late)?.map_err(InitError::from)?;
    told(&answer)
}

/// What an answer that is JSON says; a refusal is the error.
pub fn told(answer: &str) -> Result<Answer, Problem> {
    match serde_json::from_str(answer).map_err(|error| unreadable(&error))? {
        Answer::Problem(problem) => Err(problem),
        answer => Ok(answer),
    }
}

fn unreadable(error: &serde_json::Error) -> Problem {
    Problem::new(
        Kind::Internal,
        format!("init and the agent do not understand each other: {error}"),
    )
}

/// Has init do something that has no result.
pub async fn done(init: &Init, call: &Call) -> Result<(), Problem> {
    ask(init, call).await.map(drop)
}

/// What is said when init answers a question that was not asked.
pub fn unexpected() -> Problem {
    Problem::new(Kind::Internal, "init answered something else than was asked")
}

#[cfg(test)]
mod tests;
