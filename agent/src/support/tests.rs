use std::collections::BTreeMap;
use std::fs;

use axion_core::config::{Document, Source as From, resolve};
use axum::http::StatusCode;

use super::*;
use crate::auth::Peer;
use crate::testing::{Agent, Answer};

/// The files of a bundle by their names in it.
fn files(answer: &Answer) -> BTreeMap<String, String> {
    let files = archive::files(&answer.body);
    let named = files.map(|(name, content)| {
        let (directory, name) = name.split_once('/').unwrap();
        assert!(directory.starts_with("axion-support-node1-"), "{directory}");
        (name.to_owned(), String::from_utf8(content.to_vec()).unwrap())
    });
    named.collect()
}

fn manifest(files: &BTreeMap<String, String>) -> Manifest {
    serde_json::from_str(&files[MANIFEST]).unwrap()
}

fn part<'a>(manifest: &'a Manifest, file: &str) -> &'a Part {
    manifest.parts.iter().find(|part| part.file == file).unwrap()
}

#[tokio::test]
async fn a_bundle_has_its_parts_and_says_why_one_is_missing() {
    let agent = Agent::new().await;
    agent.call("PUT", "/v1/vms/web", "{}").await;
    agent.init.says("something happened");
    agent.app.events.publish(axion_api::event::What::VmDeleted {
        name: "gone".to_owned(),
    });
    let answer = agent.call("GET", "/v1/support/bundle", "").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.header("content-type"), Some("application/x-tar"));
    let name = answer.header("content-disposition").unwrap();
    assert!(
        name.starts_with("attachment; filename=\"axion-support-node1-"),
        "{name}"
    );
    let files = files(&answer);
    let manifest = manifest(&files);
    assert_eq!((manifest.format, manifest.hostname.as_str()), (1, "node1"));
    for (file, holds) in [
        ("version.json", "\"kernel\""),
        ("host.json", "\"memory\""),
        ("boot.json", "kernel_us"),
        (
            "log.txt",
            "1970-01-01T00:00:00.000000Z info agent: something happened",
        ),
        ("kernel.txt", "something happened"),
        ("config.json", "api.listen"),
        ("profile.json", "attestation"),
        ("topology.json", "\"nics\""),
        ("vms.json", "\"web\""),
        ("netboot.json", "\"state\""),
        ("pools.json", "[]"),
        ("events.json", "\"gone\""),
        ("audit.jsonl", "/v1/vms/web"),
        ("metrics.txt", "axion_"),
        ("proc/meminfo", "MemTotal"),
        ("proc/mounts", " /proc "),
    ] {
        assert!(files[file].contains(holds), "{file}: {}", files[file]);
        let part = part(&manifest, file);
        assert_eq!(
            (part.state, part.bytes),
            (PartState::Whole, files[file].len() as u64),
            "{file}"
        );
    }
    assert!(!files["host.json"].contains("\"nics\""));
    for missing in ["slots.json", "crash.json", "disks.json"] {
        let part = part(&manifest, missing);
        assert_eq!(part.state, PartState::Missing, "{missing}");
        assert!(part.why.as_ref().is_some_and(|why| !why.is_empty()));
        assert!(!files.contains_key(missing));
    }
    let whole = manifest
        .parts
        .iter()
        .filter(|part| part.state != PartState::Missing);
    assert_eq!(whole.count() + 1, files.len(), "and the manifest");
}

#[tokio::test]
async fn without_an_init_there_still_is_one() {
    let agent = Agent::alone();
    let bundle = bundle(&agent.app).await.unwrap();
    let archive: Vec<u8> = bundle.pieces.concat();
    let (name, text) = archive::files(&archive).next().unwrap();
    assert_eq!(name, format!("{}/{MANIFEST}", bundle.name));
    let manifest: Manifest = serde_json::from_slice(text).unwrap();
    let log = part(&manifest, "log.txt");
    assert_eq!(log.state, PartState::Missing);
    assert_eq!(log.why.as_deref(), Some("init cannot be reached at the moment"));
    assert_eq!(part(&manifest, "config.json").state, PartState::Whole);
}

#[tokio::test]
async fn a_bundle_is_for_those_who_may_and_is_audited() {
    let agent = Agent::new().await;
    let request = axum::http::Request::builder().uri("/v1/support/bundle");
    let peer = Peer::Remote(([192, 0, 2, 1], 1).into());
    let refused = agent.send(peer, request.body(Default::default()).unwrap()).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    agent.call("GET", "/v1/support/bundle", "").await;
    agent.app.audit.written().await;
    let audit = fs::read_to_string(agent.directory.path().join("state/audit.log")).unwrap();
    assert_eq!(audit.matches("/v1/support/bundle").count(), 2, "{audit}");
}

/// Every way in which a secret may come near the agent.
#[tokio::test]
async fn no_secret_gets_into_a_bundle() {
    let agent = Agent::on("").await;
    let root = agent.directory.path().join("root");
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let token = format!("axion_{}", "S3cr-".repeat(9));
    let secrets = [
        "hunter2-config",
        "aW5saW5lLXNlY3JldA",
        "hunter2-url",
        "hunter2-query",
        "hunter2-sysctl",
        "hunter2-stable",
        "hunter2-cloud",
        "hunter2-header",
        "hunter2-pem",
        "hunter2-crash",
        "feedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedface",
        &token,
    ];
    let line = "quiet axion.config=inline:aW5saW5lLXNlY3JldA== axion.config=https://u:hunter2-url@h/c?k=hunter2-query";
    write("proc/cmdline", line);
    write(
        "var/lib/axion/crash.json",
        &serde_json::json!({"unix_s": 1, "reason": "Panic", "headline": "password=hunter2-crash", "backend": "x",
            "log": format!("Command line: {line}\npassword=hunter2-crash\n")})
        .to_string(),
    );
    agent.init.says(&format!("Kernel command line: {line}"));
    agent.init.says(&format!("somebody logs a token: {token}"));
    agent.init.says("> Authorization: Bearer hunter2-header");
    agent.init.says("-----BEGIN PRIVATE KEY-----");
    agent.init.says("hunter2-pem");
    agent.init.says("-----END PRIVATE KEY-----");
    let vm = r##"{"cloud_init":{"user_data":"#cloud-config\npassword: hunter2-cloud"}}"##;
    assert_eq!(
        agent.call("PUT", "/v1/vms/web", vm).await.status,
        StatusCode::CREATED
    );
    // The config, as init writes it down and as nothing but a mistake could: with the secret itself.
    let document = |text: &str| Document {
        source: From::CommandLine("https://u:hunter2-url@h/c".to_owned()),
        text: text.to_owned(),
    };
    let config = resolve(&[document(
        r#"
        [api]
        token_hashes = ["sha256:feedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedface"]
        [storage.encryption]
        key = "config"
        secret = "hunter2-config"
        [sysctl]
        "net.ipv4.tcp_fastopen_key" = "hunter2-sysctl"
        "net.ipv6.conf.all.stable_secret" = "hunter2-stable"
        "vm.max_map_count" = "262144"
        "#,
    )]);
    assert!(config.rejected.is_empty(), "{:?}", config.rejected);
    let mut parts = Vec::new();
    let config = serde_json::to_value(crate::routes::host::config_of(&config)).unwrap();
    assert!(
        config.to_string().contains("hunter2-sysctl"),
        "there is something to hide"
    );
    let config = bounded(
        vec![("config.json".to_owned(), "", Ok(Content::Json(config)))],
        &mut parts,
    );
    let config = String::from_utf8(config[0].1.clone()).unwrap();
    assert!(config.contains("262144") && parts[0].hidden >= 3, "{config}");

    let answer = agent.call("GET", "/v1/support/bundle", "").await;
    let found = files(&answer);
    let manifest = manifest(&found);
    for shows in ["log.txt", "kernel.txt", "crash.json", "proc/cmdline"] {
        assert!(
            found[shows].contains("axion.config=(hidden)"),
            "{shows}: {}",
            found[shows]
        );
        assert!(part(&manifest, shows).hidden >= 2, "{shows}");
    }
    let bundle = String::from_utf8_lossy(&answer.body);
    for secret in secrets {
        assert!(!bundle.contains(secret), "{secret}");
        assert!(!config.contains(secret), "{secret}");
    }
}

fn text(file: &str, length: usize) -> Read {
    (
        file.to_owned(),
        "",
        Ok(Content::Text("0123456\n".repeat(length / 8))),
    )
}

#[test]
fn a_bundle_is_bounded() {
    let mut parts = Vec::new();
    let found = (0..10).map(|n| text(&n.to_string(), LARGEST + 8)).collect();
    let files = bounded(found, &mut parts);
    let all: usize = files.iter().map(|(_, content)| content.len()).sum();
    assert!(all <= ALL && all > ALL - LARGEST, "{all}");
    assert_eq!(parts.len(), 10, "each is accounted for");
    assert_eq!(parts[0].state, PartState::Cut);
    assert!(files[0].1.starts_with(b"0123456\n"), "whole lines");
    assert_eq!(parts[9].state, PartState::Missing);
    assert!(parts[9].why.as_ref().unwrap().contains("room"));
    let large = Value::String("x".repeat(LARGEST));
    let mut parts = Vec::new();
    let found = vec![("a".to_owned(), "", Ok(Content::Json(large))), text("b", 8)];
    let files = bounded(found, &mut parts);
    assert_eq!(
        (parts[0].state, files.len()),
        (PartState::Missing, 1),
        "JSON is whole or not there"
    );
}

#[tokio::test]
async fn a_source_that_hangs_or_fails_costs_only_itself() {
    tokio::time::pause();
    let source = |file: &str, reading| Source {
        file: file.to_owned(),
        what: "",
        reading,
    };
    let found = read(vec![
        source("hangs", Box::pin(std::future::pending())),
        source("panics", Box::pin(async { panic!("no") })),
        source("fails", Box::pin(async { Err("it is not there".to_owned()) })),
        source("works", Box::pin(async { Ok(Content::Text("yes".to_owned())) })),
    ]);
    let found = found.await;
    let mut parts = Vec::new();
    let files = bounded(found, &mut parts);
    assert_eq!(files, [("works".to_owned(), b"yes".to_vec())]);
    let why: Vec<&str> = parts
        .iter()
        .map(|part| part.why.as_deref().unwrap_or(""))
        .collect();
    assert_eq!(why[0], "it did not answer within 8 s");
    assert!(why[1].contains("panic"), "{}", why[1]);
    assert_eq!(&why[2..], ["it is not there", ""]);
}

#[test]
fn the_tail_begins_with_a_line() {
    assert_eq!(tail("abc\ndef\n", 8), ("abc\ndef\n", 0));
    assert_eq!(tail("abc\ndef\n", 7), ("def\n", 4));
    assert_eq!(tail("abc\ndef\n", 3), ("", 8));
    assert_eq!(tail("öäü\nd\n", 6), ("d\n", 7));
}
