//! Memory balloon device (virtio 1.3 §5.5): takes memory from the guest while others need it more, and gives the host back
//! what the guest does not use.
//!
//! | module      | what it holds                                                         |
//! |-------------|-----------------------------------------------------------------------|
//! | [`backing`] | what is asked of the guest, and what it says; outlives resets         |
//! | [`request`] | page numbers and statistics from chains; decides, does nothing        |
//! | [`worker`]  | the thread: all queues                                                |
//! | [`counters`]| what was done                                                         |
//!
//! ```text
//! operator -> target -> configuration, interrupt -> driver -> inflate queue   -> pages go back to the host
//!                                                          -> deflate queue   -> pages come when they are touched
//!             driver, of pages that are free for longer    -> reporting queue -> pages go back to the host
//!             refresh -> statistics queue -> driver -> its statistics
//! ```
//!
//! Pages that go back read as zeros when they are touched again. That is so for ordinary pages only: a hugetlb page that
//! is given back may be lost to another process, and a guest must not die of a page that is not there. A machine on
//! hugepages therefore has no balloon; the config says so.

pub mod backing;
pub mod counters;
pub mod request;
pub mod worker;

use std::io;
use std::sync::Arc;

use super::worker::{Restrict, Team, WorkerError};
use super::{ActiveQueue, Doorbells, Kind, Running, VirtioDevice};
use crate::log;
use backing::Balloon;
use worker::{BalloonWorker, Queues};

/// Entries of each queue.
const QUEUE_SIZE: u16 = 128;
/// Queues at most: inflate, deflate, statistics, free page hints (which are not offered), reporting.
const QUEUES: usize = 5;

/// Feature bits (§5.5.3).
pub mod feature {
    /// There is a queue for statistics.
    pub const STATISTICS: u64 = 1 << 1;
    /// The driver may take pages back when the guest is out of memory.
    pub const DEFLATE_ON_OOM: u64 = 1 << 2;
    /// There is a queue for pages that are free.
    pub const REPORTING: u64 = 1 << 5;
}

/// The device.
pub struct BalloonDevice {
    balloon: Arc<Balloon>,
    team: Team,
}

impl BalloonDevice {
    /// A device for `balloon`, with its thread.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn new(balloon: Arc<Balloon>, restrict: &Restrict) -> Result<Self, WorkerError> {
        Ok(Self {
            balloon,
            team: Team::new(["balloon".to_owned()].into_iter(), restrict)?,
        })
    }
}

/// What each queue is. Their numbers depend on what was negotiated: this specification numbers them by kind, and drivers
/// (Linux among them) number those that are there. Both keep the order.
fn sort(features: u64, queues: Vec<ActiveQueue>) -> Option<Queues> {
    let mut queues = queues.into_iter();
    let (inflate, deflate) = (queues.next()?, queues.next()?);
    let mut next = |bit: u64| (features & bit != 0).then(|| queues.next()).flatten();
    (inflate.index == 0 && deflate.index == 1).then(|| Queues {
        inflate,
        deflate,
        statistics: next(feature::STATISTICS),
        reporting: next(feature::REPORTING),
    })
}

impl VirtioDevice for BalloonDevice {
    fn kind(&self) -> Kind {
        Kind::Balloon
    }

    fn features(&self) -> u64 {
        let of = |wanted: bool, bit: u64| if wanted { bit } else { 0 };
        let config = self.balloon.config;
        feature::STATISTICS
            | of(config.deflate_on_oom, feature::DEFLATE_ON_OOM)
            | of(config.free_page_reporting, feature::REPORTING)
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; QUEUES]
    }

    fn doorbells(&self) -> Doorbells {
        Doorbells::Events
    }

    /// Its length; see [`VirtioDevice::read_config`].
    fn config(&self) -> &[u8] {
        &[0; backing::CONFIG]
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let config = self.balloon.registers();
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = config.get(at).copied().unwrap_or(0);
        }
    }

    fn write_config(&self, offset: usize, data: &[u8]) {
        if let (backing::ACTUAL, Ok(bytes)) = (offset, data.try_into()) {
            self.balloon.set_actual(u32::from_le_bytes(bytes));
        }
    }

    fn activate(&mut self, features: u64, queues: Vec<ActiveQueue>) -> io::Result<Box<dyn Running>> {
        let queues = sort(features, queues)
            .ok_or_else(|| io::Error::other("the driver has not enabled inflate and deflate queue"))?;
        self.balloon.begin(queues.inflate.notifier.clone());
        let balloon = self.balloon.clone();
        // Its drop ends what has begun where the thread cannot.
        let running = Box::new(Work(self.team.clone(), self.balloon.clone()));
        self.team.begin(0, move |orders| {
            let notifier = queues.inflate.notifier.clone();
            match BalloonWorker::new(balloon, queues, orders) {
                Ok(worker) => worker.run(orders),
                Err(errno) => {
                    log::line(format_args!("balloon: no epoll: {errno}"));
                    notifier.needs_reset();
                }
            }
        })?;
        Ok(running)
    }
}

/// The device at work.
struct Work(Team, Arc<Balloon>);

impl Running for Work {
    fn notify(&mut self, _queue: u16) {}

    fn pause(&mut self) {
        self.0.pause();
    }

    fn resume(&mut self) {
        self.0.resume();
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.stop();
        self.1.end();
    }
}

#[cfg(test)]
mod tests;
