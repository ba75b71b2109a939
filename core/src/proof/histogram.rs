//! How often a value occurred, in classes that are at most a 32nd of the value wide.

use super::Delay;

/// Classes of each power of two, and the values below which each has a class of its own.
const FINE: usize = 32;
/// log2 of [`FINE`].
const FINE_BITS: u32 = 5;
/// Classes: 32 of single values, and 32 for each of the powers 2^5 to 2^63.
const CLASSES: usize = FINE + (64 - FINE_BITS as usize) * FINE;

/// How often each class of values occurred. Recording takes a handful of instructions and no memory.
#[derive(Debug, Clone)]
pub struct Histogram {
    classes: Box<[u64; CLASSES]>,
    rounds: u64,
    min: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            classes: Box::new([0; CLASSES]),
            rounds: 0,
            min: u64::MAX,
            max: 0,
        }
    }
}

fn class(value: u64) -> usize {
    let power = value.max(1).ilog2();
    if power < FINE_BITS {
        return usize::try_from(value).unwrap_or_default();
    }
    let above = power - FINE_BITS;
    // The five bits behind the highest one.
    let fine = (value >> above) & (FINE as u64 - 1);
    FINE + above as usize * FINE + usize::try_from(fine).unwrap_or_default()
}

/// The highest value of a class.
fn top(class: usize) -> u64 {
    if class < FINE {
        return class as u64;
    }
    let (above, fine) = ((class - FINE) / FINE, (class - FINE) % FINE);
    let next = ((FINE + fine + 1) as u128) << above;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

impl Histogram {
    /// Takes a value down.
    #[inline]
    pub fn record(&mut self, value: u64) {
        if let Some(count) = self.classes.get_mut(class(value)) {
            *count += 1;
        }
        self.rounds += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Values taken down.
    pub const fn rounds(&self) -> u64 {
        self.rounds
    }

    /// The value that `per_mille` of 1000 values do not exceed, at most a 32nd too high; 0 when there is none.
    pub fn percentile(&self, per_mille: u64) -> u64 {
        let wanted = self.rounds.saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        for (class, count) in self.classes.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return top(class).min(self.max);
            }
        }
        0
    }

    /// Delays against the least value; `nanoseconds` is what a value means.
    pub fn delay(&self, nanoseconds: impl Fn(u64) -> u64) -> Delay {
        if self.rounds == 0 {
            return Delay::default();
        }
        let late = |value: u64| nanoseconds(value.saturating_sub(self.min));
        Delay {
            round_ns: nanoseconds(self.min),
            p50_ns: late(self.percentile(500)),
            p99_ns: late(self.percentile(990)),
            p999_ns: late(self.percentile(999)),
            max_ns: late(self.max),
        }
    }
}
