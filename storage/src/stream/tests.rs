use std::io::Read;

use super::*;
use crate::fixture::{LIST, Node, SNAPSHOTS, STATUS};

fn options() -> SendOptions {
    SendOptions::default()
}

#[test]
fn what_is_sent_and_how() {
    let args = |name: &str, options: &SendOptions| sending(name, options).unwrap().join(" ");
    assert_eq!(args("tank/a@x", &options()), "send -Lc tank/a@x");
    let from = SendOptions {
        from: Some("monday".to_owned()),
        raw: true,
        ..options()
    };
    assert_eq!(
        args("tank/axion/zvols/web@x", &from),
        "send -Lc -w -i tank/axion/zvols/web@monday tank/axion/zvols/web@x"
    );
    let origin = SendOptions {
        from: Some("tank/base@1".to_owned()),
        ..options()
    };
    assert_eq!(args("tank/a@x", &origin), "send -Lc -i tank/base@1 tank/a@x");
    let resume = SendOptions {
        resume: Some("1-ab-cd-ef".to_owned()),
        ..options()
    };
    assert_eq!(args("tank/a@x", &resume), "send -t 1-ab-cd-ef");
}

#[test]
fn nothing_becomes_an_option_and_the_nodes_state_stays_here() {
    let with = |from: Option<&str>, resume: Option<&str>| SendOptions {
        from: from.map(str::to_owned),
        resume: resume.map(str::to_owned),
        raw: false,
    };
    for (name, options) in [
        ("tank/a", options()),
        ("tank/axion/state@x", options()),
        ("tank/a@x", with(Some("-F"), None)),
        ("tank/a@x", with(Some("tank/axion/state@x"), None)),
        ("tank/a@x", with(None, Some("x; id"))),
        ("tank/a@x", with(None, Some(""))),
    ] {
        assert!(sending(name, &options).is_err(), "{name} {options:?}");
    }
    for name in ["tank", "tank/axion/zvols/web", "tank/axion/x", "-s", "tank/a@x"] {
        assert!(receiving(name, ReceiveOptions::default()).is_err(), "{name}");
    }
    let all = ReceiveOptions {
        resumable: true,
        discard_changes: true,
    };
    assert_eq!(
        receiving("tank/b", all).unwrap(),
        ["receive", "-s", "-F", "tank/b"]
    );
}

fn node() -> Node {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    node.write("zpool-list.json", LIST.as_bytes());
    node.write("zfs-list.json", SNAPSHOTS.as_bytes());
    node
}

#[test]
fn a_stream_goes_through_the_pipe_and_ends_with_the_program() {
    let node = node();
    node.write("zfs-send.json", b"the stream");
    let (mut ours, theirs) = std::io::pipe().unwrap();
    let stream = Stream::Send {
        name: "tank/a@monday".to_owned(),
        options: options(),
    };
    assert_eq!(node.storage(1).stream(stream, theirs.into()), Answer::Done);
    let mut sent = String::new();
    ours.read_to_string(&mut sent).unwrap();
    assert_eq!(sent, "the stream");
}

#[test]
fn what_zfs_says_of_a_stream_is_the_problem() {
    let node = node();
    node.write("zfs-receive.err", b"cannot receive: failed to read from stream\n");
    let (theirs, ours) = std::io::pipe().unwrap();
    drop(ours);
    let stream = Stream::Receive {
        name: "tank/new".to_owned(),
        options: ReceiveOptions::default(),
    };
    let Answer::Problem(problem) = node.storage(1).stream(stream, theirs.into()) else {
        panic!("it was received");
    };
    assert_eq!(
        (problem.status, problem.detail.as_str()),
        (400, "`zfs receive`: cannot receive: failed to read from stream")
    );
    let missing = Stream::Send {
        name: "tank/a@never".to_owned(),
        options: options(),
    };
    let (_ours, theirs) = std::io::pipe().unwrap();
    let Answer::Problem(problem) = node.storage(1).stream(missing, theirs.into()) else {
        panic!("it was sent");
    };
    assert_eq!(problem.status, 404);
    assert_eq!(node.changes(), ["zfs receive tank/new"]);
}
