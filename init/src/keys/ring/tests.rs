use axion_api::storage::KeyState;
use axion_core::config::{Document, Source, resolve};

use super::super::measure::Measured;
use super::*;
use crate::node::for_tests;

fn locked(name: &str, sealed: Option<&str>) -> Locked {
    Locked {
        name: name.to_owned(),
        sealed: sealed.map(str::to_owned),
        is_hex: false,
        state: KeyState::Unavailable,
        unnoted: false,
    }
}

async fn node(
    config: &str,
    measured: Measured,
) -> (std::sync::Arc<Node>, tokio::sync::MutexGuard<'static, ()>) {
    let (node, _wishes, guard) = for_tests().await;
    let document = Document {
        source: Source::CommandLine("test".to_owned()),
        text: format!("[storage.encryption]\n{config}"),
    };
    let _ = node.config.set(resolve(&[document]));
    let _ = node.keys.measured.set(measured);
    (node, guard)
}

#[tokio::test]
async fn a_declared_secret_unlocks_the_nodes_own_and_nothing_else() {
    let config = "key = \"config\"\nsecret = \"correct horse\"\n";
    let (node, _guard) = node(config, Measured::Absent).await;
    let ring = Ring::new(&node);
    let phrase = Key::Passphrase("correct horse".to_owned());
    assert_eq!(ring.find(&locked("tank/axion", None)).unwrap(), phrase);
    assert_eq!(ring.make().unwrap().unwrap().key, phrase);
    assert!(ring.find(&locked("tank/secret", None)).is_err());
    assert!(ring.recovery("tank").is_none());
}

#[tokio::test]
async fn a_dataset_may_have_a_secret_of_its_own_in_the_config() {
    let config = "[storage.encryption.secrets]\n\"tank/a\" = \"battery staple\"\n";
    let (node, _guard) = node(config, Measured::Absent).await;
    let ring = Ring::new(&node);
    assert!(ring.knows(&locked("tank/a", None)) && ring.knows(&locked("tank/b", Some("[]"))));
    assert!(!ring.knows(&locked("tank/b", None)));
    assert_eq!(
        ring.find(&locked("tank/a", None)).unwrap(),
        Key::Passphrase("battery staple".to_owned())
    );
    // It does not open what is below or beside.
    assert!(ring.find(&locked("tank/a/b", None)).is_err());
}

#[tokio::test]
async fn without_its_source_there_is_a_reason_and_no_key() {
    let (plain, guard) = node("", Measured::Absent).await;
    assert!(Ring::new(&plain).make().unwrap().is_none());
    drop((plain, guard));

    let (missing, guard) = node("key = \"config\"\n", Measured::Absent).await;
    let why = Ring::new(&missing).make().unwrap_err();
    assert_eq!(
        why,
        "no machine config document gives `storage.encryption.secret`"
    );
    drop((missing, guard));

    let (typed, guard) = node("key = \"passphrase\"\n", Measured::Absent).await;
    assert_eq!(Ring::new(&typed).make().unwrap_err(), "it has no passphrase yet");
    drop((typed, guard));

    let (absent, guard) = node("key = \"tpm\"\n", Measured::Absent).await;
    let ring = Ring::new(&absent);
    assert!(ring.make().unwrap_err().contains("no TPM 2.0"));
    assert!(ring.recovery("tank").is_none());
    assert!(
        ring.find(&locked("tank/axion", Some("[]")))
            .unwrap_err()
            .contains("no TPM 2.0")
    );
    drop((absent, guard));

    let failed = Measured::Failed("cannot talk to the TPM: timed out".to_owned());
    let (slow, _guard) = node("key = \"tpm\"\n", failed).await;
    assert_eq!(
        Ring::new(&slow).make().unwrap_err(),
        "cannot talk to the TPM: timed out"
    );
}

#[tokio::test]
async fn a_recovery_passphrase_is_shown_at_each_start_until_it_is_noted() {
    let (node, _guard) = node("key = \"tpm\"\n", Measured::Absent).await;
    let given = |name: &str, unnoted: bool| {
        let ring = Ring::new(&node);
        let dataset = Locked {
            unnoted,
            ..locked(name, Some("[]"))
        };
        ring.keep(&dataset, "correct horse");
        ring.recovery("tank").map(|recovery| recovery.passphrase.clone())
    };
    assert_eq!(given("tank/axion", true).as_deref(), Some("correct horse"));
    assert_eq!(given("tank/axion", false), None);
    assert_eq!(given("tank/secret", true), None);
}
