//! The control queue (virtio 1.3 §5.1.6.5): how many queue pairs the driver uses (§5.1.6.5.6).

use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::EpollTimeout;
use vm_memory::{Bytes, GuestAddress};

use super::backing::Interface;
use super::edges::Edges;
use super::tap::borrow;
use crate::devices::virtio::ActiveQueue;
use crate::devices::virtio::queue::segments::{take_first, take_last};
use crate::devices::virtio::queue::{Chain, RingError};
use crate::devices::virtio::worker::{Order, Orders};
use crate::log;
use crate::memory::GuestMemory;

const CLASS_MQ: u8 = 4;
const PAIRS_SET: u8 = 0;

/// Answers.
const OK: u8 = 0;
const ERROR: u8 = 1;

/// The number of pairs that the command in `chain`, in which its data is left, asks for, if it is one of 1 to `most`.
pub(crate) fn parse(memory: &GuestMemory, chain: &mut Chain, most: u16) -> Option<u16> {
    let [class, command, low, high] = take_first(memory, &mut chain.readable)?;
    let pairs = u16::from_le_bytes([low, high]);
    let known = class == CLASS_MQ && command == PAIRS_SET && chain.readable.is_empty();
    (known && (1..=most).contains(&pairs)).then_some(pairs)
}

/// The queue at work.
pub struct Control {
    interface: Arc<Interface>,
    /// Its ring, doorbell and interrupt.
    pub queue: ActiveQueue,
    chain: Chain,
    /// The driver broke the ring.
    broken: bool,
}

impl Control {
    /// `queue` of a driver of `interface`.
    pub fn new(interface: Arc<Interface>, queue: ActiveQueue) -> Self {
        Self {
            interface,
            queue,
            chain: Chain::default(),
            broken: false,
        }
    }

    /// Carries out what the driver has asked for.
    pub fn serve(&mut self) {
        if self.broken {
            return;
        }
        if let Err(error) = self.take() {
            self.broken = true;
            let name = &self.interface.name;
            log::line(format_args!("network device {name}: control queue: {error}"));
            self.queue.notifier.needs_reset();
        }
        self.queue.publish();
    }

    fn take(&mut self) -> Result<(), RingError> {
        for _ in 0..self.queue.ring.size() {
            while !self.queue.ring.pop(&mut self.chain)? {
                if !self.queue.ring.listen()? {
                    return Ok(());
                }
            }
            let answer = take_last(&mut self.chain.writable).ok_or(RingError::Buffer)?;
            let memory = self.queue.ring.memory();
            let pairs = parse(memory, &mut self.chain, self.interface.pairs());
            let done = pairs.is_some_and(|pairs| self.interface.use_pairs(pairs).is_ok());
            // It was guest memory when it was taken, and guest memory stays.
            let _ = memory.write_obj(if done { OK } else { ERROR }, GuestAddress(answer));
            self.queue.ring.complete(self.chain.head, 1);
        }
        // One that offers without end is not served without end: on with it, after a look at the orders.
        if let Some(doorbell) = &self.queue.doorbell {
            let _ = doorbell.write(1);
        }
        Ok(())
    }

    /// Works until the order to stop.
    pub fn run(mut self, orders: &Orders) {
        if let Err(errno) = self.work(orders) {
            let name = &self.interface.name;
            log::line(format_args!("network device {name}: control queue: {errno}"));
            self.queue.notifier.needs_reset();
        }
    }

    fn work(&mut self, orders: &Orders) -> Result<(), Errno> {
        let doorbell = self.queue.doorbell.clone();
        let doorbell = doorbell.as_ref().map(|event| (0, borrow(event)));
        let edges = Edges::of(doorbell.into_iter().chain([(1, borrow(orders.wake()))]))?;
        loop {
            match orders.current() {
                Order::Run => {
                    self.serve();
                    edges.wait(EpollTimeout::NONE, |_, _| {})?;
                }
                Order::Pause => drop(orders.rest()),
                Order::Stop => return Ok(()),
            }
        }
    }
}
