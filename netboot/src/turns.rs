//! A bound on what machines have at a time: in all, from one address, and one for each port of an address. Who is refused asks again.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Who has a turn now.
#[derive(Debug, Clone)]
pub struct Turns {
    held: Arc<Mutex<HashSet<SocketAddr>>>,
    all: usize,
    each: usize,
}

/// A turn, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    peer: SocketAddr,
}

impl Turns {
    /// `all` turns, `each` of them for one address.
    pub fn new(all: usize, each: usize) -> Self {
        Self {
            held: Arc::default(),
            all,
            each,
        }
    }

    /// A turn for `peer`, where there is one, and it has none already.
    pub fn take(&self, peer: SocketAddr) -> Option<Turn> {
        let mut held = self.held();
        let own = held.iter().filter(|other| other.ip() == peer.ip()).count();
        let free = held.len() < self.all && own < self.each && held.insert(peer);
        drop(held);
        free.then(|| Turn {
            turns: self.clone(),
            peer,
        })
    }

    fn held(&self) -> MutexGuard<'_, HashSet<SocketAddr>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.held().remove(&self.peer);
    }
}

#[cfg(test)]
mod tests;
