//! Deadlines, and the one place that polls.
//!
//! Emulated machines are slow and their hosts are noisy: every wait in the lab is multiplied by `AXION_LAB_SLOW`
//! (a number, 1 when unset), so that a slower computer needs no changed test.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::{Error, Result};

/// Factor of every deadline.
pub const SLOW: &str = "AXION_LAB_SLOW";

/// `within` on this computer.
pub fn scaled(within: Duration) -> Duration {
    static FACTOR: OnceLock<f64> = OnceLock::new();
    let factor = FACTOR.get_or_init(|| factor(std::env::var(SLOW).ok().as_deref()));
    within.mul_f64(*factor)
}

/// The factor that `AXION_LAB_SLOW` asks for: 0.1 to 100, else 1.
fn factor(text: Option<&str>) -> f64 {
    text.and_then(|t| t.parse().ok())
        .filter(|f| (0.1..=100.0).contains(f))
        .unwrap_or(1.0)
}

/// Asks `probe` every `interval` until it gives a value. `what` completes "… did not happen".
///
/// For states that nothing announces; where there is an event, wait for the event.
///
/// # Errors
/// The probe's own error when it fails for good, or [`Error::Timeout`] with the last thing that it saw.
#[allow(clippy::disallowed_methods)]
pub fn poll<T>(
    what: &str,
    within: Duration,
    interval: Duration,
    mut probe: impl FnMut() -> Result<Poll<T>>,
) -> Result<T> {
    let within = scaled(within);
    let end = Instant::now() + within;
    loop {
        let last = match probe()? {
            Poll::Ready(value) => return Ok(value),
            Poll::Pending(seen) => seen,
        };
        if Instant::now() >= end {
            return Err(Error::Timeout {
                what: what.to_owned(),
                within,
                last: Some(last),
            });
        }
        std::thread::sleep(interval);
    }
}

/// What a probe saw.
pub enum Poll<T> {
    /// It happened.
    Ready(T),
    /// Not yet; what is there instead.
    Pending(String),
}

#[cfg(test)]
mod tests;
