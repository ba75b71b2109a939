use super::*;
use crate::fixture::program;

fn tools(script: &str) -> (tempfile::TempDir, Tools) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("zpool");
    program(&path, &format!("#!/bin/sh\n{script}\n"));
    let tools = Tools {
        zpool: path,
        ..Tools::default()
    };
    (directory, tools)
}

#[test]
fn arguments_arrive_as_they_are_and_the_environment_is_ours() {
    let (_directory, tools) = tools(r#"for a in "$@"; do echo "[$a]"; done; echo "$LC_ALL $HOME""#);
    let output = tools.zpool(["a b", "$(id)", ""]).output().unwrap();
    assert_eq!(String::from_utf8(output).unwrap(), "[a b]\n[$(id)]\n[]\nC \n");
}

#[test]
fn what_it_says_on_stderr_is_the_error() {
    let (_directory, tools) = tools("echo 'cannot open: \n   no such pool' >&2; echo out; exit 1");
    let error = tools.zpool(["status", "tank"]).done().unwrap_err();
    assert_eq!(error.to_string(), "`zpool status`: cannot open: no such pool");
}

#[test]
fn one_that_fails_without_a_word_is_told_by_its_status() {
    let (_directory, tools) = tools("exit 3");
    assert_eq!(
        tools.zpool(["status"]).done().unwrap_err().to_string(),
        "`zpool status`: exit status: 3"
    );
}

#[test]
fn one_that_hangs_is_killed_at_its_deadline() {
    let (_directory, tools) = tools("echo waiting >&2; exec sleep 60");
    let begun = Instant::now();
    let run = tools.zpool(["scrub"]).within(Duration::from_millis(300));
    let error = run.done().unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(
        error.to_string(),
        "`zpool scrub` did not end within 0 s; it said: waiting"
    );
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let tools = Tools {
        zfs: "/nonexistent/zfs".into(),
        ..Tools::default()
    };
    let error = tools.zfs(["list"]).done().unwrap_err();
    assert_eq!(error.to_string(), "cannot run /nonexistent/zfs");
}

#[test]
fn a_secret_comes_on_standard_input() {
    let (_directory, tools) = tools("read -r key; echo \"$key $#\"");
    let output = tools.zpool(["x"]).secret("a b".to_owned()).output().unwrap();
    assert_eq!(output, b"a b 1\n");
}

#[test]
fn much_output_does_not_block() {
    let (_directory, tools) = tools("head -c 3000000 /dev/zero; head -c 300000 /dev/zero >&2");
    assert_eq!(tools.zpool(["x"]).output().unwrap().len(), 3_000_000);
}

#[test]
fn json_is_read_and_nothing_is_null() {
    let (_directory, tools) =
        tools("if [ $1 = a ]; then echo '{\"x\": 1}'; elif [ $1 = b ]; then echo oops; fi");
    assert_eq!(tools.zpool(["a"]).json().unwrap(), serde_json::json!({"x": 1}));
    assert_eq!(tools.zpool(["c"]).json().unwrap(), serde_json::Value::Null);
    let error = tools.zpool(["b"]).json().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`zpool b` wrote something that is not its JSON"
    );
}
