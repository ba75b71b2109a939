//! Addresses that are lent: in memory only, and each machine gets the same one again where it can. Pure.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::{Duration, Instant};

use axion_core::mac::Mac;

use super::LEASE;

/// How long an address is held that was only offered.
const OFFERED: Duration = Duration::from_secs(60);
/// How long an address stays unused that somebody else has.
const DECLINED: Duration = Duration::from_secs(600);
/// Addresses of the largest range: what one network of machines can need, and what is searched in no time.
const MOST: u32 = 65_536;

/// Addresses to lend, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    first: u32,
    last: u32,
}

impl Range {
    /// Whether `address` is in it.
    pub fn has(self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&u32::from(address))
    }

    /// Its lowest address.
    pub fn first(self) -> Ipv4Addr {
        self.first.into()
    }

    /// Its highest address.
    pub fn last(self) -> Ipv4Addr {
        self.last.into()
    }

    fn len(self) -> u32 {
        self.last - self.first + 1
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first(), self.last())
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no range of addresses, as in `10.0.0.100-10.0.0.199`");
        let (first, last) = text.split_once('-').ok_or_else(bad)?;
        let address = |text: &str| text.trim().parse::<Ipv4Addr>().map(u32::from);
        let (first, last) = (
            address(first).map_err(|_| bad())?,
            address(last).map_err(|_| bad())?,
        );
        if last < first {
            return Err(format!("the range {text} ends before it begins"));
        }
        if last - first >= MOST {
            return Err(format!("the range {text} has more than {MOST} addresses"));
        }
        Ok(Self { first, last })
    }
}

#[derive(Debug, Clone, Copy)]
struct Lease {
    mac: Mac,
    until: Instant,
}

/// A range, and who has which of its addresses.
#[derive(Debug)]
pub struct Leases {
    range: Range,
    taken: HashMap<Ipv4Addr, Lease>,
    declined: HashMap<Ipv4Addr, Instant>,
    /// Addresses that are somebody's for good: the server's own.
    reserved: Vec<Ipv4Addr>,
}

impl Leases {
    /// All of `range` but `reserved` free.
    pub fn new(range: Range, reserved: Vec<Ipv4Addr>) -> Self {
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
        let others =
            (0..self.range.len()).map(|n| Ipv4Addr::from(self.range.first + (start + n) % self.range.len()));
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
