//! Entropy device (virtio 1.3 §5.4): fills the driver's buffers from the kernel's generator.
//!
//! It works on the vCPU's thread, within the exit of the notification: there is no thread to wake, and nothing in flight
//! when vCPUs are stopped. A guest that keeps it busy keeps one of its own vCPUs from running, and that one can still be
//! stopped: a notification is served a ring's length at most. That is all that there was when the driver notified; it notifies
//! again when it goes on.

use std::io;

use rustix::rand::GetRandomFlags;
use vm_memory::{Bytes, GuestAddress};

use super::queue::{Chain, RingError};
use super::{ActiveQueue, Doorbells, Kind, Running, VirtioDevice};
use crate::log;

/// Entries of the only queue.
const QUEUE_SIZE: u16 = 64;
/// Most bytes that one buffer gets; the driver is told how many it got.
const MOST: usize = 64 << 10;
/// Bytes that are fetched at a time.
const PIECE: usize = 4 << 10;

/// The device.
pub struct Rng;

impl VirtioDevice for Rng {
    fn kind(&self) -> Kind {
        Kind::Entropy
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn doorbells(&self) -> Doorbells {
        Doorbells::Inline
    }

    fn config(&self) -> &[u8] {
        &[]
    }

    fn activate(&mut self, _features: u64, queues: Vec<ActiveQueue>) -> io::Result<Box<dyn Running>> {
        Ok(Box::new(Source {
            queue: queues.into_iter().next(),
            chain: Chain::default(),
        }))
    }
}

/// The device at work.
struct Source {
    /// None where the driver enabled no queue, or broke it.
    queue: Option<ActiveQueue>,
    chain: Chain,
}

impl Running for Source {
    fn notify(&mut self, _queue: u16) {
        let Some(queue) = &mut self.queue else { return };
        if let Err(error) = serve(queue, &mut self.chain) {
            log::line(format_args!("rng: {error}"));
            queue.notifier.needs_reset();
            self.queue = None;
        }
    }

    fn pause(&mut self) {}

    fn resume(&mut self) {}
}

fn serve(queue: &mut ActiveQueue, chain: &mut Chain) -> Result<(), RingError> {
    let mut left = queue.ring.size();
    loop {
        queue.ring.silence();
        while left > 0 && queue.ring.pop(chain)? {
            let written = fill(queue, chain);
            queue.ring.complete(chain.head, written);
            left -= 1;
        }
        queue.publish();
        if !queue.ring.listen()? {
            return Ok(());
        }
        if left == 0 {
            queue.ring.listen_beyond();
            return Ok(());
        }
    }
}

/// Fills the segments of `chain`; returns the number of bytes.
fn fill(queue: &ActiveQueue, chain: &Chain) -> u32 {
    let mut left = MOST;
    let mut written = 0;
    let mut piece = [0; PIECE];
    for segment in &chain.writable {
        let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
        for offset in (0..len).step_by(PIECE) {
            let count = PIECE.min(len - offset).min(left);
            let bytes = piece.get_mut(..count).unwrap_or_default();
            let address = GuestAddress(segment.address + offset as u64);
            // By the system call itself: what a crate would fall back to in a static program, a file, is out of the sandbox's
            // reach. No more than 256 bytes are promised at once without an interruption (getrandom(2)).
            let fetched = bytes
                .chunks_mut(256)
                .all(|piece| rustix::rand::getrandom(piece, GetRandomFlags::empty()).is_ok());
            if count == 0 || !fetched || queue.ring.memory().write_slice(bytes, address).is_err() {
                return written;
            }
            left -= count;
            written += u32::try_from(count).unwrap_or(0);
        }
    }
    written
}

#[cfg(test)]
mod tests;
