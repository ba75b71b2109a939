use super::*;

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn a_failed_program_is_reported_with_all_that_it_said() {
    let message = succeed(&mut shell("echo out; echo err >&2; exit 3"), SOON)
        .unwrap_err()
        .to_string();
    for part in ["exit status: 3", "out", "err", "sh -c"] {
        assert!(message.contains(part), "{part} is not in {message}");
    }
    assert_eq!(succeed(&mut shell("echo out"), SOON).unwrap(), "out\n");
}

#[test]
fn a_program_that_hangs_is_killed() {
    let began = Instant::now();
    let error = run(&mut shell("exec sleep 60"), Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_program_can_be_talked_to() {
    let dir = tempfile::tempdir().unwrap();
    let mut program = Program::start(&mut shell("read x; echo got $x"), &dir.path().join("log")).unwrap();
    program.input("word\n").unwrap();
    program.log().wait_for("got word", SOON).unwrap();
    program.log().wait_end(SOON).unwrap();
}
