use std::time::Duration;

use std::io::Write;
use std::os::fd::OwnedFd;

use tokio::net::unix::pipe;

use super::{BURST, Limit, Lines, MAX_MESSAGE, Output, PER_SECOND, severity};
use crate::log::Log;

#[test]
fn lines_are_put_together_from_pieces() {
    let mut lines = Lines::default();
    assert!(lines.push(b"hel").is_empty());
    assert_eq!(lines.push(b"lo\nwor"), ["hello"]);
    assert_eq!(lines.push(b"ld\n\n\nlast"), ["world"]);
    assert_eq!(lines.rest(), ["last"]);
    assert!(lines.rest().is_empty());
}

#[test]
fn a_line_without_end_does_not_grow_for_ever() {
    let mut lines = Lines::default();
    for _ in 0..100 {
        for line in lines.push(&[b'x'; 1000]) {
            assert!(line.len() < MAX_MESSAGE + 1000);
        }
    }
    assert!(lines.partial.len() < MAX_MESSAGE);
}

#[test]
fn prefixes_give_the_severity() {
    assert_eq!(severity("<3>bad"), (3, "bad"));
    assert_eq!(severity("<9>x"), (6, "<9>x"));
    assert_eq!(severity("<html>"), (6, "<html>"));
    assert_eq!(severity("plain"), (6, "plain"));
}

#[test]
fn a_flood_is_cut_and_counted() {
    let mut limit = Limit::new(Duration::ZERO);
    let passed = (0..BURST + 50).filter(|_| limit.allows(Duration::ZERO)).count();
    assert_eq!(passed, BURST as usize);
    let passed = (0..1000).filter(|_| limit.allows(Duration::from_secs(1))).count();
    assert_eq!(passed, PER_SECOND as usize);
    assert_eq!(limit.take_dropped(), Some(50 + 1000 - u64::from(PER_SECOND)));
    assert_eq!(limit.take_dropped(), None);
}

#[tokio::test]
async fn the_last_line_of_a_process_that_has_ended_is_known_at_once() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let pipe = pipe::Receiver::from_owned_fd(OwnedFd::from(reader)).unwrap();
    let output = Output::new(pipe, "vm-a".to_owned(), true, Log::open());
    let copying = tokio::spawn(output.clone().copy());
    writer.write_all(b"first\n").unwrap();
    tokio::task::yield_now().await;
    writer.write_all(b"<3>guest powered\x1b off").unwrap();
    // Somebody else may still have the pipe.
    let other = writer.try_clone().unwrap();
    assert_eq!(output.last_line().as_deref(), Some("first"));
    drop((writer, other));
    assert_eq!(output.last_line().as_deref(), Some("guest powered off"));
    copying.await.unwrap();
}
