//! Block device (virtio 1.3 §5.2).
//!
//! | module      | what it holds                                                     |
//! |-------------|-------------------------------------------------------------------|
//! | [`backing`] | the file: opening, sizes, O_DIRECT                                |
//! | [`request`] | requests from chains; decides, does nothing                       |
//! | [`worker`]  | the thread of a queue                                             |
//! | `engine`    | its io_uring                                                      |
//! | `direct`    | the alignment that O_DIRECT asks for                              |
//! | [`counters`]| what each queue has done                                          |
//!
//! Queues share nothing but the file. Writes are cached as the file's are; FLUSH makes them durable, and a driver that
//! does not know FLUSH gets each write durable, of zeros too, and each discard.

pub mod backing;
pub mod counters;
mod direct;
mod engine;
pub mod request;
pub mod worker;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::worker::{Restrict, Team, WorkerError};
use super::{ActiveQueue, Doorbells, Kind, Running, VirtioDevice};
use crate::log;
use backing::Disk;
use engine::{Engine, Ring};
use request::{RANGE_MAX, SECTOR, SEG_MAX, SIZE_MAX};
use worker::{FullSink, QueueWorker};

/// Entries of each queue.
pub const QUEUE_SIZE: u16 = 256;

/// Feature bits (§5.2.3).
mod feature {
    pub const SIZE_MAX: u64 = 1 << 1;
    pub const SEG_MAX: u64 = 1 << 2;
    pub const READ_ONLY: u64 = 1 << 5;
    pub const BLK_SIZE: u64 = 1 << 6;
    pub const FLUSH: u64 = 1 << 9;
    pub const TOPOLOGY: u64 = 1 << 10;
    pub const MULTI_QUEUE: u64 = 1 << 12;
    pub const DISCARD: u64 = 1 << 13;
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// The device.
pub struct Block {
    disk: Arc<Disk>,
    full: FullSink,
    config: Vec<u8>,
    /// By queue.
    team: Team,
    /// By queue; each is used by its thread alone.
    rings: Vec<Arc<Mutex<Ring>>>,
}

impl Block {
    /// `disk` as the machine's disk `number`, with its threads; `full` is told when its file has no room left.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn new(
        disk: Arc<Disk>,
        number: usize,
        full: FullSink,
        restrict: &Restrict,
    ) -> Result<Self, WorkerError> {
        let names = (0..disk.queues()).map(|queue| format!("disk{number}.{queue}"));
        let ring = |name| {
            let made = Ring::new(QUEUE_SIZE, &disk);
            made.map(|ring| Arc::new(Mutex::new(ring)))
                .map_err(|source| WorkerError::Ring { name, source })
        };
        Ok(Self {
            config: config(&disk),
            rings: names.clone().map(ring).collect::<Result<_, _>>()?,
            team: Team::new(names, restrict)?,
            disk,
            full,
        })
    }
}

/// Configuration space (§5.2.4).
fn config(disk: &Disk) -> Vec<u8> {
    let geometry = disk.geometry;
    let sectors = |bytes: u64| u32::try_from(bytes / SECTOR).unwrap_or(u32::MAX).to_le_bytes();
    let per_physical = geometry.physical / geometry.block.max(1);
    let exponent = u8::try_from(per_physical.max(1).ilog2()).unwrap_or(0);
    let least = u16::try_from(per_physical).unwrap_or(u16::MAX);
    let mut config = Vec::with_capacity(64);
    config.extend((geometry.capacity / SECTOR).to_le_bytes());
    config.extend(SIZE_MAX.to_le_bytes());
    config.extend(SEG_MAX.to_le_bytes());
    config.extend([0; 4]); // cylinders, heads, sectors: not offered
    config.extend(geometry.block.to_le_bytes());
    config.extend([exponent, 0]); // blocks per physical block, alignment offset
    config.extend(least.to_le_bytes()); // least I/O, blocks
    config.extend([0; 4]); // optimal I/O: none is told
    config.extend([0, 0]); // writeback: not offered; unused
    config.extend(disk.queues().to_le_bytes());
    config.extend(sectors(RANGE_MAX)); // most to discard
    config.extend(1u32.to_le_bytes()); // in one range
    config.extend((geometry.physical / 512).to_le_bytes()); // aligned to, sectors
    config.extend(sectors(RANGE_MAX)); // most to zero
    config.extend(1u32.to_le_bytes()); // in one range
    config.extend([1, 0, 0, 0]); // which may be deallocated
    config
}

impl VirtioDevice for Block {
    fn kind(&self) -> Kind {
        Kind::Block
    }

    fn features(&self) -> u64 {
        let always = feature::SIZE_MAX
            | feature::SEG_MAX
            | feature::BLK_SIZE
            | feature::FLUSH
            | feature::TOPOLOGY
            | feature::MULTI_QUEUE;
        always
            | if self.disk.read_only {
                feature::READ_ONLY
            } else {
                feature::DISCARD | feature::WRITE_ZEROES
            }
    }

    fn queues(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; self.disk.counters.len()]
    }

    fn doorbells(&self) -> Doorbells {
        Doorbells::Events
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn activate(&mut self, features: u64, queues: Vec<ActiveQueue>) -> io::Result<Box<dyn Running>> {
        let durable = features & feature::FLUSH == 0;
        // Its drop stops those that have begun where one cannot.
        let running = Box::new(Queues(self.team.clone()));
        for queue in queues {
            let (disk, full) = (self.disk.clone(), self.full.clone());
            let place = usize::from(queue.index);
            let ring = self.rings.get(place).cloned();
            self.team.begin(place, move |orders| {
                let (Some(doorbell), Some(ring)) = (queue.doorbell.clone(), ring) else {
                    return;
                };
                let mut ring = ring.lock().unwrap_or_else(PoisonError::into_inner);
                let (size, memory) = (queue.ring.size(), queue.ring.memory().clone());
                match Engine::new(&mut ring, size, &memory, doorbell, orders.wake()) {
                    Ok(engine) => QueueWorker::new(disk, queue, engine, full, durable).run(orders),
                    Err(error) => {
                        let path = disk.path.display();
                        log::line(format_args!("disk {path}: its io_uring: {error}"));
                        queue.notifier.needs_reset();
                    }
                }
            })?;
        }
        Ok(running)
    }
}

/// The device at work.
struct Queues(Team);

impl Running for Queues {
    fn notify(&mut self, _queue: u16) {}

    fn pause(&mut self) {
        self.0.pause();
    }

    fn resume(&mut self) {
        self.0.resume();
    }
}

impl Drop for Queues {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests;
