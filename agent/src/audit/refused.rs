//! Calls without a valid token in the audit log.
//!
//! Whoever reaches the node can make as many as the connection takes, as long as they like, and the file is bounded: written one by
//! one they would push out who changed what. So of each peer one is written, shortened, and after [`WINDOW`] how many more there were.
//! Peers beyond [`PEERS`] in that time are taken together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::auth::limit::peer;

/// How long further calls of a peer are only counted.
pub const WINDOW: Duration = Duration::from_secs(60);
/// Peers that are told apart at a time.
const PEERS: usize = 32;
/// Longest path that is written, bytes.
const LONGEST_TARGET: usize = 256;
/// Longest method that is written, bytes; those that exist are shorter.
const LONGEST_METHOD: usize = 16;

/// Peers that were refused within the last [`WINDOW`], and how many more of their calls there were.
#[derive(Default)]
pub struct Refused(Mutex<BTreeMap<Option<IpAddr>, u64>>);

/// The first refusal of a peer, or of one of the peers beyond those that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First(Option<IpAddr>);

impl std::fmt::Display for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(IpAddr::V6(network)) => write!(f, "{network}/64"),
            Some(address) => write!(f, "{address}"),
            None => f.write_str("others"),
        }
    }
}

impl Refused {
    /// Counts a call. The first of a peer is to be written, and [`Refused::end`] to be called [`WINDOW`] later.
    pub fn count(&self, ip: IpAddr) -> Option<First> {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut from = Some(peer(ip));
        if !peers.contains_key(&from) && peers.len() >= PEERS {
            from = None;
        }
        match peers.get_mut(&from) {
            Some(more) => {
                *more = more.saturating_add(1);
                None
            }
            None => {
                peers.insert(from, 0);
                Some(First(from))
            }
        }
    }

    /// How many more there were of whoever this was the first of; the next is a first one again.
    pub fn end(&self, first: First) -> u64 {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers.remove(&first.0).unwrap_or(0)
    }
}

/// A path that a stranger named, as far as it is written.
pub fn target(text: &str) -> &str {
    start(text, LONGEST_TARGET)
}

/// A method that a stranger named, as far as it is written.
pub fn method(text: &str) -> &str {
    start(text, LONGEST_METHOD)
}

fn start(text: &str, longest: usize) -> &str {
    text.get(..text.floor_char_boundary(longest)).unwrap_or(text)
}

#[cfg(test)]
mod tests;
