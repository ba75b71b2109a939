//! Requests, the call of init that each is, and what becomes of its answer.

use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Answer, Call, Dataset, DatasetKind, Snapshot};
use serde_json::Value;

use crate::testing::Agent;

fn dataset(name: &str) -> Box<Dataset> {
    Box::new(Dataset {
        name: name.to_owned(),
        kind: DatasetKind::Filesystem,
        used: 1,
        available: 2,
        referenced: 1,
        compress_ratio: "1.00".to_owned(),
        compression: "lz4".to_owned(),
        block_size: 131_072,
        atime: None,
        xattr: None,
        volume_size: None,
        device: None,
        quota: None,
        reservation: None,
        mounted_at: None,
        origin: None,
        encryption: None,
        key: None,
        resume_token: None,
        created_unix_s: 3,
        system: false,
    })
}

fn snapshot(name: &str) -> Snapshot {
    Snapshot {
        name: name.to_owned(),
        dataset: String::new(),
        snapshot: String::new(),
        guid: "1".to_owned(),
        used: 0,
        referenced: 0,
        created_unix_s: 0,
        clones: Vec::new(),
    }
}

#[tokio::test]
async fn each_request_is_one_call() {
    let agent = Agent::new().await;
    // Method, path, body, status; the call as JSON.
    let table = [
        (
            "DELETE",
            "/v1/pools/tank",
            "",
            204,
            r#"{"call":"destroy-pool","pool":"tank"}"#,
        ),
        (
            "POST",
            "/v1/pools/tank/export",
            "",
            204,
            r#"{"call":"export-pool","pool":"tank"}"#,
        ),
        (
            "POST",
            "/v1/pools/tank/scrub",
            "",
            202,
            r#"{"call":"scrub","pool":"tank","action":"start"}"#,
        ),
        (
            "POST",
            "/v1/pools/tank/scrub",
            r#"{"action":"pause"}"#,
            202,
            r#"{"call":"scrub","pool":"tank","action":"pause"}"#,
        ),
        (
            "POST",
            "/v1/pools/tank/replace",
            r#"{"device":"nvme0n1p1","disk":"serial:b"}"#,
            202,
            r#"{"call":"replace","pool":"tank","request":{"device":"nvme0n1p1","disk":"serial:b","erase":false}}"#,
        ),
        (
            "POST",
            "/v1/pools/tank/device",
            r#"{"device":"nvme0n1p1","action":"offline"}"#,
            204,
            r#"{"call":"device","pool":"tank","request":{"device":"nvme0n1p1","action":"offline"}}"#,
        ),
        (
            "DELETE",
            "/v1/datasets/tank%2Fa%2Fb?recursive=true",
            "",
            204,
            r#"{"call":"destroy-dataset","name":"tank/a/b","recursive":true}"#,
        ),
        (
            "POST",
            "/v1/datasets/tank%2Fs/load-key",
            r#"{"key":{"passphrase":"correct horse"}}"#,
            204,
            r#"{"call":"load-key","name":"tank/s","key":{"passphrase":"correct horse"}}"#,
        ),
        (
            "POST",
            "/v1/datasets/tank%2Fs/unload-key",
            "",
            204,
            r#"{"call":"unload-key","name":"tank/s"}"#,
        ),
        (
            "DELETE",
            "/v1/snapshots/tank%2Fa@monday",
            "",
            204,
            r#"{"call":"destroy-snapshot","name":"tank/a@monday","recursive":false}"#,
        ),
        (
            "POST",
            "/v1/snapshots/tank%2Fa@monday/rollback",
            r#"{"discard_newer":true}"#,
            204,
            r#"{"call":"rollback","name":"tank/a@monday","discard_newer":true}"#,
        ),
    ];
    for (method, path, body, status, call) in table {
        let answer = agent.call(method, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}: {answer:?}");
        let asked = agent.init.storage_calls().pop().unwrap();
        let wanted: Value = serde_json::from_str(call).unwrap();
        assert_eq!(serde_json::to_value(&asked).unwrap(), wanted, "{method} {path}");
    }
}

#[tokio::test]
async fn what_init_answers_is_passed_on() {
    let agent = Agent::new().await;
    agent
        .init
        .answer_storage(Answer::Dataset(dataset("tank/a"), true));
    let made = agent
        .call("PUT", "/v1/datasets/tank%2Fa", r#"{"quota":"1GiB"}"#)
        .await;
    assert_eq!(made.status.as_u16(), 201);
    assert_eq!(made.json::<Dataset>(), *dataset("tank/a"));
    agent
        .init
        .answer_storage(Answer::Dataset(dataset("tank/a"), false));
    assert_eq!(
        agent
            .call("PUT", "/v1/datasets/tank%2Fa", "")
            .await
            .status
            .as_u16(),
        200
    );
    agent
        .init
        .answer_storage(Answer::Snapshot(snapshot("tank/a@b"), true));
    assert_eq!(
        agent
            .call("PUT", "/v1/snapshots/tank%2Fa@b", "")
            .await
            .status
            .as_u16(),
        201
    );
    agent
        .init
        .answer_storage(Answer::Snapshots(vec![snapshot("tank/a@b")]));
    let listed = agent.call("GET", "/v1/snapshots?dataset=tank%2Fa", "").await;
    assert_eq!(listed.json::<Vec<Snapshot>>().len(), 1);
    let asked = agent.init.storage_calls().pop().unwrap();
    assert_eq!(
        asked,
        Call::Snapshots {
            dataset: Some("tank/a".to_owned())
        }
    );

    let refusal = Problem::new(Kind::Conflict, "`zpool export`: pool is busy");
    agent.init.answer_storage(Answer::Problem(refusal.clone()));
    let refused = agent.call("POST", "/v1/pools/tank/export", "").await;
    assert_eq!(refused.problem(), refusal);
    // An init of another version.
    agent.init.answer_storage(Answer::Disks(Vec::new()));
    assert_eq!(agent.call("GET", "/v1/pools", "").await.problem().status, 500);
}

#[tokio::test]
async fn a_body_that_is_not_understood_reaches_nobody() {
    let agent = Agent::new().await;
    let problem = agent
        .call(
            "PUT",
            "/v1/pools/tank",
            r#"{"layout":"mirror","disks":["/dev/sda"]}"#,
        )
        .await
        .problem();
    assert_eq!(
        (problem.status, problem.pointer.as_deref()),
        (422, Some("/disks/0"))
    );
    assert!(
        problem.detail.contains("`/dev/sda` is not `serial:`"),
        "{}",
        problem.detail
    );
    assert!(agent.init.storage_calls().is_empty());
}

#[tokio::test]
async fn what_is_changed_is_audited_and_keys_are_not() {
    let agent = Agent::new().await;
    let body = r#"{"key":{"passphrase":"correct horse"}}"#;
    agent.call("POST", "/v1/datasets/tank%2Fs/load-key", body).await;
    agent.app.audit.written().await;
    let audit = std::fs::read_to_string(agent.directory.path().join("state/audit.log")).unwrap();
    assert!(audit.contains("/v1/datasets/tank%2Fs/load-key"), "{audit}");
    assert!(!audit.contains("horse"), "{audit}");
}

#[tokio::test]
async fn without_init_it_is_said_so() {
    let agent = Agent::alone();
    assert_eq!(agent.call("GET", "/v1/pools", "").await.problem().status, 503);
}
