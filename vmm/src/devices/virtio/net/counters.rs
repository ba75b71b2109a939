//! How long frames of a queue pair were with us, since the process started. Each has one writer.

use axion_api::vmm::metrics::PairLatencies;

use super::super::histogram::Histogram;

/// The counters of one pair.
#[derive(Default)]
pub struct Counters {
    /// From the tap to where the guest sees them.
    pub receive_times: Histogram,
    /// From the ring to where the guest sees that they are gone.
    pub send_times: Histogram,
}

impl Counters {
    /// How long frames took.
    pub fn latencies(&self) -> PairLatencies {
        PairLatencies {
            receive: self.receive_times.read(),
            send: self.send_times.read(),
        }
    }
}
