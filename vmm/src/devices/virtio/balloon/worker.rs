//! The thread of the balloon.
//!
//! Each queue in turn, a ring's length at most; the driver sees a round's results at once. Giving a page back needs no
//! pause of the guest: it may touch it at any moment, and finds zeros then. What the guest says is hostile: a page that is
//! not its memory is counted and left alone, and of its memory it can only lose its own.

use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use vm_memory::{Bytes, GuestAddress};

use super::backing::Balloon;
use super::request::{self, MOST_NUMBERS, MOST_STATISTICS};
use crate::devices::virtio::ActiveQueue;
use crate::devices::virtio::net::tap::borrow;
use crate::devices::virtio::queue::{Chain, RingError};
use crate::devices::virtio::worker::{Order, Orders};
use crate::log;
use crate::memory::{self, GuestMemory};

/// What epoll reports.
const QUEUE: u64 = 0;
const REFRESH: u64 = 1;
const ORDERS: u64 = 2;

/// The queues that the driver enabled.
pub struct Queues {
    /// Pages that the guest gives.
    pub inflate: ActiveQueue,
    /// Pages that it takes back.
    pub deflate: ActiveQueue,
    /// How its memory is used.
    pub statistics: Option<ActiveQueue>,
    /// Pages that are free.
    pub reporting: Option<ActiveQueue>,
}

impl Queues {
    fn all(&mut self) -> impl Iterator<Item = &mut ActiveQueue> {
        let always = [&mut self.inflate, &mut self.deflate];
        always
            .into_iter()
            .chain(&mut self.statistics)
            .chain(&mut self.reporting)
    }
}

/// The device at work.
pub struct BalloonWorker {
    balloon: Arc<Balloon>,
    queues: Queues,
    epoll: Epoll,
    chain: Chain,
    bytes: Vec<u8>,
    /// The buffer of the statistics queue that is kept until they are wanted again (§5.5.6.3).
    held: Option<u16>,
    /// The driver broke a ring.
    broken: bool,
}

impl BalloonWorker {
    /// Work on `queues`.
    ///
    /// # Errors
    /// `errno` of epoll(7).
    pub fn new(balloon: Arc<Balloon>, mut queues: Queues, orders: &Orders) -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let edge = |number| EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, number);
        for queue in queues.all() {
            if let Some(doorbell) = &queue.doorbell {
                epoll.add(borrow(doorbell), edge(QUEUE))?;
            }
        }
        epoll.add(borrow(&balloon.refresh), edge(REFRESH))?;
        epoll.add(borrow(orders.wake()), edge(ORDERS))?;
        Ok(Self {
            balloon,
            queues,
            epoll,
            chain: Chain::default(),
            bytes: Vec::new(),
            held: None,
            broken: false,
        })
    }

    /// Works until the order to stop.
    pub fn run(mut self, orders: &Orders) {
        loop {
            match orders.current() {
                Order::Run => {
                    let more = self.round();
                    if let Err(errno) = self.wait(more) {
                        self.fail(&std::io::Error::from(errno));
                        return;
                    }
                }
                // Nothing is in flight between rounds.
                Order::Pause => drop(orders.rest()),
                Order::Stop => return,
            }
        }
    }

    fn wait(&mut self, more: bool) -> Result<(), Errno> {
        let mut events = [EpollEvent::empty(); 8];
        let timeout = if more {
            EpollTimeout::ZERO
        } else {
            EpollTimeout::NONE
        };
        let count = match self.epoll.wait(&mut events, timeout) {
            Err(Errno::EINTR) => 0,
            result => result?,
        };
        if events.iter().take(count).any(|event| event.data() == REFRESH) {
            self.ask_for_statistics();
        }
        Ok(())
    }

    /// Gives the driver its buffer back, which it fills anew.
    fn ask_for_statistics(&mut self) {
        if let (false, Some(queue), Some(head)) = (self.broken, &mut self.queues.statistics, self.held.take())
        {
            queue.ring.complete(head, 0);
            queue.publish();
        }
    }

    /// A round of each queue; says whether there is more.
    fn round(&mut self) -> bool {
        if self.broken {
            return false;
        }
        let worked = self.work();
        self.queues.all().for_each(ActiveQueue::publish);
        worked.unwrap_or_else(|error| {
            self.fail(&error);
            false
        })
    }

    fn work(&mut self) -> Result<bool, RingError> {
        let Self {
            balloon,
            queues,
            chain,
            bytes,
            held,
            ..
        } = self;
        let counters = &balloon.counters;
        let give_back = |memory: &GuestMemory, start, len| {
            let given = memory::give_back(memory, start, len);
            if given.is_err() {
                counters.errors.add(1);
            }
            given.unwrap_or(0)
        };
        let mut more = take(&mut queues.inflate, chain, |memory, chain| {
            read(memory, chain, MOST_NUMBERS, bytes);
            counters.inflated.add(request::count(bytes));
            for range in request::ranges(bytes) {
                give_back(memory, range.start, range.len);
            }
            true
        })?;
        more |= take(&mut queues.deflate, chain, |memory, chain| {
            read(memory, chain, MOST_NUMBERS, bytes);
            counters.deflated.add(request::count(bytes));
            true
        })?;
        if let Some(queue) = &mut queues.statistics {
            let mut before = None;
            more |= take(queue, chain, |memory, chain| {
                read(memory, chain, MOST_STATISTICS, bytes);
                balloon.set_statistics(request::statistics(bytes));
                // One is enough; a driver has no more.
                before = held.replace(chain.head).or(before);
                false
            })?;
            if let Some(head) = before {
                queue.ring.complete(head, 0);
            }
        }
        if let Some(queue) = &mut queues.reporting {
            more |= take(queue, chain, |memory, chain| {
                for segment in &chain.writable {
                    let given = give_back(memory, segment.address, segment.len.into());
                    counters.reported.add(given);
                }
                true
            })?;
        }
        Ok(more)
    }

    fn fail(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.broken, true) {
            log::line(format_args!("balloon: {}", crate::chain(error)));
            self.queues.inflate.notifier.needs_reset();
        }
    }
}

/// Takes what the driver offers in `queue`, a ring's length at most; says whether there is more. A buffer is given back if
/// `work` says so.
fn take(
    queue: &mut ActiveQueue,
    chain: &mut Chain,
    mut work: impl FnMut(&GuestMemory, &Chain) -> bool,
) -> Result<bool, RingError> {
    queue.ring.silence();
    for _ in 0..queue.ring.size() {
        while !queue.ring.pop(chain)? {
            if !queue.ring.listen()? {
                return Ok(false);
            }
        }
        if work(queue.ring.memory(), chain) {
            queue.ring.complete(chain.head, 0);
        }
    }
    Ok(true)
}

/// Reads what the driver wrote into `bytes`, `most` at most.
fn read(memory: &GuestMemory, chain: &Chain, most: usize, bytes: &mut Vec<u8>) {
    bytes.clear();
    for segment in &chain.readable {
        let start = bytes.len();
        let len = usize::try_from(segment.len)
            .unwrap_or(usize::MAX)
            .min(most - start);
        bytes.resize(start + len, 0);
        let place = bytes.get_mut(start..).unwrap_or_default();
        // It was guest memory when it was taken, and guest memory stays.
        let _ = memory.read_slice(place, GuestAddress(segment.address));
    }
}
