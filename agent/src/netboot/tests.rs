use std::io::Write;
use std::os::unix::net::UnixListener;

use super::*;
use crate::testing::Agent;

fn step(step: NetbootStepKind, text: &str) -> NetbootStep {
    NetbootStep {
        unix_us: 1,
        mac: Some("52:54:00:12:34:56".to_owned()),
        address: None,
        firmware: Some("UEFI".to_owned()),
        step,
        text: text.to_owned(),
    }
}

fn watched(directory: &std::path::Path, interface: Option<&str>) -> Arc<Watched> {
    let wanted = config::Netboot {
        interface: interface.map(ToOwned::to_owned),
        ..config::Netboot::default()
    };
    let configs = directory.join("configs");
    Arc::new(Watched::new(
        wanted,
        directory.to_owned(),
        configs,
        Arc::new(Events::new()),
    ))
}

#[tokio::test]
async fn without_a_server_its_absence_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let off = watched(directory.path(), None).status().await.unwrap().server;
    assert_eq!(off.state, NetbootState::Off);
    let wanted = watched(directory.path(), Some("eth1"));
    let starting = wanted.status().await.unwrap().server;
    assert_eq!(
        (starting.state, starting.interface.as_deref()),
        (NetbootState::Starting, Some("eth1"))
    );
    std::fs::write(directory.path().join("problem"), "this start kept no kernel\n").unwrap();
    let failed = wanted.status().await.unwrap().server;
    assert_eq!(failed.state, NetbootState::Failed);
    assert_eq!(failed.detail.as_deref(), Some("this start kept no kernel"));
}

#[tokio::test]
async fn what_the_server_tells_is_shown_and_becomes_events() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("server")).unwrap();
    let listener = UnixListener::bind(directory.path().join("server/steps.sock")).unwrap();
    let watched = watched(directory.path(), Some("eth1"));
    let mut cursor = watched.events.subscribe(None);
    let following = tokio::spawn(watched.clone().follow());
    let (mut server, _) = tokio::task::spawn_blocking(move || listener.accept().unwrap())
        .await
        .unwrap();
    let serving = NetbootServer {
        state: NetbootState::Serving,
        ..NetbootServer::default()
    };
    let told = [
        Told::All {
            server: Box::new(serving),
            steps: vec![step(NetbootStepKind::Boots, "boots snponly.efi")],
        },
        Told::Step(step(NetbootStepKind::Transfer, "vmlinuz  25 %")),
        Told::Step(step(NetbootStepKind::Script, "script, no config")),
    ];
    for told in &told {
        writeln!(server, "{}", serde_json::to_string(told).unwrap()).unwrap();
    }
    // What the server remembers is no news, and neither is every quarter of every file.
    let event = watched.events.next(&mut cursor).await.unwrap();
    assert!(
        matches!(&event.what, What::Netboot(step) if step.text == "script, no config"),
        "{event:?}"
    );
    let status = watched.status().await.unwrap();
    assert_eq!(status.server.state, NetbootState::Serving);
    assert_eq!(
        status
            .steps
            .iter()
            .map(|step| step.text.as_str())
            .collect::<Vec<_>>(),
        ["boots snponly.efi", "vmlinuz  25 %", "script, no config"]
    );
    drop(server);
    while watched.status().await.unwrap().server.state == NetbootState::Serving {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(watched.status().await.unwrap().steps.len(), 3);
    following.abort();
}

/// The server is isolated because it may be tricked into anything.
#[tokio::test]
async fn what_a_server_tells_is_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let watched = watched(directory.path(), Some("eth1"));
    let long = step(NetbootStepKind::Script, &"ä".repeat(10_000));
    watched.hear(Told::All {
        server: Box::default(),
        steps: vec![long.clone(); STEPS + 50],
    });
    for _ in 0..2 {
        watched.hear(Told::Step(long.clone()));
        let steps = watched.status().await.unwrap().steps;
        assert_eq!(steps.len(), STEPS);
        assert!(steps.iter().all(|step| step.text.chars().count() == TEXT));
    }
    // A line without an end, of which no more is read than the longest may have.
    let mut endless = BufReader::new(tokio::io::repeat(b'x'));
    let error = next(&mut endless).await.unwrap_err().to_string();
    assert!(error.contains("without an end"), "{error}");
    let mut nonsense = b"{}\n".as_slice();
    assert!(next(&mut nonsense).await.is_err());
    assert!(next(&mut nonsense).await.unwrap().is_none());
}

#[tokio::test]
async fn configs_of_machines_are_kept_over_the_api() {
    let agent = Agent::alone();
    let made = agent
        .call("PUT", "/v1/netboot/configs/default", "hostname = \"a\"\n")
        .await;
    assert_eq!(made.status, 201);
    let again = agent
        .call("PUT", "/v1/netboot/configs/default", "hostname = \"b\"\n")
        .await;
    assert_eq!(again.status, 200);
    let text = agent.call("GET", "/v1/netboot/configs/default", "").await;
    assert_eq!(text.body, b"hostname = \"b\"\n");
    assert_eq!(text.header("content-type"), Some("application/toml"));
    let bad = agent.call("PUT", "/v1/netboot/configs/default", "x = 1\n").await;
    assert_eq!(bad.problem().status, 422);
    let status: Netboot = agent.call("GET", "/v1/netboot", "").await.json();
    assert_eq!(status.server.state, NetbootState::Off);
    assert_eq!(status.configs, ["default"]);
    assert_eq!(
        agent
            .call("DELETE", "/v1/netboot/configs/default", "")
            .await
            .status,
        204
    );
    let gone = agent.call("DELETE", "/v1/netboot/configs/default", "").await;
    assert_eq!(gone.problem().status, 404);
}
