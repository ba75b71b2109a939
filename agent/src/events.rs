//! What changed, kept in a bounded ring, read by any number of readers at their own pace.
//!
//! A reader owns a cursor and pulls; nothing is queued for it. One that falls behind the ring's oldest event is told how
//! many it missed ([`What::Lost`]) and goes on with what is there, so a slow reader costs nothing but its own history.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axion_api::event::{Event, What};
use tokio::sync::watch;

/// Events that are kept for readers that come back.
const CAPACITY: usize = 1024;

/// The ring.
pub struct Events {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    newest: u64,
    events: VecDeque<Event>,
}

/// One reader's place in the ring.
pub struct Cursor {
    /// Sequence number of the last event that was read.
    last: u64,
    newest: watch::Receiver<u64>,
}

/// Microseconds since 1970 by the node's clock.
pub fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

impl Events {
    /// An empty ring.
    pub fn new() -> Self {
        Self {
            ring: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }

    /// Appends an event.
    pub fn publish(&self, what: What) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.newest += 1;
        let event = Event {
            sequence: ring.newest,
            unix_us: unix_us(),
            what,
        };
        if ring.events.len() == CAPACITY {
            ring.events.pop_front();
        }
        ring.events.push_back(event);
        self.newest.send_replace(ring.newest);
    }

    /// Every event that is still kept, oldest first.
    pub fn kept(&self) -> Vec<Event> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.events.iter().cloned().collect()
    }

    /// A reader that goes on after event `last` (SSE `Last-Event-ID`), or starts with the next event.
    pub fn subscribe(&self, last: Option<u64>) -> Cursor {
        let newest = self.newest.subscribe();
        let last = last.unwrap_or_else(|| *newest.borrow());
        Cursor { last, newest }
    }

    /// Waits for the reader's next event. Events of an agent that has ended since are lost to the reader.
    pub async fn next(&self, cursor: &mut Cursor) -> Option<Event> {
        loop {
            cursor.newest.borrow_and_update();
            if let Some(event) = self.after(cursor.last) {
                cursor.last = event.sequence;
                return Some(event);
            }
            cursor.newest.changed().await.ok()?;
        }
    }

    fn after(&self, last: u64) -> Option<Event> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = ring
            .events
            .front()
            .map_or(ring.newest + 1, |event| event.sequence);
        let lost = if last > ring.newest {
            // The number is from an earlier run of the agent: all of this run is news to the reader.
            Some((ring.newest, ring.newest))
        } else if last + 1 < oldest {
            Some((oldest - 1, oldest - 1 - last))
        } else {
            None
        };
        if let Some((sequence, count)) = lost {
            return Some(Event {
                sequence,
                unix_us: unix_us(),
                what: What::Lost { count },
            });
        }
        let index = usize::try_from(last + 1 - oldest).ok()?;
        ring.events.get(index).cloned()
    }
}

#[cfg(test)]
mod tests;
