//! What only PID 1 can tell or do about a node in trouble.

use std::sync::Arc;
use std::time::Duration;

use axion_api::event::What;
use axion_api::problem::{Kind, Problem};
use axion_api::recovery::{Answer, Call, NoticeKind};

use crate::app::App;
use crate::audit::Call as Entry;
use crate::init::{Init, InitError};

/// Writes what init tells of rescue shells into the audit log, for as long as the agent runs.
pub async fn watch(app: Arc<App>) {
    let mut cursor = app.events.subscribe(None);
    while let Some(event) = app.events.next(&mut cursor).await {
        if let What::Notice {
            about: NoticeKind::Rescue,
            text,
        } = event.what
        {
            app.audit.record(&Entry {
                who: Some("console".to_owned()),
                peer: "local console".to_owned(),
                method: "RESCUE",
                target: &text,
                status: 200,
            });
        }
    }
}

/// How long a call may take: reading a disk, or running a few of ZFS's commands.
const LONGEST: Duration = Duration::from_secs(120);

/// What init answers; its refusal is the error.
pub async fn ask(init: &Init, call: &Call) -> Result<Answer, Problem> {
    let unreadable = |error: serde_json::Error| {
        let detail = format!("init and the agent do not understand each other: {error}");
        Problem::new(Kind::Internal, detail)
    };
    let text = serde_json::to_string(call).map_err(unreadable)?;
    let proxy = init.proxy()?;
    let late = |_| {
        let detail = format!("init did not finish within {} s; it may go on", LONGEST.as_secs());
        Problem::new(Kind::Unavailable, detail)
    };
    let answered = tokio::time::timeout(LONGEST, proxy.recovery(&text))
        .await
        .map_err(late)?;
    let answer = answered.map_err(InitError::from)?;
    match serde_json::from_str(&answer).map_err(unreadable)? {
        Answer::Problem(problem) => Err(problem),
        answer => Ok(answer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Agent;

    #[tokio::test]
    async fn a_rescue_shell_is_in_the_audit_log() {
        let agent = Agent::alone();
        let watching = tokio::spawn(watch(agent.app.clone()));
        tokio::task::yield_now().await;
        let text = "a rescue shell is opened on ttyS0".to_owned();
        agent.app.events.publish(What::Notice {
            about: NoticeKind::Rescue,
            text: text.clone(),
        });
        for _ in 0..1000 {
            tokio::task::yield_now().await;
            if agent.app.audit.tail(4096).await.unwrap().contains(&text) {
                watching.abort();
                return;
            }
        }
        panic!("it is not in the audit log");
    }
}
