//! What the balloon has done, since the process started. One thread counts.

use super::super::counter::Counter;

/// The counters.
#[derive(Debug, Default)]
pub struct Counters {
    /// Pages that the guest gave.
    pub inflated: Counter,
    /// Pages that it took back.
    pub deflated: Counter,
    /// Bytes of pages that it reported as free.
    pub reported: Counter,
    /// Pages that are not there, and such that the kernel did not take.
    pub errors: Counter,
}
