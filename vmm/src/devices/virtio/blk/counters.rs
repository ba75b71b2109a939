//! What a queue of a disk has done, since the process started. Each has one writer, so that counting costs nothing.

use axion_api::vmm::DiskCounters;
use axion_api::vmm::metrics::QueueLatencies;

use super::super::counter::Counter;
use super::super::histogram::Histogram;

/// The counters of one queue.
#[derive(Default)]
pub struct Counters {
    /// Reads that ended well.
    pub reads: Counter,
    /// Their bytes.
    pub read_bytes: Counter,
    /// Writes that ended well.
    pub writes: Counter,
    /// Their bytes.
    pub write_bytes: Counter,
    /// Flushes that ended well.
    pub flushes: Counter,
    /// Discards and zeroings that ended well.
    pub discards: Counter,
    /// Requests that failed.
    pub errors: Counter,
    /// Requests that waited for room.
    pub waits: Counter,
    /// How long reads took that ended well.
    pub read_times: Histogram,
    /// How long writes took.
    pub write_times: Histogram,
    /// How long flushes took.
    pub flush_times: Histogram,
}

impl Counters {
    /// How long requests took.
    pub fn latencies(&self) -> QueueLatencies {
        QueueLatencies {
            reads: self.read_times.read(),
            writes: self.write_times.read(),
            flushes: self.flush_times.read(),
        }
    }

    /// Their values.
    pub fn read(&self) -> DiskCounters {
        DiskCounters {
            reads: self.reads.get(),
            read_bytes: self.read_bytes.get(),
            writes: self.writes.get(),
            write_bytes: self.write_bytes.get(),
            flushes: self.flushes.get(),
            discards: self.discards.get(),
            errors: self.errors.get(),
            waits: self.waits.get(),
        }
    }
}
