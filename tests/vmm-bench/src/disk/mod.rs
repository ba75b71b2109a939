//! Random reads of a disk, a number of them at a time.

mod ring;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::{Figure, Measured};
use ring::Ring;

/// Bytes of a read.
pub const BLOCK: u64 = 4096;
/// Before it counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// While it counts.
const DURATION: Duration = Duration::from_secs(3);

/// Measures the disk `path`, of `size` bytes, `depth` reads at a time.
///
/// # Errors
/// A read fails.
pub fn reads(path: &Path, size: u64, depth: usize) -> Result<(f64, f64)> {
    let mut ring = Ring::open(path, depth).with_context(|| format!("opening {}", path.display()))?;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut place = move || random.next() % (size / BLOCK) * BLOCK;
    let mut began = vec![Instant::now(); depth];
    for (slot, began) in began.iter_mut().enumerate() {
        *began = Instant::now();
        ring.read(slot, place())?;
    }
    let mut latencies = Vec::with_capacity(1 << 18);
    let mut counted = None;
    let start = Instant::now();
    loop {
        ring.wait()?;
        let now = Instant::now();
        if counted.is_none() && now - start >= WARM_UP {
            counted = Some(now);
            latencies.clear();
        }
        if let Some(since) = counted.map(|from| now - from)
            && since >= DURATION
        {
            ensure!(!latencies.is_empty(), "nothing was read");
            latencies.sort_unstable();
            let median: u64 = latencies.get(latencies.len() / 2).copied().unwrap_or_default();
            return Ok((latencies.len() as f64 / since.as_secs_f64(), median as f64));
        }
        while let Some(slot) = ring.done()? {
            let began = began.get_mut(slot).context("a read that was not begun")?;
            latencies.push(u64::try_from((now - *began).as_nanos()).unwrap_or(u64::MAX));
            *began = now;
            ring.read(slot, place())?;
        }
    }
}

/// Measures with one read at a time and with 32.
///
/// # Errors
/// A read fails.
pub fn measure(path: &Path, size: u64) -> Result<Vec<Measured>> {
    let mut all = Vec::new();
    let depths = [
        (1, Figure::Reads1, Figure::ReadLatency1),
        (32, Figure::Reads32, Figure::ReadLatency32),
    ];
    for (depth, rate, latency) in depths {
        let (reads, median) = reads(path, size, depth)?;
        all.push(Measured {
            figure: rate,
            value: reads,
        });
        all.push(Measured {
            figure: latency,
            value: median,
        });
    }
    Ok(all)
}

/// xorshift64*: the same places in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }
}
