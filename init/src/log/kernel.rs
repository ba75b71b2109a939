//! The kernel's lines (`/dev/kmsg`, Documentation/ABI/testing/dev-kmsg).

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;

use tokio::io::Interest;

use super::Log;
use crate::clock;
use crate::sys;

/// Bytes of the kernel's own log that are told at once; its buffer is smaller.
const LARGEST: usize = 8 << 20;

/// A record of the kernel log.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    severity: u8,
    /// 0: the kernel; anything else was written by a process.
    facility: u32,
    /// Microseconds since the kernel's start.
    at_us: u64,
    message: String,
}

/// `6,339,5140900,-;text`, then lines that start with a space (`KEY=value`).
fn parse(record: &[u8]) -> Option<Record> {
    let text = String::from_utf8_lossy(record);
    let (head, body) = text.split_once(';')?;
    let mut fields = head.split(',');
    let priority: u32 = fields.next()?.parse().ok()?;
    let at_us = fields.nth(1)?.parse().ok()?;
    let message = body.lines().next().unwrap_or_default().to_owned();
    Some(Record {
        severity: u8::try_from(priority & 7).ok()?,
        facility: priority >> 3,
        at_us,
        message,
    })
}

/// Who said it and what; init's and the services' lines carry both.
fn attribute(record: &Record) -> (&str, &str) {
    let ours = record
        .message
        .strip_prefix("axion: ")
        .filter(|_| record.facility != 0);
    ours.and_then(|rest| rest.split_once(": "))
        .unwrap_or(("kernel", &record.message))
}

/// The kernel's own log as it is now, what processes wrote to it too: `<6>[    5.140900] text`.
///
/// # Errors
/// `/dev/kmsg` cannot be opened or read.
pub fn all() -> std::io::Result<String> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    let mut buffer = vec![0; 8192];
    let mut text = String::new();
    while text.len() < LARGEST {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                if let Some(record) = buffer.get(..length).and_then(parse) {
                    text.push_str(&shown(&record));
                }
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            // Lines were overwritten before they were read.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPIPE)) || e.kind() == ErrorKind::Interrupted => {
            }
            Err(e) => return Err(e),
        }
    }
    Ok(text)
}

fn shown(record: &Record) -> String {
    let (seconds, micros) = (record.at_us / 1_000_000, record.at_us % 1_000_000);
    let message = super::printable(&record.message);
    format!("<{}>[{seconds:5}.{micros:06}] {message}\n", record.severity)
}

/// Copies the kernel's lines into the ring, for ever. Lines that processes wrote after `from_us` (microseconds since
/// the kernel's start) are in it already; before that, stage 1 wrote them.
///
/// # Errors
/// `/dev/kmsg` cannot be opened or read.
pub async fn read(log: Log, from_us: u64) -> std::io::Result<()> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open("/dev/kmsg")?;
    let kmsg = sys::readable(file)?;
    let epoch_us = clock::unix_us().saturating_sub(clock::micros(clock::since_start()));
    let mut buffer = vec![0; 8192];
    let mut budget = 0;
    loop {
        let read = kmsg
            .async_io(Interest::READABLE, |mut file: &File| file.read(&mut buffer))
            .await;
        match read {
            Ok(length) => {
                let record = buffer.get(..length).and_then(parse);
                if let Some(record) = record.filter(|r| r.facility == 0 || r.at_us < from_us) {
                    let (source, message) = attribute(&record);
                    log.record(
                        epoch_us + record.at_us,
                        record.severity,
                        source,
                        super::printable(message),
                    );
                }
            }
            // Lines were overwritten before they were read; the next read goes on with the oldest one left.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EPIPE)) || e.kind() == ErrorKind::Interrupted => {
            }
            Err(e) => return Err(e),
        }
        budget += 1;
        if budget % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests;
