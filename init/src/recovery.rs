//! What the agent and the console ask about a node in trouble.

mod slots;
mod sticks;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use axion_api::problem::{Kind, Problem};
use axion_api::recovery::{Answer, Call};

use axion_core::paths;

use crate::log::kernel_log;
use crate::node::Node;
use crate::reset;
use crate::storage::on_thread;

const ROOT: &str = "/";

/// Answers a call, JSON both ways.
pub async fn serve(node: &Arc<Node>, call: &str) -> String {
    let answer = match serde_json::from_str(call) {
        Ok(call) => perform(node, call).await.unwrap_or_else(Answer::Problem),
        Err(error) => Answer::Problem(Problem::new(
            Kind::Malformed,
            format!("not a call about recovery: {error}"),
        )),
    };
    // Answers hold nothing that JSON cannot.
    serde_json::to_string(&answer).unwrap_or_default()
}

/// An answer as JSON.
pub fn answer(done: Result<(), Problem>) -> String {
    let answer = done.map_or_else(Answer::Problem, |()| Answer::Done);
    // Answers hold nothing that JSON cannot.
    serde_json::to_string(&answer).unwrap_or_default()
}

/// Writes to a USB stick, for the console alone: whoever is at the far end of a network has no stick here.
pub async fn save(uid: u32, device: String, name: String, content: OwnedFd) -> String {
    if ![0, paths::UID_CONSOLE].contains(&uid) {
        let detail = "sticks are written to from the console alone";
        return answer(Err(Problem::new(Kind::Forbidden, detail)));
    }
    let saved = on_thread(move || sticks::save(Path::new(ROOT), &device, &name, File::from(content)));
    answer(saved.await.map_err(internal).flatten().map(drop))
}

async fn perform(node: &Arc<Node>, call: Call) -> Result<Answer, Problem> {
    match call {
        Call::KernelLog => {
            let read = on_thread(kernel_log).await.map_err(internal)?;
            read.map(Answer::Text)
                .map_err(|error| internal(format!("the kernel log cannot be read: {error}")))
        }
        Call::PlanReset { scope, pools } => {
            let plan = reset::preview(node, scope, pools).await?;
            Ok(Answer::ResetPlan(Box::new(plan)))
        }
        Call::Reset { request } => reset::reset(node, request).await.map(|()| Answer::Done),
        Call::CancelReset => reset::cancel(node).await.map(|()| Answer::Done),
        Call::Sticks => {
            let found = on_thread(|| sticks::find(Path::new(ROOT)))
                .await
                .map_err(internal)?;
            Ok(Answer::Sticks(found))
        }
        Call::Slots => slots::tell(&node.cmdline).await.map(Answer::Slots),
    }
}

fn internal(error: impl std::fmt::Display) -> Problem {
    Problem::new(Kind::Internal, error.to_string())
}
