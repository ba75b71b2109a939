//! What the driver writes: page numbers (§5.5.6) and statistics (§5.5.6.4). Decides, does nothing.

use axion_api::vmm::BalloonStatistics;

use super::backing::PAGE;

/// Most bytes of page numbers in a buffer; Linux sends 256 of them.
pub const MOST_NUMBERS: usize = 4096 * 4;
/// Most bytes of statistics.
pub const MOST_STATISTICS: usize = 64 * STATISTIC;
/// Bytes of a statistic: tag and value, without padding.
const STATISTIC: usize = 10;

/// A range of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Guest address.
    pub start: u64,
    /// Bytes.
    pub len: u64,
}

/// The pages of these numbers as ranges, neighbours in one: fewer system calls.
pub fn ranges(numbers: &[u8]) -> Vec<Range> {
    let (numbers, _) = numbers.as_chunks::<4>();
    let mut pages: Vec<u32> = numbers.iter().copied().map(u32::from_le_bytes).collect();
    pages.sort_unstable();
    pages.dedup();
    let mut ranges: Vec<Range> = Vec::new();
    for page in pages {
        let start = u64::from(page) * PAGE;
        match ranges.last_mut() {
            Some(last) if last.start + last.len == start => last.len += PAGE,
            _ => ranges.push(Range { start, len: PAGE }),
        }
    }
    ranges
}

/// How many page numbers there are.
pub fn count(numbers: &[u8]) -> u64 {
    (numbers.len() / 4) as u64
}

/// The statistics in `bytes`. Unknown ones are left out; of one that comes twice, the last counts.
pub fn statistics(bytes: &[u8]) -> BalloonStatistics {
    let mut statistics = BalloonStatistics::default();
    let (entries, _) = bytes.as_chunks::<STATISTIC>();
    for [low, high, a, b, c, d, e, f, g, h] in entries {
        let value = u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]);
        let place = match u16::from_le_bytes([*low, *high]) {
            0 => &mut statistics.swapped_in,
            1 => &mut statistics.swapped_out,
            2 => &mut statistics.major_faults,
            3 => &mut statistics.minor_faults,
            4 => &mut statistics.free,
            5 => &mut statistics.total,
            6 => &mut statistics.available,
            7 => &mut statistics.disk_caches,
            _ => continue,
        };
        // A driver says all ones of what it does not know.
        *place = (value != u64::MAX).then_some(value);
    }
    statistics
}
