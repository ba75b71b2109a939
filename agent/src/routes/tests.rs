use std::time::Duration;

use axion_api::profile::NextBoot;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use futures_util::StreamExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::auth::Peer;
use crate::testing::{Agent, TOKEN};

fn remote(address: [u8; 4]) -> Peer {
    Peer::Remote((address, 40_000).into())
}

fn get_with(path: &str, authorization: Option<&str>) -> Request<Body> {
    let mut request = Request::builder().uri(path);
    if let Some(value) = authorization {
        request = request.header("Authorization", value);
    }
    request.body(Body::empty()).unwrap()
}

#[test]
fn the_checked_in_document_is_current() {
    let checked_in = include_str!("../../../docs/openapi.json");
    assert!(
        openapi::generate().unwrap() == checked_in,
        "run: cargo run -p axion-agent -- --openapi > docs/openapi.json"
    );
}

#[tokio::test]
async fn every_documented_operation_is_there_and_guarded() {
    let agent = Agent::alone();
    let document: Value = agent.call("GET", "/openapi.json", "").await.json();
    let mut strangers = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        for method in operations
            .as_object()
            .unwrap()
            .keys()
            .map(|method| method.to_uppercase())
        {
            let uri = path.replace("{name}", "a").replace("{digest}", "sha256:00");
            let request = Request::builder()
                .method(method.as_str())
                .uri(&uri)
                .body(Body::empty())
                .unwrap();
            // Each from another address: too many from one are refused.
            strangers += 1;
            let [_, _, high, low] = u32::to_be_bytes(strangers);
            let answer = agent.send(remote([198, 18, high, low]), request).await;
            if ["/healthz", "/openapi.json"].contains(&path.as_str()) {
                assert_eq!(answer.status, StatusCode::OK, "{method} {path}");
            } else {
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
                assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
                answer.problem();
                if path == "/v1/events" {
                    // It does not end.
                    continue;
                }
                let inside = agent.call(&method, &uri, "").await.status;
                assert_ne!(inside, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_token_opens_and_a_wrong_one_is_slowed_down_for_its_peer_alone() {
    let agent = Agent::alone();
    let good = format!("Bearer {TOKEN}");
    let ask = async |peer, authorization: &str| {
        agent
            .send(remote(peer), get_with("/v1/images", Some(authorization)))
            .await
    };
    assert_eq!(ask([192, 0, 2, 1], &good).await.status, StatusCode::OK);
    assert_eq!(
        ask([192, 0, 2, 1], &good.replace("Bearer", "bearer"))
            .await
            .status,
        StatusCode::OK
    );
    for wrong in ["Bearer guess", "Basic eDp5", TOKEN] {
        assert_eq!(
            ask([192, 0, 2, 1], wrong).await.status,
            StatusCode::UNAUTHORIZED,
            "{wrong}"
        );
    }
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    for _ in 0..12 {
        ask([192, 0, 2, 1], "Bearer guess").await;
    }
    assert!(
        start.elapsed() > Duration::from_secs(2),
        "guessing takes its time"
    );
    for _ in 0..20 {
        ask([192, 0, 2, 1], "Bearer guess").await;
    }
    let refused = ask([192, 0, 2, 1], "Bearer guess").await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.header("retry-after").is_some());
    assert_eq!(ask([192, 0, 2, 2], &good).await.status, StatusCode::OK);
}

#[tokio::test]
async fn every_error_is_a_problem() {
    let agent = Agent::alone();
    for (method, path, body, status, detail) in [
        ("GET", "/", "", 404, "/openapi.json"),
        ("GET", "/v2/vms", "", 404, "no such route"),
        ("PATCH", "/v1/vms/a", "", 405, "PUT"),
        ("PUT", "/v1/vms/a", "{", 400, "no JSON"),
        ("PUT", "/v1/vms/a", "{} trailing", 400, "no JSON"),
        ("PUT", "/v1/vms/A", "{}", 422, "starting with a letter"),
        ("GET", "/v1/vms/%ff", "", 400, ""),
        ("GET", "/v1/host/logs?limit=many", "", 400, "limit"),
        ("GET", "/v1/host/logs?lines=1", "", 400, "lines"),
        ("GET", "/v1/host/logs?limit=5000", "", 422, "1 to 1000"),
        ("DELETE", "/v1/images/sha256:00", "", 422, "64 hex digits"),
        ("GET", "/v1/vms", "", 503, "init"),
        ("GET", "/v1/host", "", 503, "init"),
        ("POST", "/v1/host/power", r#"{"action":"reboot"}"#, 503, "init"),
        ("POST", "/v1/host/power", "", 422, "action"),
    ] {
        let answer = agent.call(method, path, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path}");
        let problem = answer.problem();
        assert!(
            problem.detail.contains(detail),
            "{method} {path}: {}",
            problem.detail
        );
    }
    let allow = agent.call("PATCH", "/v1/vms/a", "").await;
    assert!(
        allow
            .header("allow")
            .is_some_and(|allow| allow.contains("DELETE"))
    );
    let large = format!("{{\"boot\":{{\"cmdline\":\"{}\"}}}}", "x".repeat(300_000));
    assert_eq!(agent.call("PUT", "/v1/vms/a", &large).await.problem().status, 413);
}

#[tokio::test]
async fn a_bad_field_is_named() {
    let agent = Agent::alone();
    for (body, pointer, detail) in [
        (r#"{"cpus":"two"}"#, "/cpus", "u32"),
        (r#"{"memory":"128"}"#, "/memory", "2GiB"),
        (r#"{"hugepages":"4KiB"}"#, "/hugepages", "2MiB"),
        (r#"{"boot":{"kernel":7}}"#, "/boot/kernel", "string"),
        (r#"{"boot":{"cmdlime":""}}"#, "/boot/cmdlime", "cmdline"),
        (r#"{"memroy":"1GiB"}"#, "/memroy", "memory"),
        (r#"{"cpus":0}"#, "/cpus", "at least 1"),
        (r#"{"memory":"31MiB"}"#, "/memory", "32MiB"),
        (r#"{"boot":{"kernel":"none"}}"#, "/boot/kernel", "builtin"),
        (r#"{"boot":{"initrd":"/etc/shadow"}}"#, "/boot/initrd", "sha256"),
        (r#"{"boot":{"cmdline":"a\nb"}}"#, "/boot/cmdline", "ASCII"),
    ] {
        let answer = agent.call("PUT", "/v1/vms/a", body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        let problem = answer.problem();
        assert_eq!(
            problem.pointer.as_deref(),
            Some(pointer),
            "{body}: {}",
            problem.detail
        );
        assert!(problem.detail.contains(detail), "{body}: {}", problem.detail);
    }
}

#[tokio::test]
async fn changes_are_audited_and_so_are_refusals() {
    let agent = Agent::alone();
    let uri = format!("/v1/images/sha256:{}", "0".repeat(64));
    let stranger = Request::builder()
        .method("DELETE")
        .uri(&uri)
        .body(Body::empty())
        .unwrap();
    agent.send(remote([192, 0, 2, 9]), stranger).await;
    agent.call("DELETE", &uri, "").await;
    agent.call("GET", "/v1/images", "").await;
    let lines = agent.audit().await;
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[0]["who"], &lines[0]["status"]),
        (&Value::Null, &401.into())
    );
    assert_eq!(lines[0]["peer"], "192.0.2.9:40000");
    assert_eq!(
        (&lines[1]["who"], &lines[1]["status"]),
        (&"root".into(), &404.into())
    );
    assert_eq!(
        (&lines[1]["method"], &lines[1]["target"]),
        (&"DELETE".into(), &uri.as_str().into())
    );
}

#[tokio::test]
async fn strangers_do_not_fill_the_audit_log_and_wait_for_their_turn() {
    let agent = Agent::alone();
    let knock = async |last| {
        let request = Request::post(format!("/v1/{}", "x".repeat(30_000)));
        let request = request.body(Body::empty()).unwrap();
        agent.send(remote([192, 0, 2, last]), request).await.status
    };
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    for _ in 0..12 {
        assert_eq!(knock(1).await, StatusCode::UNAUTHORIZED);
    }
    assert!(start.elapsed() > Duration::from_secs(2));
    for _ in 0..20 {
        knock(1).await;
    }
    assert_eq!(knock(1).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(knock(2).await, StatusCode::UNAUTHORIZED);
    tokio::time::sleep(Duration::from_secs(120)).await;
    tokio::time::resume();
    agent.call("DELETE", "/v1/vms/a", "").await;
    let lines = agent.audit().await;
    assert!(lines.len() < 12, "{}", lines.len());
    assert!(
        lines
            .iter()
            .all(|line| line["target"].as_str().unwrap().len() <= 256)
    );
    assert!(lines.iter().any(|line| line["method"] == "REFUSED"));
    assert_eq!(lines.last().unwrap()["who"], "root");
}

#[tokio::test]
async fn a_change_whose_client_hangs_up_is_made_and_audited() {
    let agent = Agent::new().await;
    let path = "/v1/datasets/tank%2Fa";
    agent.init.hold_storage(true);
    let asked = |agent: &Agent| !agent.init.storage_calls().is_empty();
    agent.hang_up("DELETE", path, "", asked).await;
    assert!(agent.audit().await.is_empty());
    agent.init.hold_storage(false);
    agent.app.tasks.close();
    let ended = tokio::time::timeout(Duration::from_secs(20), agent.app.tasks.wait()).await;
    ended.expect("the agent waits for what was begun when it ends");
    let lines = agent.audit().await;
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["target"], &lines[0]["status"]),
        (&path.into(), &204.into())
    );
}

#[tokio::test]
async fn an_image_is_uploaded_by_its_digest() {
    let agent = Agent::alone();
    // printf 'a kernel' | sha256sum
    let digest = {
        use sha2::Digest;
        format!("sha256:{}", hex::encode(sha2::Sha256::digest("a kernel")))
    };
    let path = format!("/v1/images/{digest}");
    let wrong = agent.call("PUT", &path, "another").await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    wrong.problem();
    assert_eq!(
        agent.call("PUT", &path, "a kernel").await.status,
        StatusCode::CREATED
    );
    assert_eq!(agent.call("PUT", &path, "a kernel").await.status, StatusCode::OK);
    let images: Value = agent.call("GET", "/v1/images", "").await.json();
    assert_eq!(images, serde_json::json!([{ "digest": digest, "size": 8 }]));
    assert_eq!(
        agent.call("DELETE", &path, "").await.status,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn what_needs_no_init_works_without_it() {
    let agent = Agent::alone();
    let health = agent.call("GET", "/healthz", "").await;
    assert_eq!(health.json::<Value>(), serde_json::json!({ "status": "ok" }));
    let config: Value = agent.call("GET", "/v1/host/config", "").await.json();
    assert!(config["values"].is_array());
    assert_eq!(
        agent.call("GET", "/v1/host/processes", "").await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_boot_profile_is_planned_attested_and_previewed() {
    let agent = Agent::alone();
    let profile: axion_api::profile::HostProfile = agent.call("GET", "/v1/host/profile", "").await.json();
    assert_eq!(
        profile.attestation.items.len(),
        profile.plan.arguments.len() + profile.plan.actions.len() + 1,
        "each of the plan, and the TPM"
    );
    let plan = async |document: &str| agent.call("POST", "/v1/host/profile/plan", document).await;
    let document = "[profile]\npower.governor = \"auto\"\n[sysctl]\n\"vm.swappiness\" = \"1\"\n";
    let preview: axion_api::profile::ProfilePreview = plan(document).await.json();
    assert!(
        preview
            .plan
            .actions
            .iter()
            .any(|planned| planned.key == "sysctl.vm.swappiness")
    );
    assert_eq!(
        preview.next_boot,
        NextBoot::InForce,
        "balanced takes no kernel argument"
    );

    let problem = plan("[profile]\nmood = \"hpc\"\n").await.problem();
    assert_eq!(problem.status, 422);
    assert!(
        problem
            .detail
            .starts_with("the document line 2: unknown field `profile.mood`"),
        "{}",
        problem.detail
    );

    let document =
        "[profile]\ncpu.isolated = \"65000\"\nhugepages = [{ size = \"2MiB\", node = 999, count = 1 }]\n";
    let problem = plan(document).await.problem();
    let keys: Vec<&str> = problem
        .refusals
        .iter()
        .map(|refusal| refusal.key.as_str())
        .collect();
    assert_eq!(
        (problem.status, keys),
        (422, vec!["profile.cpu.isolated", "profile.hugepages[0].node"])
    );
}

#[tokio::test]
async fn the_node_is_described_by_init_and_the_kernel() {
    let agent = Agent::new().await;
    let host: axion_api::host::Host = agent.call("GET", "/v1/host", "").await.json();
    assert_eq!(host.hostname, "node1");
    assert!(host.memory.total > host.memory.available && host.memory.available > 0);
    let boot: Value = agent.call("GET", "/v1/host/boot", "").await.json();
    assert_eq!(
        (&boot["kernel_ms"], &boot["ready_ms"]),
        (&1500.into(), &2000.into())
    );
    let logs: Value = agent
        .call("GET", "/v1/host/logs?after=7&limit=1", "")
        .await
        .json();
    assert_eq!(
        (&logs[0]["sequence"], logs.as_array().unwrap().len()),
        (&8.into(), 1)
    );
    let power = agent
        .call("POST", "/v1/host/power", r#"{"action":"power-off"}"#)
        .await;
    assert_eq!((power.status, power.body.len()), (StatusCode::ACCEPTED, 0));
}

#[tokio::test]
async fn services_are_restarted_and_vms_are_not() {
    let agent = Agent::new().await;
    agent.init.add("console@tty1", false).await;
    agent.init.add("vm-a", true).await;
    agent.app.init.refresh().await.unwrap();
    let restart = async |name| {
        agent
            .call("POST", &format!("/v1/host/units/{name}/restart"), "")
            .await
    };
    assert_eq!(restart("console@tty1").await.status, StatusCode::ACCEPTED);
    assert!(restart("vm-a").await.problem().detail.contains("/v1/vms/a/reset"));
    assert_eq!(restart("nothing").await.problem().status, 404);
}

#[tokio::test]
async fn events_are_a_stream_that_a_reader_can_take_up_again() {
    let agent = Agent::new().await;
    let router = router(&agent.app);
    agent.call("PUT", "/v1/vms/a", "{}").await;
    agent.until("a", |_| true).await;
    let mut cursor = agent.app.events.subscribe(Some(0));
    agent.app.events.next(&mut cursor).await;
    let mut request = Request::builder().uri("/v1/events").header("Last-Event-ID", "0");
    request.extensions_mut().unwrap().insert(Peer::Local { uid: 0 });
    let response = router
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let frame = String::from_utf8(body.next().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(
        frame.contains("id: 1\n") && frame.contains("event: vm\n"),
        "{frame}"
    );
    let data = frame
        .lines()
        .find_map(|line| line.strip_prefix("data: "))
        .unwrap();
    let event: axion_api::event::Event = serde_json::from_str(data).unwrap();
    assert!(matches!(event.what, axion_api::event::What::Vm(vm) if vm.name == "a"));
    agent.app.closing.cancel();
    assert!(body.next().await.is_none(), "the stream ends with the agent");
}

#[tokio::test]
async fn the_boot_profile_is_put_in_force_again_by_init() {
    let agent = Agent::new().await;
    let applied: axion_api::profile::AppliedProfile =
        agent.call("POST", "/v1/host/profile/apply", "").await.json();
    assert_eq!(applied.done, ["sysctl.vm.swappiness"]);
    assert_eq!(applied.left.first().unwrap().reason, "a VM has it");
    let seen = agent.app.drift.last().unwrap().attestation;
    assert_eq!(
        seen, applied.attestation,
        "it is what readers of metrics see from then on"
    );
    let again = agent.call("POST", "/v1/host/profile/apply", "").await.problem();
    assert_eq!(again.status, 409);
}

#[tokio::test]
async fn a_proof_is_asked_of_init() {
    let agent = Agent::new().await;
    let start = async |body| agent.call("POST", "/v1/host/profile/proof", body).await;
    assert_eq!(start("").await.status, StatusCode::ACCEPTED);
    assert_eq!(start(r#"{"seconds":60}"#).await.status, StatusCode::ACCEPTED);
    let refused = start(r#"{"seconds":601}"#).await.problem();
    assert_eq!(
        (refused.status, refused.pointer.as_deref()),
        (422, Some("/seconds"))
    );
    assert_eq!(start(r#"{"seconds":1}"#).await.problem().status, 409);
    let proofs: axion_api::profile::HostProof = agent.call("GET", "/v1/host/profile/proof", "").await.json();
    assert!(!proofs.running);
    let devices: Value = agent.call("GET", "/v1/host/devices", "").await.json();
    assert!(devices.is_array());
}

#[tokio::test]
async fn a_factory_reset_is_previewed_confirmed_and_audited() {
    let agent = Agent::new().await;
    let plan: Value = agent
        .call("GET", "/v1/reset?scope=state&pools=true", "")
        .await
        .json();
    assert_eq!(
        (&plan["scope"], &plan["pools"], &plan["hostname"]),
        (&"state".into(), &true.into(), &"node1".into())
    );
    for bad in ["", "?scope=everything", "?scope=state&force=true"] {
        let answer = agent.call("GET", &format!("/v1/reset{bad}"), "").await;
        assert_eq!(answer.problem().status, 400, "{bad}");
    }
    let order = |confirm: &str| format!(r#"{{"scope":"all","confirm":"{confirm}"}}"#);
    let refused = agent.call("POST", "/v1/reset", &order("node2")).await.problem();
    assert_eq!(refused.pointer.as_deref(), Some("/confirm"));
    assert_eq!(
        agent.call("POST", "/v1/reset", r#"{"scope":"all"}"#).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(
        agent.call("POST", "/v1/reset", &order("node1")).await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(agent.audit().await.len(), 3);
    let asked = serde_json::to_value(agent.init.recovery_calls().pop()).unwrap();
    let request = serde_json::json!({"scope": "all", "pools": false, "confirm": "node1"});
    assert_eq!(asked["request"], request, "{asked}");
    assert_eq!(
        agent.call("DELETE", "/v1/reset", "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(agent.audit().await.len(), 4);
}
