//! How long a device thread looks at its ring before it sleeps.
//!
//! A driver that finds the device asleep has to wake it: an exit, and the wake-up of a thread. One that does a request at a time
//! pays both for each of them. A thread that looks at the ring for a moment longer saves both, and costs its CPU that moment. As
//! KVM does with vCPUs that halt (Documentation/virt/kvm/halt-polling.rst), the moment is fitted to what was seen: it grows while
//! sleeps turn out to be short, and is given up by the first long one, so that a guest at rest costs nothing.

use std::time::{Duration, Instant};

/// A moment to begin with.
const FIRST: Duration = Duration::from_micros(10);
/// No longer than that: KVM's own limit for vCPUs (`halt_poll_ns`).
const LONGEST: Duration = Duration::from_micros(200);
/// Looks between two at the clock.
const LOOKS: u32 = 16;

/// The moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window(Duration);

impl Window {
    /// Whether it is worth looking at all.
    pub fn is_open(self) -> bool {
        !self.0.is_zero()
    }

    /// Looks with `found` for so long; says whether it found something.
    pub fn look(self, mut found: impl FnMut() -> bool) -> bool {
        if !self.is_open() {
            return false;
        }
        let begin = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if found() {
                    return true;
                }
                std::hint::spin_loop();
            }
            if begin.elapsed() >= self.0 {
                return false;
            }
        }
    }

    /// It was slept for `time` after all.
    pub fn slept(&mut self, time: Duration) {
        self.0 = if time > LONGEST {
            Duration::ZERO
        } else {
            (self.0 * 2).clamp(FIRST, LONGEST)
        };
    }
}

#[cfg(test)]
mod tests;
