use super::*;

#[test]
fn what_passed_at_a_later_attempt_only_is_named_at_the_end_with_its_first_output() {
    let time = Duration::from_secs(90);
    assert_eq!(summary(&[], time), "  all tests passed in 90 s");
    let flaky = [("netboot".to_owned(), PathBuf::from("/t/e2e-netboot-1.log"))];
    assert_eq!(
        summary(&flaky, time),
        "  all tests passed in 90 s, these not at the first attempt:\n    FLAKY netboot: /t/e2e-netboot-1.log"
    );
}

#[test]
fn the_output_of_a_failure_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut command = Command::new("sh");
    command.args(["-c", "echo out; echo err >&2; exit 3"]);
    for _ in 0..2 {
        let error = run_logged("x", &mut command, &log).unwrap_err().to_string();
        assert!(
            error.ends_with(&format!("its output is in {}", log.display())),
            "{error}"
        );
        assert_eq!(fs::read_to_string(&log).unwrap(), "out\nerr\n");
    }
}
