//! The last lines, bounded in number and in bytes.

use std::collections::VecDeque;

use axion_api::init::LogEntry;

/// The ring.
pub struct Ring {
    entries: VecDeque<LogEntry>,
    next: u64,
    bytes: usize,
    max_lines: usize,
    max_bytes: usize,
}

fn size(entry: &LogEntry) -> usize {
    size_of::<LogEntry>() + entry.source.len() + entry.message.len()
}

impl Ring {
    /// An empty ring.
    pub fn new(max_lines: usize, max_bytes: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            next: 1,
            bytes: 0,
            max_lines,
            max_bytes,
        }
    }

    /// Adds a line and drops the oldest ones that do not fit any more.
    pub fn push(&mut self, unix_us: u64, severity: u8, source: String, message: String) -> LogEntry {
        let entry = LogEntry {
            sequence: self.next,
            unix_us,
            severity,
            source,
            message,
        };
        self.next += 1;
        self.bytes += size(&entry);
        self.entries.push_back(entry.clone());
        while self.entries.len() > self.max_lines || self.bytes > self.max_bytes {
            let Some(oldest) = self.entries.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(size(&oldest));
        }
        entry
    }

    /// Lines after sequence number `after`, oldest first, at most `limit`; with `after` 0 the last `limit` ones.
    pub fn after(&self, after: u64, limit: usize) -> Vec<LogEntry> {
        let skip = if after == 0 {
            self.entries.len().saturating_sub(limit)
        } else {
            self.entries.partition_point(|e| e.sequence <= after)
        };
        self.entries.iter().skip(skip).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests;
