//! The thread of the memory device. A request is done, or not, before it is answered.

use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use vm_memory::{Bytes, GuestAddress};

use super::LostSink;
use super::backing::Resize;
use super::request::{ANSWER, Answer, Blocks, REQUEST, Request};
use crate::devices::virtio::ActiveQueue;
use crate::devices::virtio::net::tap::borrow;
use crate::devices::virtio::queue::{Chain, RingError};
use crate::devices::virtio::worker::{Order, Orders};
use crate::log;
use crate::memory::GuestMemory;
use crate::memory::hot::{Hot, HotError, State};

/// The device at work.
pub struct MemoryWorker {
    hot: Arc<Hot>,
    resize: Arc<Resize>,
    queue: ActiveQueue,
    lost: LostSink,
    epoll: Epoll,
    chain: Chain,
    /// The driver broke the ring, or memory was lost.
    broken: bool,
    /// The last request found no pages, which was said.
    short: bool,
}

impl MemoryWorker {
    /// Work on `queue`.
    ///
    /// # Errors
    /// `errno` of epoll(7).
    pub fn new(
        hot: Arc<Hot>,
        resize: Arc<Resize>,
        queue: ActiveQueue,
        lost: LostSink,
        orders: &Orders,
    ) -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let edge = || EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0);
        if let Some(doorbell) = &queue.doorbell {
            epoll.add(borrow(doorbell), edge())?;
        }
        epoll.add(borrow(orders.wake()), edge())?;
        Ok(Self {
            hot,
            resize,
            queue,
            lost,
            epoll,
            chain: Chain::default(),
            broken: false,
            short: false,
        })
    }

    /// Works until the order to stop.
    pub fn run(mut self, orders: &Orders) {
        loop {
            match orders.current() {
                Order::Run => {
                    let timeout = if self.round() {
                        EpollTimeout::ZERO
                    } else {
                        EpollTimeout::NONE
                    };
                    let mut events = [EpollEvent::empty(); 2];
                    match self.epoll.wait(&mut events, timeout) {
                        Ok(_) | Err(Errno::EINTR) => {}
                        Err(errno) => {
                            self.fail(&std::io::Error::from(errno));
                            return;
                        }
                    }
                }
                // Nothing is in flight between rounds.
                Order::Pause => drop(orders.rest()),
                Order::Stop => return,
            }
        }
    }

    /// Answers what is there, one request after the other: the driver waits for each. A ring's length at most: a guest that asks
    /// without end is not to keep the thread from its orders. Says whether there may be more.
    fn round(&mut self) -> bool {
        if self.broken {
            return false;
        }
        let worked = self.work();
        self.queue.publish();
        worked.unwrap_or_else(|error| {
            self.fail(&error);
            false
        })
    }

    fn work(&mut self) -> Result<bool, RingError> {
        self.queue.ring.silence();
        for _ in 0..self.queue.ring.size() {
            while !self.queue.ring.pop(&mut self.chain)? {
                if !self.queue.ring.listen()? {
                    return Ok(false);
                }
            }
            let request = read(self.queue.ring.memory(), &self.chain);
            let answer = match request {
                Some(request) => self.answer(request),
                None => Some(Answer::Error),
            };
            // There is no answer that would be true, and the machine is about to end.
            let Some(answer) = answer else { return Ok(false) };
            match answer {
                Answer::Error => self.resize.errors.add(1),
                Answer::Nack | Answer::Busy => self.resize.refused.add(1),
                _ => {}
            }
            let written = write(self.queue.ring.memory(), &self.chain, answer);
            self.queue.ring.complete(self.chain.head, written);
            self.queue.publish();
        }
        Ok(true)
    }

    /// Does what is asked, if it can be; `None` where memory was lost.
    fn answer(&mut self, request: Request) -> Option<Answer> {
        let answer = match request {
            Request::Plug(blocks) => self.plug(blocks),
            Request::Unplug(blocks) => {
                let done = self.hot.unplug(blocks.start, blocks.count.into());
                return self.unplugged(done);
            }
            Request::UnplugAll => {
                let done = self.hot.unplug_all();
                return self.unplugged(done);
            }
            Request::State(blocks) => match self.hot.state(blocks.start, blocks.count.into()) {
                Ok(State::Plugged) => Answer::Plugged,
                Ok(State::Unplugged) => Answer::Unplugged,
                Ok(State::Mixed) => Answer::Mixed,
                Err(error) => self.explain(&error),
            },
        };
        Some(answer)
    }

    /// Counts what is left, whether it was `done` or not.
    fn unplugged(&mut self, done: Result<(), HotError>) -> Option<Answer> {
        self.resize.is_now(self.hot.size());
        match done {
            Ok(()) => Some(Answer::Ack),
            Err(error @ HotError::Lost(_)) => {
                self.fail(&error);
                (self.lost)();
                None
            }
            Err(error) => Some(self.explain(&error)),
        }
    }

    fn plug(&mut self, blocks: Blocks) -> Answer {
        let (start, count) = (blocks.start, blocks.count.into());
        // What cannot be asked is an error, whatever the guest is to have.
        match self.hot.state(start, count) {
            Ok(State::Unplugged) => {}
            Ok(_) => return Answer::Error,
            Err(error) => return self.explain(&error),
        }
        let size = self.bytes(blocks);
        if !self.resize.take(size) {
            return Answer::Nack;
        }
        match self.hot.plug(start, count) {
            Ok(()) => {
                self.short = false;
                Answer::Ack
            }
            Err(error) => {
                self.resize.give(size);
                self.explain(&error)
            }
        }
    }

    fn bytes(&self, blocks: Blocks) -> u64 {
        self.hot.block().saturating_mul(blocks.count.into())
    }

    fn explain(&mut self, error: &HotError) -> Answer {
        if !matches!(error, HotError::Pages(_)) {
            return Answer::Error;
        }
        if !std::mem::replace(&mut self.short, true) {
            log::line(format_args!("memory: {}", crate::chain(error)));
        }
        Answer::Busy
    }

    fn fail(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.broken, true) {
            log::line(format_args!("memory: {}", crate::chain(error)));
            self.queue.notifier.needs_reset();
        }
    }
}

/// The request in `chain`, if it is one.
fn read(memory: &GuestMemory, chain: &Chain) -> Option<Request> {
    let mut bytes = [0; REQUEST];
    let mut place = bytes.as_mut_slice();
    for segment in &chain.readable {
        let len = usize::try_from(segment.len)
            .unwrap_or(usize::MAX)
            .min(place.len());
        let (now, rest) = place.split_at_mut(len);
        memory.read_slice(now, GuestAddress(segment.address)).ok()?;
        place = rest;
    }
    place.is_empty().then(|| Request::parse(&bytes)).flatten()
}

/// Writes `answer` where the driver wants it; returns how much of it there was room for.
fn write(memory: &GuestMemory, chain: &Chain, answer: Answer) -> u32 {
    let bytes: [u8; ANSWER] = answer.bytes();
    let mut left = bytes.as_slice();
    let mut written = 0;
    for segment in &chain.writable {
        let len = usize::try_from(segment.len).unwrap_or(usize::MAX).min(left.len());
        let (now, rest) = left.split_at(len);
        if memory.write_slice(now, GuestAddress(segment.address)).is_err() {
            break;
        }
        left = rest;
        written += u32::try_from(len).unwrap_or(0);
    }
    written
}
