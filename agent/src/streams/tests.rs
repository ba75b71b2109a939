use axum::http::StatusCode;
use futures_util::TryStreamExt;

use super::*;
use crate::testing::Agent;

const SEND: &str = "/v1/snapshots/tank%2Fa@x/stream?from=w&raw=true";
const RECEIVE: &str = "/v1/datasets/tank%2Fb/receive?resumable=true";

fn refusal() -> Problem {
    Problem::new(Kind::Conflict, "`zfs`: it is busy")
}

#[tokio::test]
async fn a_snapshot_is_an_answers_body() {
    let agent = Agent::new().await;
    let sent = vec![7; 3 << 20];
    agent.init.sends(&sent);
    let begun = send(&agent.app.init, "tank/a@x".to_owned(), SendOptions::default()).await;
    let parts: Vec<Bytes> = begun.unwrap().try_collect().await.unwrap();
    assert_eq!(parts.concat(), sent);
    agent.init.sends(b"short");
    let answer = agent.call("GET", SEND, "").await;
    assert_eq!(
        (answer.status, answer.body.as_slice()),
        (StatusCode::OK, &b"short"[..])
    );
    let asked = serde_json::to_value(agent.init.streams().pop().unwrap()).unwrap();
    assert_eq!(
        asked,
        serde_json::json!({"stream": "send", "name": "tank/a@x", "options": {"from": "w", "raw": true}})
    );
}

#[tokio::test]
async fn what_is_refused_is_a_problem_and_what_breaks_off_no_whole() {
    let agent = Agent::new().await;
    agent.init.answer_storage(Answer::Problem(refusal()));
    assert_eq!(agent.call("GET", SEND, "").await.problem(), refusal());
    agent.init.sends(b"a part");
    agent.init.answer_storage(Answer::Problem(refusal()));
    let begun = send(&agent.app.init, "tank/a@x".to_owned(), SendOptions::default()).await;
    let parts: Result<Vec<Bytes>, _> = begun.unwrap().try_collect().await;
    assert_eq!(parts.unwrap_err().to_string(), "`zfs`: it is busy");
}

#[tokio::test]
async fn a_requests_body_becomes_a_dataset() {
    let agent = Agent::new().await;
    agent.init.answer_storage(Answer::Problem(refusal()));
    assert_eq!(agent.call("POST", RECEIVE, "stream").await.problem(), refusal());
    assert_eq!(agent.init.received(), b"stream");
    let asked = serde_json::to_value(agent.init.streams().pop().unwrap()).unwrap();
    assert_eq!(
        asked,
        serde_json::json!({"stream": "receive", "name": "tank/b",
            "options": {"resumable": true, "discard_changes": false}})
    );
    agent.call("DELETE", "/v1/datasets/tank%2Fb/receive", "").await;
    let call = agent.init.storage_calls().pop().unwrap();
    assert_eq!(
        call,
        axion_api::storage::Call::AbortReceive {
            name: "tank/b".to_owned()
        }
    );
}

#[tokio::test]
async fn a_sender_that_goes_away_ends_the_stream() {
    let agent = Agent::new().await;
    let body = futures_util::stream::iter([Ok(Bytes::from_static(b"half")), Err("gone")]);
    agent.init.answer_storage(Answer::Problem(refusal()));
    let options = ReceiveOptions::default();
    let ended = receive(&agent.app.init, "tank/b".to_owned(), options, body).await;
    let problem = ended.unwrap_err();
    assert_eq!(
        (problem.status, problem.detail.as_str()),
        (400, "the body ended early: gone")
    );
    assert_eq!(agent.init.received(), b"half");
}
