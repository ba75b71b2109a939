//! How fast one peer may guess.
//!
//! A wrong token is a failed attempt, and so is none. Each takes a place on the peer's time line, one per [`INTERVAL`], after a free
//! burst; its answer waits for that place. A peer whose line is longer than [`LONGEST_WAIT`] is refused without looking at what it brings. A peer is an
//! IPv4 address or an IPv6 /64; the table is bounded, and the peer that has been quiet longest makes room.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two failures of one peer, after the burst.
const INTERVAL: Duration = Duration::from_secs(1);
/// Failures that are answered at once.
const BURST: u32 = 10;
/// A peer that would wait longer is refused.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Peers that are remembered.
const PEERS: usize = 4096;

/// Failures by peer.
#[derive(Default)]
pub struct Limiter {
    /// When the peer's line is empty again.
    lines: Mutex<HashMap<IpAddr, Instant>>,
}

/// The peer is refused for this long.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused(pub Duration);

/// Whom an address belongs to: an IPv4 address is one peer, an IPv6 /64 is one.
pub fn peer(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

impl Limiter {
    /// Whether the peer may try.
    pub fn admit(&self, ip: IpAddr, now: Instant) -> Result<(), Refused> {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines
            .get(&peer(ip))
            .map_or(Duration::ZERO, |empty| empty.saturating_duration_since(now));
        let wait = line.saturating_sub(INTERVAL * BURST);
        if wait > LONGEST_WAIT {
            Err(Refused(wait - LONGEST_WAIT))
        } else {
            Ok(())
        }
    }

    /// Notes a failure; its answer is due after this long.
    pub fn fail(&self, ip: IpAddr, now: Instant) -> Duration {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= PEERS {
            lines.retain(|_, empty| *empty > now);
        }
        if lines.len() >= PEERS
            && let Some(quiet) = lines.iter().min_by_key(|(_, empty)| **empty).map(|(ip, _)| *ip)
        {
            lines.remove(&quiet);
        }
        let empty = lines.entry(peer(ip)).or_insert(now);
        *empty = (*empty).max(now) + INTERVAL;
        empty
            .saturating_duration_since(now)
            .saturating_sub(INTERVAL * BURST)
    }
}
