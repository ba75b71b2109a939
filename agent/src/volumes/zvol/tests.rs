//! Volumes on a pool, over an init that only says what it was asked.

use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Answer as Told, Call, Dataset, DatasetKind, Health, Pool};
use axion_api::vmm::VmmConfig;
use axion_api::volume::Volume;
use axum::http::StatusCode;

use crate::testing::Agent;

fn pool() -> Pool {
    Pool {
        name: "tank".to_owned(),
        guid: "1".to_owned(),
        state: Health::Online,
        detail: None,
        action: None,
        size: 100,
        allocated: 0,
        free: 100,
        fragmentation: None,
        ashift: None,
        autotrim: false,
        read_only: false,
        data_errors: 0,
        scan: None,
        vdevs: Vec::new(),
        holds_state: true,
    }
}

fn zvol(name: &str) -> Dataset {
    Dataset {
        name: name.to_owned(),
        kind: DatasetKind::Volume,
        used: 12_345,
        available: 0,
        referenced: 0,
        compress_ratio: String::new(),
        compression: String::new(),
        block_size: 16_384,
        atime: None,
        xattr: None,
        volume_size: Some(1 << 20),
        device: None,
        quota: None,
        reservation: None,
        mounted_at: None,
        origin: None,
        encryption: None,
        key: None,
        resume_token: None,
        created_unix_s: 0,
        system: true,
    }
}

/// An agent on a node with a pool, and the volume `data` on it.
async fn agent() -> Agent {
    let agent = Agent::new().await;
    agent.init.set_pools(vec![pool()]);
    agent.init.set_volumes(Vec::new());
    let made = agent.call("PUT", "/v1/volumes/data", r#"{"size":"1MiB"}"#).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    agent.init.set_volumes(vec![zvol("tank/axion/zvols/data")]);
    agent
}

/// What init was asked last, as JSON.
fn asked(agent: &Agent) -> serde_json::Value {
    let calls = agent.init.storage_calls();
    let changes = calls
        .iter()
        .rev()
        .find(|call| !matches!(call, Call::Pools | Call::Volumes));
    serde_json::to_value(changes.unwrap()).unwrap()
}

#[tokio::test]
async fn where_there_is_a_pool_a_volume_is_a_zvol() {
    let agent = agent().await;
    assert_eq!(
        asked(&agent),
        serde_json::json!({"call": "make-volume", "pool": "tank", "name": "data",
            "spec": {"size": "1MiB", "block_size": null, "reserved": false, "from": null}})
    );
    let shown: Volume = agent.call("GET", "/v1/volumes/data", "").await.json();
    assert_eq!(
        (shown.dataset.as_deref(), shown.allocated),
        (Some("tank/axion/zvols/data"), Some(12_345))
    );
    let grown = agent.call("PUT", "/v1/volumes/data", r#"{"size":"2MiB"}"#).await;
    assert_eq!(grown.status, StatusCode::OK, "{grown:?}");
    assert_eq!(asked(&agent)["call"], "grow-volume");
    let smaller = agent.call("PUT", "/v1/volumes/data", r#"{"size":"1MiB"}"#).await;
    assert_eq!(smaller.problem().status, 409);
    agent.call("DELETE", "/v1/volumes/data", "").await;
    assert_eq!(
        asked(&agent),
        serde_json::json!({"call": "destroy-volume", "pool": "tank", "name": "data"})
    );
    let file = r#"{"size":"1MiB","kind":"file"}"#;
    let made: Volume = agent.call("PUT", "/v1/volumes/data", file).await.json();
    assert_eq!((made.dataset, made.allocated), (None, Some(0)));
}

#[tokio::test]
async fn a_volume_is_forgotten_only_when_its_pool_is_gone() {
    let agent = agent().await;
    let path = "/v1/volumes/data?forget=true";
    let refused = agent.call("DELETE", path, "").await.problem();
    assert!(
        refused
            .detail
            .contains("pool `tank` of volume `data` is imported"),
        "{refused:?}"
    );
    agent.init.set_pools(Vec::new());
    assert_eq!(
        agent.call("DELETE", path, "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(asked(&agent)["call"], "make-volume", "nothing was destroyed");
    assert_eq!(
        agent.call("GET", "/v1/volumes/data", "").await.problem().status,
        404
    );
}

#[tokio::test]
async fn a_vm_gets_the_device_of_its_volume_and_nobody_sets_it_back_then() {
    let agent = agent().await;
    let spec = r#"{"disks":[{"volume":"data"}]}"#;
    agent.call("PUT", "/v1/vms/a", spec).await;
    let back = "/v1/volumes/data/snapshots/x/rollback";
    assert_eq!(agent.call("POST", back, "").await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        asked(&agent),
        serde_json::json!({"call": "rollback-volume", "pool": "tank", "name": "data", "snapshot": "x",
            "discard_newer": false})
    );
    agent.call("POST", "/v1/vms/a/start", "").await;
    agent
        .until("a", |vm| vm.status.state == axion_api::vm::VmState::Running)
        .await;
    let unit = agent.init.started().pop().unwrap();
    assert_eq!(
        (unit.volumes[0].name.as_str(), unit.volumes[0].pool.as_str()),
        ("data", "tank")
    );
    let config: VmmConfig = serde_json::from_slice(&unit.files[0].1).unwrap();
    assert_eq!(config.disks[0].path, "/dev/zvol/tank/axion/zvols/data");
    let refused = agent.call("POST", back, "").await.problem();
    assert_eq!(
        (refused.status, refused.detail.as_str()),
        (409, "volume `data` is a disk of VM `a`; stop it first")
    );
}

#[tokio::test]
async fn a_volume_begins_as_another_was() {
    let agent = agent().await;
    let spec = r#"{"size":"4MiB","from":"data@v1"}"#;
    let made = agent.call("PUT", "/v1/volumes/copy", spec).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    assert_eq!(asked(&agent)["spec"]["from"], "tank/axion/zvols/data@v1");
    for (spec, pointer) in [
        (r#"{"size":"4MiB","from":"none@v1"}"#, "/from"),
        (r#"{"size":"4MiB","from":"data@v1","pool":"fast"}"#, "/pool"),
        (r#"{"size":"4MiB","from":"data@v1","kind":"file"}"#, "/from"),
    ] {
        let problem = agent.call("PUT", "/v1/volumes/other", spec).await.problem();
        assert_eq!(problem.pointer.as_deref(), Some(pointer), "{problem:?}");
    }
    let stranger = zvol("tank/axion/zvols/other");
    agent.init.set_volumes(vec![stranger]);
    let problem = agent.call("PUT", "/v1/volumes/other", r#"{"size":"4MiB"}"#).await;
    assert_eq!(problem.problem().status, 409, "nobody's zvol is replaced");
}

#[tokio::test]
async fn snapshots_are_those_of_its_zvol() {
    let agent = agent().await;
    for (method, path, call) in [
        ("PUT", "/v1/volumes/data/snapshots/x", "put-snapshot"),
        ("DELETE", "/v1/volumes/data/snapshots/x", "destroy-snapshot"),
    ] {
        agent.call(method, path, "").await;
        let asked = asked(&agent);
        assert_eq!(
            (&asked["call"], &asked["name"]),
            (&call.into(), &"tank/axion/zvols/data@x".into())
        );
    }
    agent.init.answer_storage(Told::Snapshots(Vec::new()));
    agent.call("GET", "/v1/volumes/data/snapshots", "").await;
    assert_eq!(asked(&agent)["dataset"], "tank/axion/zvols/data");
    agent
        .call("PUT", "/v1/volumes/file", r#"{"size":"1MiB","kind":"file"}"#)
        .await;
    let none = agent.call("PUT", "/v1/volumes/file/snapshots/x", "").await;
    assert_eq!(none.problem().status, 409);
}

#[tokio::test]
async fn without_a_pool_a_zvol_cannot_be() {
    let agent = Agent::new().await;
    let spec = r#"{"size":"1MiB","kind":"zvol"}"#;
    let problem = agent.call("PUT", "/v1/volumes/a", spec).await.problem();
    assert_eq!((problem.status, problem.pointer.as_deref()), (422, Some("/kind")));
}

/// Whether init was asked to do this to a volume, last.
fn asks(agent: &Agent, call: &str, name: &str) -> bool {
    let asked = asked(agent);
    asked["call"] == call && asked["name"] == name
}

async fn until_asked(agent: &Agent, call: &str, name: &str) {
    while !asks(agent, call, name) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_volume_is_made_once_though_its_client_hangs_up_and_comes_again() {
    let agent = agent().await;
    let (path, spec) = ("/v1/volumes/other", r#"{"size":"1MiB"}"#);
    agent.init.hold_storage(true);
    let begun = |agent: &Agent| asks(agent, "make-volume", "other");
    agent.hang_up("PUT", path, spec, begun).await;
    let made = agent.init.storage_calls().len();
    agent.init.hold_storage(false);
    let again = agent.call("PUT", path, spec).await;
    assert_eq!(again.status, StatusCode::OK, "{again:?}");
    let further = agent.init.storage_calls().split_off(made);
    let makes = |call: &Call| matches!(call, Call::MakeVolume { .. });
    assert!(!further.iter().any(makes), "{further:?}");
}

#[tokio::test]
async fn a_volume_that_is_left_half_made_can_be_deleted_and_made_anew() {
    let agent = agent().await;
    let digest = {
        use sha2::Digest;
        format!("sha256:{}", hex::encode(sha2::Sha256::digest("an image")))
    };
    agent
        .call("PUT", &format!("/v1/images/{digest}"), "an image")
        .await;
    let path = "/v1/volumes/root";
    // It is made, cannot be opened, and is busy when it is to go.
    let fail = async || {
        agent.init.set_volumes(Vec::new());
        agent.init.hold_storage(true);
        let spec = format!(r#"{{"size":"1MiB","from":"{digest}"}}"#);
        let put = async { agent.call("PUT", path, &spec).await };
        let busy = async {
            until_asked(&agent, "make-volume", "root").await;
            agent
                .init
                .answer_storage(Told::Problem(Problem::new(Kind::Conflict, "busy")));
            agent.init.hold_storage(false);
        };
        let (answer, ()) = tokio::join!(put, busy);
        assert!(answer.problem().status >= 500);
        agent.init.set_volumes(vec![zvol("tank/axion/zvols/root")]);
        assert_eq!(agent.call("GET", path, "").await.status, StatusCode::NOT_FOUND);
    };
    fail().await;
    let deleted = agent.call("DELETE", path, "").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{deleted:?}");
    assert!(asks(&agent, "destroy-volume", "root"));
    assert_eq!(agent.call("DELETE", path, "").await.status, StatusCode::NOT_FOUND);
    fail().await;
    let made = agent.call("PUT", path, r#"{"size":"2MiB"}"#).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
}

#[tokio::test]
async fn while_a_volume_goes_all_else_goes_on_and_no_vm_gets_it() {
    let agent = agent().await;
    agent.init.hold_storage(true);
    let delete = agent.call("DELETE", "/v1/volumes/data", "");
    let others = async {
        until_asked(&agent, "destroy-volume", "data").await;
        let vm = agent.call("PUT", "/v1/vms/a", "{}").await;
        assert_eq!(vm.status, StatusCode::CREATED, "{vm:?}");
        let file = r#"{"size":"1MiB","kind":"file"}"#;
        let volume = agent.call("PUT", "/v1/volumes/file", file).await;
        assert_eq!(volume.status, StatusCode::CREATED, "{volume:?}");
        let wanted = r#"{"disks":[{"volume":"data"}]}"#;
        let refused = agent.call("PUT", "/v1/vms/b", wanted).await.problem();
        assert_eq!(
            (refused.status, refused.detail.as_str()),
            (409, "volume `data` is being deleted")
        );
        let twice = agent.call("DELETE", "/v1/volumes/data", "").await;
        assert_eq!(twice.problem().status, 409);
        agent.init.hold_storage(false);
    };
    let both = async { tokio::join!(delete, others) };
    let (deleted, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{deleted:?}");
}

#[tokio::test]
async fn no_vm_is_started_with_a_volume_that_is_being_set_back() {
    let agent = agent().await;
    agent
        .call("PUT", "/v1/vms/a", r#"{"disks":[{"volume":"data"}]}"#)
        .await;
    agent.init.hold_storage(true);
    let back = agent.call("POST", "/v1/volumes/data/snapshots/x/rollback", "");
    let start = async {
        until_asked(&agent, "rollback-volume", "data").await;
        let refused = agent.call("POST", "/v1/vms/a/start", "").await.problem();
        assert_eq!(refused.detail, "volume `data` is being set back");
        agent.init.hold_storage(false);
    };
    let both = async { tokio::join!(back, start) };
    let (back, ()) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert_eq!(back.status, StatusCode::NO_CONTENT, "{back:?}");
    let started = agent.call("POST", "/v1/vms/a/start", "").await;
    assert_eq!(started.status, StatusCode::ACCEPTED, "{started:?}");
}
