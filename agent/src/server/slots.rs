//! A bound on connections, in all and from one address, so that one client cannot keep the others out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

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
    ip: IpAddr,
}

impl Slots {
    /// `total` places, `each` of them for one address.
    pub fn new(total: usize, each: usize) -> Self {
        Self {
            taken: Arc::default(),
            total,
            each,
        }
    }

    /// A place for a connection from `ip`, where there is one.
    pub fn take(&self, ip: IpAddr) -> Option<Slot> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= self.total {
            return None;
        }
        let own = taken.entry(ip).or_default();
        if *own >= self.each {
            return None;
        }
        *own += 1;
        Some(Slot {
            slots: self.clone(),
            ip,
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.ip) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests;
