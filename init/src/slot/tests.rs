use axion_install::slot::{Entry, Name};

use super::*;

#[test]
fn the_command_line_names_the_slot() {
    let slot = |line: &str| running(&CommandLine::parse(line));
    assert_eq!(slot("console=tty0 axion.slot=b"), Some(Slot::B));
    assert_eq!(slot("console=tty0"), None);
    assert_eq!(slot("axion.slot=c"), None);
}

#[test]
fn a_slot_that_was_voted_down_is_not_voted_upon_again() {
    let named = |file: &str| Named {
        name: Name::parse(file).unwrap(),
        entry: Entry {
            generation: 2,
            version: "0.2.0".to_owned(),
            size: 1,
            digest: [0; 32],
            options: String::new(),
        },
    };
    let table = [
        ("axion-b.conf", false, Standing::Confirmed),
        ("axion-b.conf", true, Standing::Confirmed),
        ("axion-b+2-1.conf", false, Standing::OnTrial),
        // The power was cut before its tries were taken away.
        ("axion-b+2-1.conf", true, Standing::OnTrial),
        ("axion-b+0-3.conf", false, Standing::OnTrial),
        ("axion-b+0-3.conf", true, Standing::GivenUp),
    ];
    for (file, voted_down, expected) in table {
        assert_eq!(standing(&named(file), voted_down), expected, "{file}");
    }
}

#[test]
fn the_end_of_a_long_log_is_kept() {
    let line = |sequence: u64, message: String| LogEntry {
        sequence,
        unix_us: 1,
        severity: 6,
        source: "init".to_owned(),
        message,
    };
    let two = [line(1, "first".to_owned()), line(2, "last".to_owned())];
    assert_eq!(text_of(&two), "init: first\ninit: last\n");
    let many: Vec<_> = (0..5000).map(|n| line(n, format!("line {n}"))).collect();
    let text = text_of(&many);
    assert!(
        text.len() <= MAX_NOTE && text.len() > MAX_NOTE - 100,
        "{}",
        text.len()
    );
    assert!(text.ends_with("init: line 4999\n"));
}

#[tokio::test]
async fn a_boot_that_stopped_is_told_with_its_task() {
    let (node, _wishes, _guard) = crate::node::for_tests().await;
    lock(&node.boot).phases = vote::sample(&[("state", true, Some("no memory"))]);
    assert_eq!(ready(&node).await, Err("state: no memory".to_owned()));
    lock(&node.boot).ready_us = Some(1);
    assert_eq!(ready(&node).await, Ok(()));
}

#[test]
fn a_vote_that_came_to_nothing_says_what_it_waited_for() {
    let late = "it was not found good within 10m".to_owned();
    assert_eq!(with_why(late.clone(), None), late);
    assert_eq!(
        with_why(late, Some("ZFS does not answer".to_owned())),
        "it was not found good within 10m: ZFS does not answer"
    );
}
