//! What the socket device has done, since the process started. One thread counts.

use axion_api::vmm::VsockStatus;

use super::super::counter::Counter;
use super::super::pair_times::PairTimes;

/// The counters.
#[derive(Default)]
pub struct Counters {
    /// Connections that are there now.
    pub connections: Counter,
    /// Connections that the guest opened.
    pub from_guest: Counter,
    /// Connections that were opened to the guest.
    pub to_guest: Counter,
    /// Resets, by either side: of what was refused or has failed, and one at each ordinary end.
    pub resets: Counter,
    /// Bytes that the guest sent.
    pub sent_bytes: Counter,
    /// Bytes that the guest received.
    pub received_bytes: Counter,
    /// How long packets were with us.
    pub times: PairTimes,
}

impl Counters {
    /// Their values, for the guest `cid`.
    pub fn read(&self, cid: u32) -> VsockStatus {
        VsockStatus {
            cid,
            connections: self.connections.get(),
            from_guest: self.from_guest.get(),
            to_guest: self.to_guest.get(),
            resets: self.resets.get(),
            sent_bytes: self.sent_bytes.get(),
            received_bytes: self.received_bytes.get(),
        }
    }
}
