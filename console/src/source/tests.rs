//! A look at a pretended node, over its real sockets.

#[path = "../../examples/fake_node/serve.rs"]
mod serve;

use super::*;
use crate::node::Condition;
use crate::node::tests::sample;
use serve::FakeNode;

#[tokio::test]
async fn a_look_finds_what_the_parts_say() {
    let root = tempfile::tempdir().unwrap();
    let (fake, _called) = FakeNode::start(root.path(), sample::degraded()).await;
    let mut source = Source::new(root.path());
    let seen = source.look().await;

    let facts = seen.init.as_ref().unwrap();
    assert_eq!(facts.node, sample::degraded().node);
    assert_eq!(facts.boot, sample::degraded().boot);
    assert_eq!(facts.units, sample::degraded().units);
    assert_eq!(seen.vms.as_ref().unwrap(), &sample::degraded().vms);
    assert_eq!(seen.local.fingerprint.as_deref(), Some(sample::FINGERPRINT));
    assert_eq!(seen.local.listen, Some("0.0.0.0:8443".parse().unwrap()));
    assert_eq!(seen.condition(), Condition::Degraded);
    assert!(seen.load.memory_mib > 0 && seen.load.cpus > 0);

    let first: Vec<u64> = source
        .new_log_entries()
        .await
        .concat()
        .iter()
        .map(|e| e.sequence)
        .collect();
    assert_eq!(first, [1, 2, 3, 4, 5, 6, 7]);
    fake.log_one_more_line();
    let then: Vec<u64> = source
        .new_log_entries()
        .await
        .concat()
        .iter()
        .map(|e| e.sequence)
        .collect();
    assert_eq!(then, [8]);
}

#[tokio::test]
async fn parts_that_are_not_there_say_why_and_are_found_later() {
    let root = tempfile::tempdir().unwrap();
    let mut source = Source::new(root.path());
    let seen = source.look().await;
    assert_eq!(seen.init, Err("its socket is not there yet".to_owned()));
    assert_eq!(seen.vms, Err("its socket is not there yet".to_owned()));
    assert!(source.new_log_entries().await.is_empty());

    let _fake = FakeNode::start(root.path(), sample::ready()).await;
    assert!(source.look().await.init.is_ok());
}

#[tokio::test]
async fn what_was_confirmed_is_carried_out() {
    let root = tempfile::tempdir().unwrap();
    let (_fake, mut called) = FakeNode::start(root.path(), sample::ready()).await;
    let (request, requests) = mpsc::channel(4);
    let (update, mut updates) = mpsc::channel(4);
    let source = tokio::spawn(Source::new(root.path()).run(requests, Arc::default(), update));

    request.send(Request::Power(PowerAction::PowerOff)).await.unwrap();
    request.send(Request::ForgetToken).await.unwrap();
    let mut answers = Vec::new();
    while answers.len() < 2 {
        if let Update::Answer(text) = updates.recv().await.unwrap() {
            answers.push(text);
        }
    }
    assert_eq!(called.recv().await, Some("power off"));
    // Each is carried out by itself.
    answers.sort();
    assert_eq!(
        answers,
        [
            "Powering off: everything is being stopped in order.",
            "The token is no longer shown."
        ]
    );
    assert!(!below(root.path(), paths::FIRST_TOKEN).exists());
    // Nobody listens any more: the source ends.
    drop(updates);
    drop(request);
    source.await.unwrap();
}

#[tokio::test]
async fn a_request_that_takes_long_holds_up_neither_looks_nor_other_requests() {
    let root = tempfile::tempdir().unwrap();
    let (_fake, mut called) = FakeNode::start(root.path(), sample::locked()).await;
    let (request, requests) = mpsc::channel(4);
    let (update, mut updates) = mpsc::channel(4);
    tokio::spawn(Source::new(root.path()).run(requests, Arc::default(), update));
    request
        .send(Request::Unlock("slow horse".to_owned().into()))
        .await
        .unwrap();
    let go_on = async {
        for _ in 0..3 {
            while !matches!(updates.recv().await.unwrap(), Update::Look(_)) {}
        }
        request.send(Request::Power(PowerAction::Reboot)).await.unwrap();
        while !matches!(updates.recv().await.unwrap(), Update::Answer(_)) {}
    };
    timeout(Duration::from_secs(20), go_on).await.unwrap();
    assert_eq!(called.recv().await, Some("reboot"));
}

#[tokio::test]
async fn a_refusal_says_that_nothing_was_stopped() {
    let root = tempfile::tempdir().unwrap();
    let answer = Link::new(root.path()).stop_node(PowerAction::Reboot).await;
    assert_eq!(
        answer,
        "Init did not do it: its socket is not there yet. Nothing was stopped."
    );
}

#[tokio::test]
async fn a_passphrase_that_was_typed_unlocks_or_says_why_not() {
    let root = tempfile::tempdir().unwrap();
    let (_fake, mut called) = FakeNode::start(root.path(), sample::locked()).await;
    let mut source = Source::new(root.path());
    assert!(source.look().await.state_lock().is_some());
    let wrong = source.link.unlock(&"wrong horse".to_owned().into()).await;
    assert_eq!(wrong, "Not unlocked: this does not unlock the state.");
    let right = source.link.unlock(&"correct horse".to_owned().into()).await;
    assert_eq!(right, "The state is unlocked; the agent starts again with it.");
    assert_eq!(called.recv().await, Some("unlock"));
}

#[tokio::test]
async fn the_version_before_is_next_and_the_node_restarts() {
    let root = tempfile::tempdir().unwrap();
    let (_fake, mut called) = FakeNode::start(root.path(), sample::ready()).await;
    let mut link = Link::new(root.path());
    let Update::Trouble(question) = link.trouble(Ask::Slots, "tty1").await else {
        panic!("no slots");
    };
    let slots = Box::new(sample::slots());
    let typed = String::new();
    assert_eq!(*question, Trouble::Slots { status: slots, typed });
    let back = async |link: &mut Link| match link.trouble(Ask::RollBack("a".to_owned()), "tty1").await {
        Update::Answer(said) => said,
        other => panic!("{other:?}"),
    };
    let said = back(&mut link).await;
    assert!(said.starts_with("Slot a starts next. Rebooting"), "{said}");
    assert_eq!(called.recv().await, Some("roll back"));
    assert_eq!(called.recv().await, Some("reboot"));
    // On another console: it is not taken back.
    let said = back(&mut link).await;
    assert!(
        said.starts_with("Not rolled back: the slots are others"),
        "{said}"
    );
    assert!(called.try_recv().is_err());
}

#[tokio::test]
async fn a_node_without_slots_says_so() {
    let root = tempfile::tempdir().unwrap();
    let mut sample = sample::idle();
    sample.slots = None;
    let (_fake, _called) = FakeNode::start(root.path(), sample).await;
    match Link::new(root.path()).trouble(Ask::Slots, "tty1").await {
        Update::Trouble(question) => assert_eq!(
            *question,
            Trouble::NoSlots("this node was not started from an installed disk".to_owned())
        ),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_recovery_passphrase_is_there_until_it_is_noted() {
    let root = tempfile::tempdir().unwrap();
    let mut sample = sample::idle();
    sample.node.recovery_waits = true;
    let (_fake, _called) = FakeNode::start(root.path(), sample).await;
    let mut source = Source::new(root.path());
    let seen = source.look().await.recovery.unwrap();
    assert_eq!(seen.expose(), "0123-4567");
    source.begin(&Request::ForgetRecovery);
    let outcome = source.link.clone().carry_out(Request::ForgetRecovery).await;
    let said = "The recovery passphrase is no longer shown.";
    assert!(matches!(outcome.update, Update::Answer(text) if text == said));
    assert_eq!(source.look().await.recovery, None);
}
