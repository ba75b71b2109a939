//! The thread of a queue pair, where the kernel's own device (vhost) cannot be had.
//!
//! ```text
//! tap ──readv──> held chains of the receive ring ──> used, interrupt
//! send ring ──> chain ──writev──> tap ──> used
//! ```
//!
//! A frame goes straight into the driver's buffers. How long it is shows only when it is there: as many chains are held
//! ready as the longest frame of late needed, and what does not fit goes to a spill of this process, from where it is
//! copied when the driver has given more. With `MRG_RXBUF` one frame may take several chains (§5.1.6.3); without it, one
//! that is too long is lost.
//!
//! The rings take turns, [`ROUND`] frames each; the driver sees a round's results at once, by one interrupt. A side that
//! cannot go on (no frame, no buffer, no room in the tap) is left alone until an edge tells that it can.
//!
//! How long frames are with us is counted by one look at the clock when a round begins and one when its results are seen: a
//! frame has the time of its round, and of those that it had to wait for.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::EpollTimeout;

use super::backing::Interface;
use super::control::Control;
use super::edges::Edges;
use super::tap::{HEADER, Tap, Vector, borrow};
use crate::devices::virtio::ActiveQueue;
use crate::devices::virtio::queue::segments::{self, total};
use crate::devices::virtio::queue::{Chain, RingError};
use crate::devices::virtio::worker::{Order, Orders};
use crate::log;

/// Most frames of a ring before the other ring's.
const ROUND: usize = 64;
/// Most bytes of a frame: header, addresses, a VLAN tag, and what IP can say.
const MOST: usize = HEADER + 18 + 65535;
/// Bytes that are held ready at least.
const LEAST: usize = 2048;
/// Where the header says how many chains a frame has.
const CHAIN_COUNT: usize = 10;

const TAP: u64 = 0;
const RECEIVE: u64 = 1;
const SEND: u64 = 2;
const CONTROL: u64 = 3;
const ORDERS: u64 = 4;

/// A frame of which a part is in the spill.
#[derive(Debug, Clone, Copy)]
struct Spilled {
    /// Bytes.
    len: usize,
    /// Bytes that are in the held chains.
    placed: usize,
}

/// Frames of a direction in a round.
#[derive(Debug, Default)]
struct Moved {
    /// Of this round.
    fresh: u64,
    /// Since when the one that had to wait was there.
    waited: Option<Instant>,
}

/// Why a ring is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    /// It is not left alone.
    Yes,
    /// Until the driver gives buffers.
    Starved,
    /// Until the tap has a frame, or room for one.
    Waiting,
}

/// What works on a pair.
pub struct Pair {
    interface: Arc<Interface>,
    tap: Arc<Tap>,
    receive: ActiveQueue,
    send: ActiveQueue,
    /// With the first pair.
    control: Option<Control>,
    mergeable: bool,
    vector: Vector,
    spill: Vec<u8>,
    spilled: Option<Spilled>,
    /// Chains of the receive ring, in order.
    held: VecDeque<Chain>,
    spare: Vec<Chain>,
    /// Bytes of the longest frame of late.
    goal: usize,
    receiving: Ready,
    /// To be sent.
    chain: Chain,
    /// A frame is in `chain` that the tap had no room for.
    unsent: bool,
    sending: Ready,
    /// When the round began.
    now: Instant,
    /// Since when the frame in the spill, and the one that is unsent, have been there.
    spilled_since: Instant,
    unsent_since: Instant,
    received: Moved,
    sent: Moved,
    /// The driver broke a ring.
    broken: bool,
}

impl Pair {
    /// Work on the pair `place` of `interface`.
    pub fn new(
        interface: Arc<Interface>,
        tap: Arc<Tap>,
        [receive, send]: [ActiveQueue; 2],
        control: Option<Control>,
        mergeable: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            now,
            spilled_since: now,
            unsent_since: now,
            received: Moved::default(),
            sent: Moved::default(),
            vector: Vector::new(receive.ring.memory()),
            interface,
            tap,
            receive,
            send,
            control,
            mergeable,
            spill: vec![0; MOST],
            spilled: None,
            held: VecDeque::new(),
            spare: Vec::new(),
            goal: LEAST,
            receiving: Ready::Yes,
            chain: Chain::default(),
            unsent: false,
            sending: Ready::Yes,
            broken: false,
        }
    }

    /// Works until the order to stop.
    pub fn run(mut self, orders: &Orders) {
        let edges = match self.watch(orders) {
            Ok(edges) => edges,
            Err(errno) => return self.fail(&io::Error::from(errno)),
        };
        loop {
            match orders.current() {
                Order::Run => {
                    let more = self.work();
                    if let Err(errno) = self.wait(&edges, more) {
                        return self.fail(&io::Error::from(errno));
                    }
                }
                // Nothing is in flight between rounds.
                Order::Pause => drop(orders.rest()),
                Order::Stop => return,
            }
        }
    }

    fn watch(&self, orders: &Orders) -> Result<Edges, Errno> {
        let queues = [
            (RECEIVE, Some(&self.receive)),
            (SEND, Some(&self.send)),
            (CONTROL, self.control.as_ref().map(|control| &control.queue)),
        ];
        let doorbells = queues.into_iter().filter_map(|(number, queue)| {
            let doorbell = queue?.doorbell.as_ref()?;
            Some((number, borrow(doorbell)))
        });
        Edges::of(doorbells.chain([(TAP, self.tap.as_fd()), (ORDERS, borrow(orders.wake()))]))
    }

    /// Waits for edges; where there is `more`, only looks for them: a ring that is left alone is not to stay so for as long as the
    /// other one is busy.
    fn wait(&mut self, edges: &Edges, more: bool) -> Result<(), Errno> {
        let timeout = if more {
            EpollTimeout::ZERO
        } else {
            EpollTimeout::NONE
        };
        edges.wait(timeout, |number, broken| match number {
            // It is gone, and says so once.
            TAP if broken => log::line(format_args!("network device {}: gone", self.interface.name)),
            TAP => {
                for ready in [&mut self.receiving, &mut self.sending] {
                    if *ready == Ready::Waiting {
                        *ready = Ready::Yes;
                    }
                }
            }
            RECEIVE if self.receiving == Ready::Starved => self.receiving = Ready::Yes,
            SEND if self.sending == Ready::Starved => self.sending = Ready::Yes,
            CONTROL => {
                if let Some(control) = &mut self.control {
                    control.serve();
                }
            }
            _ => {}
        })
    }

    /// Looks at both rings and the tap again, whatever they told last.
    #[cfg(test)]
    pub fn look_again(&mut self) {
        (self.receiving, self.sending) = (Ready::Yes, Ready::Yes);
    }

    /// A round of each ring. Says whether there is more.
    pub fn work(&mut self) -> bool {
        if self.broken {
            return false;
        }
        self.now = Instant::now();
        let worked = self.receive_round().and_then(|()| self.send_round());
        self.receive.publish();
        self.send.publish();
        self.count();
        if let Err(error) = worked {
            self.fail(&error);
            return false;
        }
        self.receiving == Ready::Yes || self.sending == Ready::Yes
    }

    /// Counts what the driver can see now.
    fn count(&mut self) {
        let (received, sent) = (std::mem::take(&mut self.received), std::mem::take(&mut self.sent));
        let any = |moved: &Moved| moved.fresh > 0 || moved.waited.is_some();
        let place = usize::from(self.receive.index / 2);
        let Some(pair) = self.interface.times.get(place) else {
            return;
        };
        if !any(&received) && !any(&sent) {
            return;
        }
        let end = Instant::now();
        for (moved, times) in [(received, &pair.receive), (sent, &pair.send)] {
            times.add_all(end.saturating_duration_since(self.now), moved.fresh);
            if let Some(since) = moved.waited {
                times.add(end.saturating_duration_since(since));
            }
        }
    }

    fn receive_round(&mut self) -> Result<(), RingError> {
        if self.receiving != Ready::Yes {
            return Ok(());
        }
        self.receive.ring.silence();
        for _ in 0..ROUND {
            self.receiving = self.receive_frame()?;
            if self.receiving != Ready::Yes {
                break;
            }
        }
        Ok(())
    }

    fn receive_frame(&mut self) -> Result<Ready, RingError> {
        if let Some(Spilled { len, placed }) = self.spilled {
            let room = self.hold(len)?;
            if room < len {
                // All that the ring can give is too little.
                if self.held.len() < usize::from(self.receive.ring.size()) {
                    return Ok(Ready::Starved);
                }
                self.spilled = None;
                return Ok(Ready::Yes);
            }
            self.unspill(placed, len);
            self.spilled = None;
            self.finish(len);
            if self.spilled_since == self.now {
                self.received.fresh += 1;
            } else {
                self.received.waited = Some(self.spilled_since);
            }
            return Ok(Ready::Yes);
        }
        self.hold(self.goal)?;
        if self.held.is_empty() {
            return Ok(Ready::Starved);
        }
        self.vector.clear();
        let mut room = 0;
        for chain in &self.held {
            if room >= self.goal || (room > 0 && !self.mergeable) {
                break;
            }
            room += self.vector.extend(&chain.writable);
        }
        let len = match self.tap.receive(&mut self.vector, &mut self.spill) {
            Ok(len) => len,
            Err(error) => {
                return Ok(match error.raw_os_error() {
                    Some(libc::EINTR) => Ready::Yes,
                    // No frame; or the device is down or gone, and tells when it is not.
                    _ => Ready::Waiting,
                });
            }
        };
        self.goal = len.max(self.goal - self.goal / 8).max(LEAST);
        if len <= room {
            self.finish(len);
            self.received.fresh += 1;
        } else if self.mergeable {
            self.spilled = Some(Spilled { len, placed: room });
            self.spilled_since = self.now;
        }
        Ok(Ready::Yes)
    }

    /// Holds chains with room for `len` bytes, or as many as there are; one where they are not to be merged. Returns the
    /// bytes.
    fn hold(&mut self, len: usize) -> Result<usize, RingError> {
        let mut room: usize = self.held.iter().map(|chain| total(&chain.writable)).sum();
        while room < len && (self.mergeable || self.held.is_empty()) {
            let mut chain = self.spare.pop().unwrap_or_default();
            while !self.receive.ring.pop(&mut chain)? {
                if !self.receive.ring.listen()? {
                    self.spare.push(chain);
                    return Ok(room);
                }
            }
            let bytes = total(&chain.writable);
            if bytes < HEADER {
                return Err(RingError::Buffer);
            }
            room += bytes;
            self.held.push_back(chain);
        }
        Ok(room)
    }

    /// Copies what is in the spill behind the first `placed` bytes of held chains, of `len`.
    fn unspill(&self, placed: usize, len: usize) {
        let mut rest = self.spill.get(..len - placed).unwrap_or_default();
        let mut offset = placed;
        for chain in &self.held {
            let room = total(&chain.writable);
            if offset >= room {
                offset -= room;
                continue;
            }
            let memory = self.receive.ring.memory();
            let written = segments::write(memory, &chain.writable, offset, rest);
            rest = rest.get(written..).unwrap_or_default();
            offset = 0;
        }
    }

    /// Gives the driver the frame of `len` bytes that is in the held chains.
    fn finish(&mut self, len: usize) {
        let mut left = len;
        let lengths = self.held.iter().map(|chain| {
            let used = total(&chain.writable).min(left);
            left -= used;
            used
        });
        let count = lengths.take_while(|used| *used > 0).count();
        if let Some(first) = self.held.front() {
            let number = u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes();
            segments::write(self.receive.ring.memory(), &first.writable, CHAIN_COUNT, &number);
        }
        let mut left = len;
        for chain in self.held.drain(..count) {
            let used = total(&chain.writable).min(left);
            left -= used;
            let written = u32::try_from(used).unwrap_or(u32::MAX);
            self.receive.ring.complete(chain.head, written);
            self.spare.push(chain);
        }
    }

    fn send_round(&mut self) -> Result<(), RingError> {
        if self.sending != Ready::Yes {
            return Ok(());
        }
        self.send.ring.silence();
        for _ in 0..ROUND {
            self.sending = self.send_frame()?;
            if self.sending != Ready::Yes {
                break;
            }
        }
        Ok(())
    }

    fn send_frame(&mut self) -> Result<Ready, RingError> {
        while !self.unsent && !self.send.ring.pop(&mut self.chain)? {
            if !self.send.ring.listen()? {
                return Ok(Ready::Starved);
            }
        }
        if !std::mem::replace(&mut self.unsent, true) {
            self.unsent_since = self.now;
        }
        self.vector.clear();
        self.vector.extend(&self.chain.readable);
        match self.tap.send(&self.vector) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => return Ok(Ready::Waiting),
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => return Ok(Ready::Yes),
            // What the kernel does not take (no whole header, the device is down) is lost, as on a wire.
            Ok(()) | Err(_) => {}
        }
        self.unsent = false;
        if self.unsent_since == self.now {
            self.sent.fresh += 1;
        } else {
            self.sent.waited = Some(self.unsent_since);
        }
        self.send.ring.complete(self.chain.head, 0);
        Ok(Ready::Yes)
    }

    fn fail(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.broken, true) {
            let (name, index) = (&self.interface.name, self.receive.index);
            log::line(format_args!(
                "network device {name}: queue {index}: {}",
                crate::chain(error)
            ));
            self.receive.notifier.needs_reset();
        }
    }
}
