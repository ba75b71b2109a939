//! What pstore's files say. A crash is several records: backends keep about a kilobyte each, the newest part first.

use axion_api::recovery::{Crash, CrashSummary};

/// A file of pstore: `dmesg-efi_pstore-173244871512001`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: String,
    /// When it was kept, seconds since 1970.
    pub unix_s: u64,
    /// Content.
    pub text: String,
}

/// The last crash, and the records that it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The crash.
    pub crash: Crash,
    /// Names of its records.
    pub records: Vec<String>,
}

/// A part of a kernel's log: `Panic#1 Part2` and the lines (fs/pstore/platform.c, `pstore_dump`).
struct Part<'r> {
    record: &'r Record,
    backend: &'r str,
    /// `Panic#1`.
    dump: &'r str,
    number: u32,
    lines: &'r str,
}

/// Bytes of a log that are kept, its end.
const LARGEST_LOG: usize = 64 << 10;
/// Parts of one crash are kept within this time, seconds; a machine that starts again and crashes again takes longer.
const ONE_CRASH_S: u64 = 10;
/// How the kernel's own last word begins, and what that word is where another line says more.
const PANIC: &str = "Kernel panic - not syncing: ";
const NOTHING_SAID: &str = "Fatal exception";
/// What a line holds that says what went wrong.
const CAUSES: [&str; 5] = [
    "BUG: ",
    "Oops: ",
    "general protection fault",
    "kernel BUG at",
    "watchdog: ",
];
/// Longest headline, bytes.
const LONGEST_HEADLINE: usize = 200;

impl<'r> Part<'r> {
    fn of(record: &'r Record) -> Option<Self> {
        let backend = backend(record)?;
        let (head, lines) = record.text.split_once('\n')?;
        let (dump, number) = head.trim().split_once(" Part")?;
        Some(Self {
            record,
            backend,
            dump,
            number: number.trim().parse().ok()?,
            lines,
        })
    }
}

/// Who kept a record of a kernel's log; none for other records (`console-ramoops-0`, `mce-erst-…`).
fn backend(record: &Record) -> Option<&str> {
    record.name.strip_prefix("dmesg-")?.split('-').next()
}

/// The last crash.
pub fn last(records: &[Record]) -> Option<Found> {
    let parts: Vec<Part<'_>> = records.iter().filter_map(Part::of).collect();
    let newest = parts.iter().max_by_key(|part| part.record.unix_s)?;
    let (at, dump, backend) = (newest.record.unix_s, newest.dump, newest.backend);
    let mut own: Vec<&Part<'_>> = parts
        .iter()
        .filter(|part| {
            part.dump == dump && part.backend == backend && at.abs_diff(part.record.unix_s) <= ONE_CRASH_S
        })
        .collect();
    // The first part is the end of the log.
    own.sort_by_key(|part| std::cmp::Reverse(part.number));
    let log: String = own.iter().map(|part| lines(part.lines)).collect();
    let start = log.ceil_char_boundary(log.len().saturating_sub(LARGEST_LOG));
    let log = log.get(start..).unwrap_or_default().to_owned();
    let summary = CrashSummary {
        unix_s: at,
        reason: dump.split('#').next().unwrap_or(dump).to_owned(),
        headline: headline(&log),
        backend: backend.to_owned(),
    };
    Some(Found {
        crash: Crash { summary, log },
        records: own.iter().map(|part| part.record.name.clone()).collect(),
    })
}

/// Records that may go now that the crash is stored: all of the kernel's logs, but on a node that forgets the last one.
pub fn to_clear<'r>(records: &'r [Record], found: &Found, persistent: bool) -> Vec<&'r str> {
    records
        .iter()
        .filter(|record| backend(record).is_some())
        .filter(|record| persistent || !found.records.contains(&record.name))
        .map(|record| record.name.as_str())
        .collect()
}

/// Lines without the level that the kernel puts before each (`<6>[    1.5] text`) and without what a terminal would act on.
fn lines(text: &str) -> String {
    let line = |line: &str| {
        let plain: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        let rest = plain.strip_prefix('<').and_then(|rest| rest.split_once('>'));
        match rest {
            Some((level, rest)) if level.bytes().all(|b| b.is_ascii_digit()) => format!("{rest}\n"),
            _ => format!("{plain}\n"),
        }
    };
    text.lines().map(line).collect()
}

/// A line of the log without its time: `[   12.345678] ` or `[   12.345678][    T1] `.
fn said(line: &str) -> &str {
    let mut rest = line;
    while let Some((time, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let is_stamp = time
            .trim()
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | 'T' | 'C'));
        if !is_stamp {
            break;
        }
        rest = after.trim_start();
    }
    rest
}

/// The line that says what went wrong.
fn headline(log: &str) -> String {
    let mut said = log.lines().map(said).filter(|line| !line.is_empty());
    let all: Vec<&str> = said.by_ref().collect();
    let panic = all.iter().rev().find_map(|line| line.split_once(PANIC));
    let cause = || {
        all.iter()
            .find(|line| CAUSES.iter().any(|cause| line.contains(cause)))
            .copied()
    };
    let line = match panic {
        Some((_, why)) if !why.starts_with(NOTHING_SAID) => why,
        Some((_, why)) => cause().unwrap_or(why),
        None => cause().or_else(|| all.last().copied()).unwrap_or_default(),
    };
    let end = line.floor_char_boundary(LONGEST_HEADLINE);
    line.get(..end).unwrap_or(line).to_owned()
}
