use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::testing::Agent;

const SIGNATURE: &str = "untrusted comment: x\nRUQ...\n";

fn in_header() -> String {
    STANDARD.encode(SIGNATURE)
}

#[tokio::test]
async fn the_slots_and_the_way_back_are_init_s() {
    let agent = Agent::new().await;
    for (method, path, call) in [
        ("GET", "/v1/update", Call::Status),
        ("POST", "/v1/update/rollback", Call::RollBack),
    ] {
        let answer = agent.call(method, path, "").await;
        assert_eq!(answer.json::<UpdateStatus>().running, "a", "{path}");
        assert_eq!(agent.init.update_calls(), [call]);
    }
    let detail = "this node was not started from an installed disk";
    let refusal = || Answer::Problem(Problem::new(Kind::Conflict, detail));
    for (method, path) in [("GET", "/v1/update"), ("POST", "/v1/update/rollback")] {
        agent.init.answer_update(refusal());
        let problem = agent.call(method, path, "").await.problem();
        assert_eq!((problem.status, problem.detail.as_str()), (409, detail));
    }
}

#[tokio::test]
async fn a_second_disk_is_planned_and_added_by_init() {
    let agent = Agent::new().await;
    let body = r#"{"disk":"serial:S2","token":"kxpj"}"#;
    let request = MirrorRequest {
        disk: "serial:S2".to_owned(),
        destroy_pool: false,
        token: Some("kxpj".to_owned()),
    };
    let json = ("Content-Type", "application/json");
    let plan = MirrorPlan {
        text: "everything is lost".to_owned(),
        token: "kxpj".to_owned(),
    };
    agent.init.answer_update(Answer::Plan(plan.clone()));
    let planned = agent
        .call_with("POST", "/v1/update/mirror/plan", json, body)
        .await;
    assert_eq!(planned.json::<MirrorPlan>(), plan);
    let added = agent.call_with("POST", "/v1/update/mirror", json, body).await;
    assert_eq!(added.json::<UpdateStatus>().running, "a");
    let forgotten = agent.call("DELETE", "/v1/update/mirror", "").await;
    assert_eq!(forgotten.json::<UpdateStatus>().running, "a");
    assert_eq!(
        agent.init.update_calls(),
        [
            Call::PlanMirror(request.clone()),
            Call::AddMirror(request),
            Call::ForgetMirror
        ]
    );
    let strange = agent
        .call_with("POST", "/v1/update/mirror", json, r#"{"disc":"sda"}"#)
        .await;
    assert!(strange.status.as_u16() >= 400);
    assert!(agent.init.update_calls().is_empty());
}

#[tokio::test]
async fn an_upload_is_handed_over_with_its_signature() {
    let agent = Agent::new().await;
    let header = in_header();
    let upload = async |path: &str| {
        agent
            .call_with("POST", path, ("Axion-Signature", header.as_str()), "image")
            .await
    };
    assert_eq!(upload("/v1/update/stage").await.status, 200);
    let staging = |allow_downgrade| Staging {
        signature: SIGNATURE.to_owned(),
        allow_downgrade,
    };
    assert_eq!(agent.init.staged(), [(b"image".to_vec(), staging(false))]);
    upload("/v1/update/stage?allow_downgrade=true").await;
    assert_eq!(agent.init.staged(), [(b"image".to_vec(), staging(true))]);
    agent.app.audit.written().await;
    let log = std::fs::read_to_string(agent.directory.path().join("state/audit.log")).unwrap();
    assert_eq!(log.matches("/v1/update/stage").count(), 2, "{log}");
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused_before_it_arrives() {
    let agent = Agent::new().await;
    let header = in_header();
    let signed = ("Axion-Signature", header.as_str());
    let problem = agent.call("POST", "/v1/update/stage", "image").await.problem();
    assert_eq!(problem.status, 400);
    assert!(problem.detail.contains(".minisig"), "{problem}");
    let strange = ("Axion-Signature", "*");
    let problem = agent.call_with("POST", "/v1/update/stage", strange, "x").await;
    assert_eq!(problem.problem().status, 400);
    assert_eq!(agent.init.staged(), []);

    // A node that trusts nobody is asked to say so itself, with nothing.
    agent.init.answer_update(Answer::Status(Box::default()));
    agent.call_with("POST", "/v1/update/stage", signed, "image").await;
    let staged = agent.init.staged();
    assert_eq!(staged.first(), Some(&(Vec::new(), Staging::default())));

    let refusal = Problem::new(Kind::Conflict, "not installed");
    agent.init.answer_update(Answer::Problem(refusal));
    let problem = agent.call_with("POST", "/v1/update/stage", signed, "image").await;
    assert_eq!(problem.problem().detail, "not installed");
    assert_eq!(agent.init.staged(), []);
}

/// A server that answers by path.
async fn server(answers: &'static [(&'static str, &'static str)]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let read = stream.read(&mut request).await.unwrap();
            let request = String::from_utf8_lossy(&request[..read]).into_owned();
            let path = request.split(' ').nth(1).unwrap_or_default();
            let answer = answers.iter().find(|(known, _)| *known == path);
            let answer = answer.map_or("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", |(_, a)| *a);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn an_image_is_fetched_with_its_signature() {
    let agent = Agent::new().await;
    let base = server(&[
        (
            "/new/axion.efi?x=1",
            "HTTP/1.1 302 Found\r\nlocation: /axion.efi\r\ncontent-length: 0\r\n\r\n",
        ),
        ("/axion.efi", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nimage"),
        (
            "/new/axion.efi.minisig?x=1",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsignature",
        ),
        ("/cut.efi", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nimage"),
        (
            "/cut.efi.minisig",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsignature",
        ),
        (
            "/loop",
            "HTTP/1.1 302 Found\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "/loop.minisig",
            "HTTP/1.1 302 Found\r\nlocation: /loop\r\ncontent-length: 0\r\n\r\n",
        ),
    ])
    .await;
    let fetch = async |url: &str, more: &str| {
        let body = format!("{{\"url\":\"{url}\"{more}}}");
        let json = ("content-type", "application/json");
        agent.call_with("POST", "/v1/update/stage", json, &body).await
    };
    let answer = fetch(&format!("{base}/new/axion.efi?x=1"), ",\"allow_downgrade\":true").await;
    assert_eq!(answer.status, 200, "{:?}", String::from_utf8(answer.body));
    let staging = Staging {
        signature: "signature".to_owned(),
        allow_downgrade: true,
    };
    assert_eq!(agent.init.staged(), [(b"image".to_vec(), staging)]);

    for (path, what) in [
        ("/none.efi", "/none.efi.minisig: the server answers 404 Not Found"),
        ("/cut.efi", "the image ended early"),
        ("/loop", "sends elsewhere more than 5 times"),
    ] {
        let problem = fetch(&format!("{base}{path}"), "").await.problem();
        assert!(problem.detail.contains(what), "{problem}");
    }
    for url in [
        "axion.efi",
        "ftp://host/x",
        "http:///x",
        "https://me:secret@host/x",
    ] {
        let problem = fetch(url, "").await.problem();
        assert_eq!(
            (problem.status, problem.pointer.as_deref()),
            (422, Some("/url")),
            "{url}"
        );
    }
    assert_eq!(agent.init.staged(), []);
}
