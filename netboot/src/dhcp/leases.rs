//! Addresses that are lent: in memory only, and each machine gets the same one again where it can. Pure.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use axion_core::config::AddressRange;
use axion_core::mac::Mac;

use super::LEASE;

/// How long an address is held that was only offered.
const OFFERED: Duration = Duration::from_secs(60);
/// How long an address stays unused that somebody else has.
const DECLINED: Duration = Duration::from_secs(600);
#[derive(Debug, Clone, Copy)]
struct Lease {
    mac: Mac,
    until: Instant,
}

/// A range, and who has which of its addresses.
#[derive(Debug)]
pub struct Leases {
    range: AddressRange,
    taken: HashMap<Ipv4Addr, Lease>,
    declined: HashMap<Ipv4Addr, Instant>,
    /// Addresses that are somebody's for good: the server's own.
    reserved: Vec<Ipv4Addr>,
}

impl Leases {
    /// All of `range` but `reserved` free.
    pub fn new(range: AddressRange, reserved: Vec<Ipv4Addr>) -> Self {
        Self {
            range,
            taken: HashMap::new(),
            declined: HashMap::new(),
            reserved,
        }
    }

    /// Holds an address for `mac` for a minute: the one that it has, else the one that it wants, else one that follows from
    /// its MAC address, so that it gets the same one from a server that has forgotten it. `None`: the range is used up.
    pub fn offer(&mut self, mac: Mac, wanted: Option<Ipv4Addr>, now: Instant) -> Option<Ipv4Addr> {
        let has = self.taken.iter().find(|(_, lease)| lease.mac == mac);
        let has = has.map(|(address, _)| *address);
        let mut hasher = DefaultHasher::new();
        mac.hash(&mut hasher);
        let start = u32::try_from(hasher.finish() % u64::from(self.range.len())).unwrap_or(0);
        let others = (0..self.range.len()).map(|n| self.range.nth(start + n));
        let mut candidates = has.into_iter().chain(wanted).chain(others);
        let address = candidates.find(|address| self.is_free(*address, mac, now))?;
        let until = now + OFFERED;
        let lease = self.taken.entry(address).or_insert(Lease { mac, until });
        // One that is lent to it already stays so.
        if lease.mac != mac || lease.until < until {
            *lease = Lease { mac, until };
        }
        Some(address)
    }

    /// Lends `address` to `mac`; `false` when it cannot have it.
    pub fn confirm(&mut self, mac: Mac, address: Ipv4Addr, now: Instant) -> bool {
        if !self.is_free(address, mac, now) {
            return false;
        }
        self.taken.retain(|_, lease| lease.mac != mac);
        let until = now + Duration::from_secs(LEASE.into());
        self.taken.insert(address, Lease { mac, until });
        true
    }

    /// Takes `address` back from `mac`.
    pub fn release(&mut self, mac: Mac, address: Ipv4Addr) {
        if self.taken.get(&address).is_some_and(|lease| lease.mac == mac) {
            self.taken.remove(&address);
        }
    }

    /// Leaves `address` alone for a while: `mac` has found somebody else who uses it.
    pub fn decline(&mut self, mac: Mac, address: Ipv4Addr, now: Instant) {
        if self.taken.get(&address).is_some_and(|lease| lease.mac == mac) {
            self.taken.remove(&address);
            self.declined.insert(address, now + DECLINED);
        }
    }

    fn is_free(&self, address: Ipv4Addr, mac: Mac, now: Instant) -> bool {
        let lease = self.taken.get(&address);
        let others = lease.is_some_and(|lease| lease.mac != mac && lease.until > now);
        let declined = self.declined.get(&address).is_some_and(|until| *until > now);
        self.range.has(address) && !others && !declined && !self.reserved.contains(&address)
    }
}

#[cfg(test)]
mod tests;
