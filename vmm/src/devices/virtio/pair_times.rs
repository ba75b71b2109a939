//! How long what went through a pair of queues was with us, since the process started. Each histogram has one writer.

use axion_api::vmm::metrics::PairLatencies;

use super::histogram::Histogram;

/// The times of one pair.
#[derive(Default)]
pub struct PairTimes {
    /// From when it was there for the guest to when the guest sees it.
    pub receive: Histogram,
    /// From the ring to where the guest sees that it is gone.
    pub send: Histogram,
}

impl PairTimes {
    /// What was counted.
    pub fn read(&self) -> PairLatencies {
        PairLatencies {
            receive: self.receive.read(),
            send: self.send.read(),
        }
    }
}
