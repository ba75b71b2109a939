use tokio::sync::mpsc;

use super::*;

fn entry(sequence: u64, severity: u8, source: &str) -> LogEntry {
    LogEntry {
        sequence,
        unix_us: 1_767_225_600_250_000,
        severity,
        source: source.to_owned(),
        message: format!("line {sequence}"),
    }
}

#[test]
fn every_line_is_written_once_and_guests_chatter_is_not() {
    let (sender, receiver) = mpsc::channel(8);
    // The second line came while the backlog was read.
    for new in [entry(2, 6, "init"), entry(3, 6, "agent"), entry(4, 7, "vm-x")] {
        sender.try_send(new).unwrap();
    }
    drop(sender);
    let mut written = Vec::new();
    let backlog = vec![entry(1, 4, "kernel"), entry(2, 6, "init")];
    copy(backlog, receiver, &mut written);
    assert_eq!(
        String::from_utf8(written).unwrap(),
        "2026-01-01T00:00:00.250Z line 1\n\
         2026-01-01T00:00:00.250Z axion: init: line 2\n\
         2026-01-01T00:00:00.250Z axion: agent: line 3\n"
    );
}
