use std::os::unix::net::UnixStream;

use super::*;

const SOON: Duration = Duration::from_secs(10);

struct Fixture {
    log: Log,
    port: UnixStream,
    dir: tempfile::TempDir,
}

fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let (port, reader) = UnixStream::pair().unwrap();
    let log = Log::follow(reader, &dir.path().join("log"), Instant::now()).unwrap();
    Fixture { log, port, dir }
}

#[test]
fn a_line_is_found_whether_it_came_before_or_comes_after_the_wait() {
    let mut f = fixture();
    f.port.write_all(b"one\r\ntw").unwrap();
    assert_eq!(f.log.wait_for("one", SOON).unwrap().text, "one");
    let log = f.log.clone();
    let waiter = std::thread::spawn(move || log.wait_for("two", SOON));
    f.port.write_all(b"o\n").unwrap();
    let line = waiter.join().unwrap().unwrap();
    assert_eq!((line.number, line.text.as_str()), (1, "two"));
    assert_eq!(f.log.wait_for("one", SOON).unwrap().number, 0);
}

#[test]
fn a_second_time_is_waited_for_behind_the_first() {
    let mut f = fixture();
    f.port.write_all(b"ready\nreboot\nready\n").unwrap();
    let first = f.log.wait_for("ready", SOON).unwrap();
    assert_eq!(f.log.wait_for_after(&first, "ready", SOON).unwrap().number, 2);
}

#[test]
fn a_line_that_never_comes_is_reported_with_the_last_thirty_lines() {
    let mut f = fixture();
    for n in 0..100 {
        writeln!(f.port, "line {n}").unwrap();
    }
    f.log.wait_for("line 99", SOON).unwrap();
    let message = f
        .log
        .wait_for("ready", Duration::from_millis(10))
        .unwrap_err()
        .to_string();
    assert!(
        message.contains("`ready`") && message.contains("line 70\n") && message.contains("line 99"),
        "{message}"
    );
    assert!(!message.contains("line 69\n"), "{message}");
}

#[test]
fn the_end_of_the_machine_ends_the_wait_at_once() {
    let mut f = fixture();
    f.port.write_all(b"panic").unwrap();
    drop(f.port);
    let began = Instant::now();
    let message = f
        .log
        .wait_for("ready", Duration::from_secs(60))
        .unwrap_err()
        .to_string();
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(
        message.contains("before the log ended") && message.contains("panic"),
        "{message}"
    );
    f.log.wait_end(SOON).unwrap();
    assert_eq!(std::fs::read(f.dir.path().join("log")).unwrap(), b"panic");
}
