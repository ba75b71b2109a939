use axion_api::init::LogEntry;

use super::{format, frame};

fn entry(source: &str, message: &str) -> LogEntry {
    LogEntry {
        sequence: 1,
        unix_us: 1_700_000_000_000_042,
        severity: 4,
        source: source.into(),
        message: message.into(),
    }
}

#[test]
fn a_service_is_a_daemon() {
    assert_eq!(
        format(&entry("console@ttyS0", "a line"), "node7"),
        "<28>1 2023-11-14T22:13:20.000042Z node7 console@ttyS0 - - - a line"
    );
}

#[test]
fn the_kernel_has_its_own_facility() {
    assert!(format(&entry("kernel", "x"), "n").starts_with("<4>1 "));
}

#[test]
fn a_header_field_cannot_be_broken_out_of() {
    assert_eq!(
        format(&entry("a b\nc", "x"), ""),
        "<28>1 2023-11-14T22:13:20.000042Z - abc - - - x"
    );
}

#[test]
fn octets_are_counted_not_characters() {
    assert_eq!(frame("é"), "2 é");
}
