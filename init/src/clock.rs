//! Clocks: time since the kernel's start, and the time of day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Time since the kernel's start. Goes on in suspend, never steps.
pub fn since_start() -> Duration {
    // CLOCK_BOOTTIME exists since Linux 2.6.39; it cannot fail on a kernel that runs this.
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .unwrap_or_default()
}

/// CLOCK_MONOTONIC: the same in every process, and in the tracer's `mono`.
pub fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(Duration::from)
        .unwrap_or_default()
}

/// Microseconds, saturating.
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds since 1970; 0 for a clock that stands before it.
pub fn unix_us() -> u64 {
    micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
