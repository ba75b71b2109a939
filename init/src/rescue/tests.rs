use std::io::Write;

use cpio::newc::{Builder, trailer};

use super::*;

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, content) in files {
        let length = u32::try_from(content.len()).unwrap();
        let mut file = Builder::new(name).mode(0o100_755).write(&mut archive, length);
        file.write_all(content).unwrap();
        file.finish().unwrap();
    }
    trailer(&mut archive).unwrap();
    archive
}

#[test]
fn it_is_for_the_console_where_the_config_says_so() {
    let consoles = ["tty1".to_owned(), "ttyS0".to_owned()];
    let ask =
        |uid, allowed, line: &str| may_open(uid, allowed, line, &consoles).map_err(|problem| problem.status);
    assert_eq!(ask(paths::UID_CONSOLE, true, "ttyS0"), Ok(()));
    assert_eq!(ask(0, true, "tty1"), Ok(()));
    assert_eq!(
        ask(paths::UID_AGENT, true, "tty1"),
        Err(403),
        "the network reaches the agent"
    );
    assert_eq!(ask(paths::UID_CONSOLE, false, "tty1"), Err(403));
    assert_eq!(ask(paths::UID_CONSOLE, true, "ttyS1"), Err(404));
    assert_eq!(ask(paths::UID_CONSOLE, true, "../sda"), Err(404));
}

#[test]
fn the_setting_is_off_unless_it_is_given() {
    let config = |text| {
        axion_core::config::check(text, "test")
            .unwrap()
            .console
            .rescue_shell
    };
    assert!(!config(""));
    assert!(config("console.rescue_shell = true"));
}

#[tokio::test]
async fn a_refusal_is_in_the_log() {
    let (node, _wishes, _guard) = crate::node::for_tests().await;
    let problem = open(&node, paths::UID_CONSOLE, "tty1").await.unwrap_err();
    assert!(
        problem.detail.contains("console.rescue_shell"),
        "{}",
        problem.detail
    );
    let lines = node.log.after(0, 10);
    assert!(
        lines
            .iter()
            .any(|line| line.message.starts_with("audit: user 902 was refused")),
        "{lines:?}"
    );
}

#[test]
fn the_program_is_the_guests() {
    let content = archive(&[("init", b"#!/bin/busybox sh"), (PROGRAM, b"ELF"), ("z", b"")]);
    assert_eq!(find(content.as_slice()).unwrap(), b"ELF");
    let error = find(archive(&[("init", b"x")]).as_slice()).unwrap_err();
    assert_eq!(error.to_string(), "the guest's initramfs has no bin/busybox");
    assert!(find(&b"070701 not an archive"[..]).is_err());
}
