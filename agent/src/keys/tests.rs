use axion_api::keys::{Recovery, UnlockRequest};
use axion_api::storage::Key;
use axion_core::profile::{Plan, Standing};

use super::*;
use crate::testing::Agent;

#[tokio::test]
async fn each_request_is_one_call() {
    let agent = Agent::new().await;
    // Method, path, body, status; the call as JSON.
    let table = [
        (
            "POST",
            "/v1/host/tpm/seal",
            "{}",
            204,
            r#"{"call":"seal","request":{"dataset":null,"key":null}}"#,
        ),
        (
            "POST",
            "/v1/host/state/unlock",
            r#"{"key":{"passphrase":"correct horse"}}"#,
            202,
            r#"{"call":"unlock","request":{"key":{"passphrase":"correct horse"},"seal":true}}"#,
        ),
    ];
    for (method, path, body, status, call) in table {
        let answer = agent.call(method, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        let call: Call = serde_json::from_str(call).unwrap();
        assert_eq!(agent.init.key_calls(), [call], "{path}");
    }
}

#[tokio::test]
async fn a_refusal_of_init_is_the_answer() {
    let agent = Agent::new().await;
    let none = Problem::new(
        Kind::NotFound,
        "there is no recovery passphrase that was not shown yet",
    );
    agent.init.answer_keys(Answer::Problem(none));
    let answer = agent.call("POST", "/v1/host/state/recovery", "").await;
    assert_eq!(answer.problem().status, 404);
}

#[tokio::test]
async fn the_recovery_passphrase_is_told_until_it_is_noted() {
    let agent = Agent::new().await;
    for (method, status, forget) in [("POST", 200, false), ("POST", 200, false), ("DELETE", 204, true)] {
        let recovery = Recovery {
            pool: "tank".to_owned(),
            passphrase: "0123-4567".to_owned(),
        };
        agent.init.answer_keys(Answer::Recovery(recovery));
        let answer = agent.call(method, "/v1/host/state/recovery", "").await;
        assert_eq!(answer.status.as_u16(), status, "{method}");
        assert_eq!(agent.init.key_calls(), [Call::Recovery { forget }], "{method}");
        match method {
            "POST" => assert_eq!(answer.json::<Recovery>().passphrase, "0123-4567"),
            _ => assert!(answer.body.is_empty()),
        }
    }
}

#[tokio::test]
async fn a_secret_is_in_no_record_of_the_call() {
    let agent = Agent::new().await;
    let request = UnlockRequest {
        key: Key::Passphrase("correct horse".to_owned()),
        seal: false,
    };
    let body = serde_json::to_string(&request).unwrap();
    agent.call("POST", "/v1/host/state/unlock", &body).await;
    let answer = agent
        .call("POST", "/v1/host/state/unlock", "{\"key\":{\"passphrase\":1}}")
        .await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("horse"));
    let lines = agent.audit().await;
    assert_eq!(lines.len(), 2);
    assert!(!format!("{lines:?}").contains("horse"), "{lines:?}");
}

fn resolved() -> Resolved {
    Resolved {
        standing: Standing::Off,
        plan: Plan::default(),
        refusals: Vec::new(),
    }
}

#[test]
fn a_profile_that_was_measured_is_attested() {
    let root = tempfile::tempdir().unwrap();
    let state = || {
        let item = attested(root.path(), &resolved());
        (item.effective, item.state)
    };
    assert_eq!(state(), ("no TPM".to_owned(), ItemState::Ok));
    std::fs::create_dir_all(root.path().join("dev")).unwrap();
    std::fs::write(root.path().join("dev/tpmrm0"), "").unwrap();
    assert_eq!(state(), ("being measured".to_owned(), ItemState::Ok));
    let record = root.path().join("run/axion/tpm-events.json");
    std::fs::create_dir_all(record.parent().unwrap()).unwrap();
    std::fs::write(&record, "").unwrap();
    assert_eq!(state(), ("not measured".to_owned(), ItemState::NeedsReboot));
    let line = |event: &str| {
        format!(
            "{{\"pcr\":15,\"digests\":[],\"content_type\":\"axion\",\"content\":{{\"eventType\":\"profile\",\
             \"string\":\"{event}\",\"bootId\":\"b\",\"timestamp\":1}}}}\n"
        )
    };
    std::fs::write(&record, line(&profile_event(&resolved()))).unwrap();
    assert_eq!(state(), ("measured into PCR 15".to_owned(), ItemState::Ok));
    std::fs::write(&record, line("axion-profile:sha256:00")).unwrap();
    assert_eq!(state().1, ItemState::NeedsReboot);
}
