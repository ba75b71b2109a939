//! How long things took, as a histogram whose buckets are log-linear, as those of HDR histograms are: each power of two
//! is cut into [`PARTS`], so that a value is known to a sixteenth of itself, from [`UNIT`] to [`MOST`].
//!
//! One thread counts, without a lock and without a bus cycle; any other may read at any moment, and sees counts that are
//! at most a value apart from each other.

use std::time::Duration;

use axion_api::vmm::metrics::Latency;

use super::counter::Counter;

/// Nanoseconds, as a power of two, that the first buckets are wide.
const UNIT: u32 = 6;
/// Parts of a power of two, as a power of two.
const PARTS: u32 = 4;
/// Nanoseconds, as a power of two, from which on values are in the last bucket: 18 minutes.
const MOST: u32 = 40;
/// Buckets: two times as many as parts up to the second power of two, and the parts of each one after it.
const BUCKETS: usize = ((MOST - UNIT - PARTS + 1) as usize) << PARTS;

/// The histogram.
pub struct Histogram {
    counts: Box<[Counter]>,
    total_ns: Counter,
    longest_ns: Counter,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: (0..BUCKETS).map(|_| Counter::default()).collect(),
            total_ns: Counter::default(),
            longest_ns: Counter::default(),
        }
    }
}

/// The bucket of `ns`.
fn bucket(ns: u64) -> usize {
    let units = ns.min((1 << MOST) - 1) >> UNIT;
    let power = units.checked_ilog2().unwrap_or(0).max(PARTS) - PARTS;
    let place = (u64::from(power) << PARTS) + (units >> power);
    usize::try_from(place).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Nanoseconds below which the values of `bucket` are.
fn end(bucket: usize) -> u64 {
    let parts = 1 << PARTS;
    let power = (bucket / parts).saturating_sub(1);
    let part = bucket - power * parts;
    (part as u64 + 1) << power << UNIT
}

impl Histogram {
    /// Counts something that took `time`; from one thread at a time.
    pub fn add(&self, time: Duration) {
        self.add_all(time, 1);
    }

    /// Counts `number` of things that took `time` each; from one thread at a time.
    pub fn add_all(&self, time: Duration, number: u64) {
        if number == 0 {
            return;
        }
        let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(bucket(ns)) {
            count.add(number);
        }
        self.total_ns.add(ns.saturating_mul(number));
        if ns > self.longest_ns.get() {
            self.longest_ns.set(ns);
        }
    }

    /// What was counted.
    pub fn read(&self) -> Latency {
        let counts = self.counts.iter().enumerate();
        let buckets = counts.map(|(bucket, count)| (end(bucket), count.get()));
        let buckets: Vec<(u64, u64)> = buckets.filter(|(_, count)| *count > 0).collect();
        Latency {
            total_ns: self.total_ns.get(),
            longest_ns: self.longest_ns.get(),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests;
