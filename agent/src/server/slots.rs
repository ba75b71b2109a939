//! A bound on connections, in all and from one peer (an IPv4 address, an IPv6 /64), so that one client cannot keep the others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::limit::peer;

/// Free places for connections.
#[derive(Clone)]
pub struct Slots {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    total: usize,
    each: usize,
}

/// A place that a connection holds.
pub struct Slot {
    slots: Slots,
    peer: IpAddr,
}

impl Slots {
    /// `total` places, `each` of them for one peer.
    pub fn new(total: usize, each: usize) -> Self {
        Self {
            taken: Arc::default(),
            total,
            each,
        }
    }

    /// A place for a connection from `ip`, where there is one.
    pub fn take(&self, ip: IpAddr) -> Option<Slot> {
        let peer = peer(ip);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.total {
            return None;
        }
        let own = taken.entry(peer).or_default();
        if *own >= self.each {
            return None;
        }
        *own += 1;
        Some(Slot {
            slots: self.clone(),
            peer,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests;
