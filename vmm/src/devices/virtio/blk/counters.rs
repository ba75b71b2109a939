//! What a queue of a disk has done, since the process started. Each has one writer, so that counting costs nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use axion_api::vmm::DiskCounters;

/// The counters of one queue.
#[derive(Debug, Default)]
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
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds; from one thread at a time.
    pub fn add(&self, count: u64) {
        let value = self.0.load(Ordering::Relaxed);
        self.0.store(value.wrapping_add(count), Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
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
