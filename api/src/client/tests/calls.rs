use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::client::{ImageFile, Precondition, UpdateFile};
use crate::event::What;
use crate::host::PowerAction;
use crate::profile::NextBoot;
use crate::update::{MirrorRequest, StageRequest};
use crate::vm::{VmSpec, VmState};

const VM: &str = r#"{"name":"web","revision":7,"spec":{},"desired":"running",
    "status":{"state":"starting","pid":null,"since_unix_us":0,"exit":null}}"#;

#[tokio::test]
async fn a_name_stays_one_segment_of_the_path() {
    let node = Local::new(|_| json(VM));
    node.client.vm("../host?x=ä").await.unwrap();
    assert_eq!(node.request().uri(), "/v1/vms/..%2Fhost%3Fx%3D%C3%A4");
}

#[tokio::test]
async fn a_local_call_carries_no_token() {
    let node = Local::new(|_| json("[]"));
    assert!(node.client.vms().await.unwrap().is_empty());
    let request = node.request();
    assert_eq!(request.headers()["host"], "localhost");
    assert!(!request.headers().contains_key("authorization"));
}

#[tokio::test]
async fn preconditions_are_headers() {
    for (only_if, header, value) in [
        (Precondition::Absent, "if-none-match", "*"),
        (Precondition::Revision(7), "if-match", "\"7\""),
    ] {
        let node = Local::new(|_| json(VM));
        let vm = node
            .client
            .put_vm("web", &VmSpec::default(), only_if)
            .await
            .unwrap();
        assert_eq!((vm.revision, vm.status.state), (7, VmState::Starting));
        let request = node.request();
        assert_eq!(request.method(), "PUT");
        assert_eq!(request.headers()[header], value);
        assert_eq!(
            serde_json::from_slice::<VmSpec>(request.body()).unwrap(),
            VmSpec::default()
        );
    }
}

const PREVIEW: &str = r#"{"plan":{"mode":"hpc","housekeeping":"0","isolated":"1-3","arguments":[],"actions":[],"notes":[]},
        "command_line":"quiet","overridden":[],"next_boot":"kexec","attestation":{"state":"ok","items":[]}}"#;

#[tokio::test]
async fn a_config_is_sent_as_it_is() {
    let node = Local::new(|_| json(PREVIEW));
    let document = "[profile]\nmode = \"hpc\"\n";
    let preview = node.client.plan_profile(document).await.unwrap();
    assert_eq!(
        (preview.next_boot, preview.plan.isolated.len()),
        (NextBoot::Kexec, 3)
    );
    let request = node.request();
    assert_eq!(
        (request.method().as_str(), request.uri().path()),
        ("POST", "/v1/host/profile/plan")
    );
    assert_eq!(request.headers()["content-type"], "application/toml");
    assert_eq!(request.body(), document);
}

#[tokio::test]
async fn verbs_and_their_bodies() {
    let node = Local::new(|_| json(VM));
    node.client.start_vm("web").await.unwrap();
    node.client.stop_vm("web", true).await.unwrap();
    node.client.delete_vm("web", true).await.unwrap();
    node.client.power(PowerAction::PowerOff).await.unwrap();
    node.client.restart_unit("console@ttyS0").await.unwrap();
    let seen: Vec<(String, String)> = node
        .seen
        .lock()
        .unwrap()
        .iter()
        .map(|r| {
            (
                format!("{} {}", r.method(), r.uri()),
                String::from_utf8(r.body().to_vec()).unwrap(),
            )
        })
        .collect();
    let expected = [
        ("POST /v1/vms/web/start", ""),
        ("POST /v1/vms/web/stop", r#"{"force":true}"#),
        ("DELETE /v1/vms/web?force=true", ""),
        ("POST /v1/host/power", r#"{"action":"power-off"}"#),
        ("POST /v1/host/units/console@ttyS0/restart", ""),
    ];
    assert_eq!(
        seen,
        expected.map(|(call, body)| (call.to_owned(), body.to_owned()))
    );
}

#[tokio::test]
async fn a_problem_comes_as_it_was_sent() {
    let node = Local::new(|_| refuse(Kind::NotFound, "there is no VM `web`"));
    let error = node.client.vm("web").await.unwrap_err();
    assert_eq!(error.status(), Some(404));
    assert_eq!(error.to_string(), "Not found: there is no VM `web`");
}

#[tokio::test]
async fn an_error_without_a_problem_is_no_node() {
    let node = Local::new(|_| {
        let body = Full::new(Bytes::from_static(b"<html>"));
        Response::builder().status(502).body(body).unwrap()
    });
    let error = node.client.host().await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    assert!(error.to_string().contains("502"), "{error}");
}

#[tokio::test]
async fn an_answer_of_another_shape_is_named() {
    let node = Local::new(|_| json(r#"{"name":"web"}"#));
    let error = node.client.vm("web").await.unwrap_err().to_string();
    assert!(
        error.starts_with("GET /v1/vms/web: ") && error.contains("missing field"),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_there() {
    let error = Client::unix("/nonexistent/agent.sock")
        .health()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Connect { .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("agent is down"));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    let (listener, client, _directory) = listen();
    let held = tokio::spawn(async move { listener.accept().await });
    let error = client
        .with_timeout(Duration::from_millis(50))
        .vms()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "GET /v1/vms: no answer within 0.05 s");
    drop(held);
}

#[tokio::test]
async fn a_connection_that_breaks_is_named() {
    let (listener, client, _directory) = listen();
    tokio::spawn(async move { drop(listener.accept().await) });
    let error = client.vms().await.unwrap_err();
    assert!(matches!(error, Error::Broken { .. }), "{error:?}");
}

#[tokio::test]
async fn a_file_is_uploaded_under_its_digest() {
    let node = Local::new(|_| json(r#"{"digest":"sha256:x","size":3}"#));
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("kernel");
    std::fs::write(&path, "abc").unwrap();
    let image = ImageFile::open(&path).await.unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let count = sent.clone();
    node.client
        .put_image(&image, move |n| _ = count.fetch_add(n, Ordering::Relaxed))
        .await
        .unwrap();
    let request = node.request();
    // FIPS 180-4's own example.
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(request.uri().path(), format!("/v1/images/sha256:{digest}"));
    assert_eq!(request.headers()["content-length"], "3");
    assert_eq!(request.body(), "abc");
    assert_eq!(sent.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_file_that_is_not_there() {
    let error = ImageFile::open("/nonexistent/kernel").await.unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nonexistent/kernel");
}

#[tokio::test]
async fn events_until_the_stream_ends() {
    let node = Local::new(|_| {
        json(
            ": hello\n\nid: 5\nevent: vm-deleted\ndata: {\"sequence\":5,\"unix_us\":1,\"kind\":\"vm-deleted\",\"data\":{\"name\":\"web\"}}\n\n",
        )
    });
    let mut events = node.client.events(Some(4)).await.unwrap();
    let event = events.next().await.unwrap().unwrap();
    assert_eq!(
        event.what,
        What::VmDeleted {
            name: "web".to_owned()
        }
    );
    assert!(events.next().await.is_none());
    assert_eq!(node.request().headers()["last-event-id"], "4");
}

#[tokio::test]
async fn an_update_is_sent_with_the_signature_beside_it() {
    let node = Local::new(|_| json(r#"{"running":"a","next":"b","slots":[],"trusted_keys":[]}"#));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("axion.efi");
    std::fs::write(&path, "image").unwrap();
    let missing = UpdateFile::open(&path, None).await.unwrap_err().to_string();
    assert!(missing.contains("axion.efi.minisig"), "{missing}");
    std::fs::write(directory.path().join("axion.efi.minisig"), "signed").unwrap();
    let file = UpdateFile::open(&path, None).await.unwrap();
    assert_eq!(file.size(), 5);
    let sent = std::sync::Arc::new(AtomicU64::new(0));
    let counted = sent.clone();
    let count = move |bytes| {
        counted.fetch_add(bytes, Ordering::Relaxed);
    };
    let staged = node.client.stage_update(&file, true, count).await.unwrap();
    assert_eq!(staged.next.as_deref(), Some("b"));
    assert_eq!(sent.load(Ordering::Relaxed), 5);
    let request = node.request();
    assert_eq!(request.uri(), "/v1/update/stage?allow_downgrade=true");
    assert_eq!(request.headers()["axion-signature"], "c2lnbmVk");
    assert_eq!(request.headers()["content-type"], "application/octet-stream");
    assert_eq!(request.body(), "image");

    let wanted = StageRequest {
        url: "http://host/axion.efi".to_owned(),
        allow_downgrade: false,
    };
    node.client.fetch_update(&wanted).await.unwrap();
    let request = node.request();
    assert_eq!(request.uri(), "/v1/update/stage");
    assert_eq!(
        serde_json::from_slice::<StageRequest>(request.body()).unwrap(),
        wanted
    );
    node.client.roll_back_update().await.unwrap();
    assert_eq!(node.request().uri(), "/v1/update/rollback");

    let disk = MirrorRequest {
        disk: "serial:S2".to_owned(),
        ..MirrorRequest::default()
    };
    node.client.add_mirror(&disk).await.unwrap();
    let request = node.request();
    assert_eq!(
        (request.method().as_str(), request.uri().to_string().as_str()),
        ("POST", "/v1/update/mirror")
    );
    assert_eq!(
        serde_json::from_slice::<MirrorRequest>(request.body()).unwrap(),
        disk
    );
    node.client.forget_mirror().await.unwrap();
    let request = node.request();
    assert_eq!(
        (request.method().as_str(), request.uri().to_string().as_str()),
        ("DELETE", "/v1/update/mirror")
    );
}
