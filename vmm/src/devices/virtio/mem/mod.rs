//! Memory device (virtio 1.3 §5.15): memory that the guest gets and gives back while it runs, by blocks.
//!
//! | module      | what it holds                                                            |
//! |-------------|--------------------------------------------------------------------------|
//! | [`backing`] | how much the guest is to have, and has; outlives resets                  |
//! | [`request`] | requests and answers; decides, does nothing                              |
//! | [`worker`]  | the thread: the only queue                                               |
//!
//! ```text
//! operator -> requested size -> configuration, interrupt -> driver -> plug    -> pages behind the blocks
//!                                                                  -> unplug  -> scratch memory behind them
//! ```
//!
//! What is behind the blocks is `memory::hot`'s. A guest never has more than was asked of it, whatever it requests: what is
//! counted as its own is so before it is there, and until it is gone. Pages that cannot be had are an answer ("busy"), after
//! which a driver tries again later.
//!
//! A driver's reset leaves all as it is; the machine's reset takes everything back.

pub mod backing;
pub mod request;
pub mod worker;

use std::io;
use std::sync::Arc;

use super::worker::{Restrict, Team, WorkerError};
use super::{ActiveQueue, Doorbells, Kind, Running, VirtioDevice};
use crate::log;
use crate::memory::hot::Hot;
use backing::{CONFIG, Resize};
use worker::MemoryWorker;

/// Entries of the queue: a driver has one request at a time.
const QUEUE_SIZE: u16 = 64;
/// The configuration space, for its length.
static EMPTY: [u8; CONFIG] = [0; CONFIG];

/// Feature bits (§5.15.3).
pub mod feature {
    /// The field `node_id` is a proximity domain of ACPI.
    pub const ACPI_PXM: u64 = 1 << 0;
    /// The driver does not touch blocks that are not plugged.
    pub const UNPLUGGED_INACCESSIBLE: u64 = 1 << 1;
}

/// Is told that memory is gone which the guest believes to have: its machine cannot go on. Called on the device's thread, does not
/// block.
pub type LostSink = Arc<dyn Fn() + Send + Sync>;

/// The device.
pub struct MemoryDevice {
    hot: Arc<Hot>,
    resize: Arc<Resize>,
    lost: LostSink,
    team: Team,
}

impl MemoryDevice {
    /// A device for `hot`, with its thread; `resize` says how much of it the guest is to have.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn new(
        hot: Arc<Hot>,
        resize: Arc<Resize>,
        lost: LostSink,
        restrict: &Restrict,
    ) -> Result<Self, WorkerError> {
        Ok(Self {
            hot,
            resize,
            lost,
            team: Team::new(["memory".to_owned()].into_iter(), restrict)?,
        })
    }
}

impl VirtioDevice for MemoryDevice {
    fn kind(&self) -> Kind {
        Kind::Memory
    }

    fn features(&self) -> u64 {
        feature::ACPI_PXM | feature::UNPLUGGED_INACCESSIBLE
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }

    fn doorbells(&self) -> Doorbells {
        Doorbells::Events
    }

    fn config(&self) -> &[u8] {
        &EMPTY
    }

    fn read_config(&self, offset: usize, data: &mut [u8]) {
        let config = self.resize.registers();
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = config.get(at).copied().unwrap_or(0);
        }
    }

    fn activate(&mut self, _features: u64, queues: Vec<ActiveQueue>) -> io::Result<Box<dyn Running>> {
        let queue = queues.into_iter().next();
        let queue = queue.ok_or_else(|| io::Error::other("the driver has not enabled the queue"))?;
        self.resize.begin(queue.notifier.clone());
        let (hot, resize, lost) = (self.hot.clone(), self.resize.clone(), self.lost.clone());
        // Its drop ends what has begun where the thread cannot.
        let running = Box::new(Work(self.team.clone(), self.resize.clone()));
        self.team.begin(0, move |orders| {
            let notifier = queue.notifier.clone();
            match MemoryWorker::new(hot, resize, queue, lost, orders) {
                Ok(worker) => worker.run(orders),
                Err(errno) => {
                    log::line(format_args!("memory: no epoll: {errno}"));
                    notifier.needs_reset();
                }
            }
        })?;
        Ok(running)
    }
}

/// The device at work.
struct Work(Team, Arc<Resize>);

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
pub(crate) mod tests;
