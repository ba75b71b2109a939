//! The thread of a disk's queue.
//!
//! ```text
//! ring ──pop──> slot ──> io_uring ──> result ──> done ──> status, used ring, interrupt
//!                 ^                      │partly
//!                 ├──────────────────────┤
//!                 │                      │no room (ENOSPC, EDQUOT)
//!                 '──── resume ──── waiting
//! ```
//!
//! One wait per round, in which the kernel also takes what was submitted and tells of completions: a busy queue costs one
//! system call for many requests. One interrupt per round, if the driver wants it.
//!
//! With nothing in flight it is the driver's turn. Where it has been quick of late, its next request is looked for before the
//! thread listens and sleeps ([`Window`]): neither side then wakes the other.
//!
//! How long requests take is counted by one look at the clock for all that are taken in a round, and one for all that end in
//! it.
//!
//! A write for which there is no room on the host is not the guest's fault, and would destroy its file system. It stays
//! in its slot, no further request is taken, and the machine is told, which pauses; a resume tries again. The same goes for
//! a flush. But when a flush has failed, Linux may have dropped what was in the page cache, and the next one knows nothing of that:
//! where anything went that way, a flush that has waited ends with an error for the guest, once there is room. What went past the
//! cache is not concerned.

use std::sync::Arc;
use std::time::Instant;

use nix::libc;
use vm_memory::{Bytes, GuestAddress};

use super::backing::Disk;
use super::counters::Counters;
use super::engine::{Engine, Event, Path};
use super::request::{self, Action, ID, Status};
use crate::devices::virtio::ActiveQueue;
use crate::devices::virtio::polling::Window;
use crate::devices::virtio::queue::segments::{self, advance};
use crate::devices::virtio::queue::{Chain, RingError, Segment};
use crate::devices::virtio::worker::{Order, Orders};
use crate::log;

/// Is told that a disk's file has no room left; called on device threads, does not block.
pub type FullSink = Arc<dyn Fn() + Send + Sync>;

const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;

/// What a slot does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Read(Path),
    Write(Path),
    Flush,
    Discard,
    /// By deallocation, which leaves zeros.
    Punch,
    /// By the file system, without deallocation.
    Zero,
    /// By writing zeros, where the file system can do neither.
    Fill,
    /// The end of one of these by the file system, for a driver that knows no flushes.
    Sync,
}

impl Work {
    /// Whether the file system has done it, and may have done it in memory alone.
    const fn is_allocation(self) -> bool {
        matches!(self, Self::Discard | Self::Punch | Self::Zero)
    }
}

struct Slot {
    head: u16,
    /// Guest address of the status byte.
    status: u64,
    work: Work,
    /// What is left of it.
    segments: Vec<Segment>,
    offset: u64,
    left: u64,
    /// Bytes of the whole.
    len: u64,
    /// When it was taken.
    since: Instant,
    /// What was to become durable may be lost.
    lost: bool,
}

/// What follows from the result of a slot's system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The host has no room: it waits, and is tried again as it is.
    Wait,
    /// It is tried again at once, as this.
    Again(Work),
    /// So many bytes of it are done.
    Part(u64),
    /// It has ended.
    End(Status),
    /// It has failed with this `errno`.
    Fail(i32),
}

/// What follows from `result` of `work`, of which `left` bytes were left.
fn outcome(work: Work, result: i32, left: u64) -> Outcome {
    let count = u64::try_from(result).unwrap_or(0).min(left);
    match (work, result.wrapping_neg()) {
        (
            Work::Write(_) | Work::Zero | Work::Punch | Work::Fill | Work::Flush | Work::Sync,
            libc::ENOSPC | libc::EDQUOT,
        ) => Outcome::Wait,
        // The file system is stricter than it said.
        (Work::Read(Path::Direct), libc::EINVAL) => Outcome::Again(Work::Read(Path::Cached)),
        (Work::Write(Path::Direct), libc::EINVAL) => Outcome::Again(Work::Write(Path::Cached)),
        (_, libc::EINTR | libc::EAGAIN) => Outcome::Again(work),
        // To discard is a hint.
        (Work::Discard, libc::EOPNOTSUPP) => Outcome::End(Status::Ok),
        (Work::Zero | Work::Punch, libc::EOPNOTSUPP) => Outcome::Again(Work::Fill),
        (_, errno) if errno > 0 => Outcome::Fail(errno),
        (Work::Flush | Work::Sync | Work::Discard | Work::Punch | Work::Zero, _) => Outcome::End(Status::Ok),
        // The file has become shorter.
        (Work::Read(_) | Work::Write(_) | Work::Fill, _) if count == 0 => Outcome::End(Status::IoError),
        (Work::Read(_) | Work::Write(_) | Work::Fill, _) => Outcome::Part(count),
    }
}

/// A queue at work.
pub struct QueueWorker<'a> {
    disk: Arc<Disk>,
    queue: ActiveQueue,
    engine: Engine<'a>,
    full: FullSink,
    /// The driver knows no flushes: what changes the disk is durable when it ends (§5.2.6.2).
    durable: bool,
    chain: Chain,
    slots: Vec<Slot>,
    free: Vec<u16>,
    /// Slots that wait for room.
    waiting: Vec<u16>,
    window: Window,
    /// When the clock was last looked at.
    now: Instant,
    /// The driver broke the ring, or the kernel ours.
    broken: bool,
}

impl<'a> QueueWorker<'a> {
    /// A worker on `queue` by `engine`.
    pub fn new(
        disk: Arc<Disk>,
        queue: ActiveQueue,
        engine: Engine<'a>,
        full: FullSink,
        durable: bool,
    ) -> Self {
        let size = queue.ring.size();
        let now = Instant::now();
        let slot = || Slot {
            head: 0,
            status: 0,
            work: Work::Flush,
            segments: Vec::new(),
            offset: 0,
            left: 0,
            len: 0,
            since: now,
            lost: false,
        };
        Self {
            disk,
            queue,
            engine,
            full,
            durable,
            chain: Chain::default(),
            slots: (0..size).map(|_| slot()).collect(),
            free: (0..size).rev().collect(),
            waiting: Vec::new(),
            window: Window::default(),
            now,
            broken: false,
        }
    }

    /// Works until the order to stop.
    pub fn run(mut self, orders: &Orders) {
        loop {
            match orders.current() {
                Order::Run => {
                    let more = self.take();
                    self.queue.publish();
                    if !more && !self.look(orders) && !self.listen() && !self.settle() {
                        return;
                    }
                }
                Order::Pause => {
                    self.drain();
                    if orders.rest() == Order::Run {
                        for slot in std::mem::take(&mut self.waiting) {
                            self.submit(slot);
                        }
                    }
                }
                Order::Stop => {
                    self.drain();
                    return;
                }
            }
        }
    }

    /// Whether requests are taken.
    fn takes(&self) -> bool {
        !self.broken && self.waiting.is_empty()
    }

    /// Takes what the driver offers, a ring's length at most: one that offers without end is not served without end
    /// before orders are looked at. Says whether there may be more. The driver is not asked to tell.
    fn take(&mut self) -> bool {
        if !self.takes() {
            return false;
        }
        self.take_round().unwrap_or_else(|error| {
            self.fail(&error);
            false
        })
    }

    fn take_round(&mut self) -> Result<bool, RingError> {
        self.queue.ring.silence();
        for taken in 0..self.queue.ring.size() {
            if !self.queue.ring.pop(&mut self.chain)? {
                return Ok(false);
            }
            if taken == 0 {
                self.now = Instant::now();
            }
            self.begin()?;
        }
        Ok(true)
    }

    /// Looks for the driver's next request, where it is the driver's turn and may be worth it; says whether there is something.
    fn look(&self, orders: &Orders) -> bool {
        self.engine.busy() == 0
            && self.takes()
            && self
                .window
                .look(|| self.queue.ring.has_more() || orders.current() != Order::Run)
    }

    /// Asks the driver to tell; says whether it has offered something before.
    fn listen(&mut self) -> bool {
        if !self.takes() {
            return false;
        }
        self.queue.ring.listen().unwrap_or_else(|error| {
            self.fail(&error);
            false
        })
    }

    /// Begins the request in `self.chain`.
    fn begin(&mut self) -> Result<(), RingError> {
        let memory = self.queue.ring.memory();
        let Disk {
            geometry, read_only, ..
        } = *self.disk;
        let request = request::parse(memory, &mut self.chain, geometry, read_only)?;
        // As many slots as the ring has entries, and the ring gives no more.
        let index = self
            .free
            .pop()
            .ok_or(RingError::Overrun(self.queue.ring.size()))?;
        let Some(slot) = self.slots.get_mut(usize::from(index)) else {
            return Err(RingError::Overrun(index));
        };
        slot.head = self.chain.head;
        slot.status = request.status;
        slot.since = self.now;
        slot.lost = false;
        slot.segments.clear();
        (slot.work, slot.len) = (Work::Discard, 0);
        let path = |segments: &[Segment], offset| {
            if self.disk.fits_direct(offset, segments) {
                Path::Direct
            } else {
                Path::Cached
            }
        };
        (slot.work, slot.offset, slot.len) = match request.action {
            Action::End(status) => {
                self.finish(index, status, 0);
                return Ok(());
            }
            Action::Id => {
                let written = self.tell_id();
                self.finish(index, Status::Ok, written);
                return Ok(());
            }
            Action::Read { offset, len } => {
                std::mem::swap(&mut slot.segments, &mut self.chain.writable);
                (Work::Read(path(&slot.segments, offset)), offset, len)
            }
            Action::Write { offset, len } => {
                std::mem::swap(&mut slot.segments, &mut self.chain.readable);
                (Work::Write(path(&slot.segments, offset)), offset, len)
            }
            Action::Flush => (Work::Flush, 0, 0),
            Action::Discard { offset, len } => (Work::Discard, offset, len),
            Action::WriteZeroes { offset, len, unmap } => {
                (if unmap { Work::Punch } else { Work::Zero }, offset, len)
            }
        };
        slot.left = slot.len;
        self.submit(index);
        Ok(())
    }

    /// Submits what is left of a slot's request.
    fn submit(&mut self, index: u16) {
        let Some(slot) = self.slots.get(usize::from(index)) else {
            return;
        };
        let (engine, offset, left) = (&mut self.engine, slot.offset, slot.left);
        if matches!(slot.work, Work::Write(Path::Cached) | Work::Fill) {
            self.disk.note_cached_write();
        }
        let submitted = match slot.work {
            Work::Read(path) => engine.read(index, path, &slot.segments, offset),
            Work::Write(path) => engine.write(index, path, &slot.segments, offset, self.durable),
            Work::Flush | Work::Sync => engine.flush(index),
            Work::Discard | Work::Punch => engine.allocate(index, PUNCH, offset, left),
            Work::Zero => engine.allocate(index, ZERO, offset, left),
            Work::Fill => engine.write_zeros(index, offset, left, self.durable),
        };
        if submitted.is_err() {
            self.finish(index, Status::IoError, 0);
        }
    }

    /// Waits for something to happen, and handles all that has. Says whether the ring still works: without it the queue
    /// can do nothing any more.
    fn settle(&mut self) -> bool {
        let idle = self.engine.busy() == 0;
        let begin = Instant::now();
        if let Err(error) = self.engine.wait() {
            self.fail(&error);
            return false;
        }
        if idle {
            self.window.slept(begin.elapsed());
        }
        let mut ended = false;
        while let Some(event) = self.engine.next() {
            if let Event::Done { slot, result } = event {
                if !std::mem::replace(&mut ended, true) {
                    self.now = Instant::now();
                }
                self.done(slot, result);
            }
        }
        true
    }

    /// Handles the result of a slot's system call.
    fn done(&mut self, index: u16, result: i32) {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else {
            return;
        };
        match outcome(slot.work, result, slot.left) {
            Outcome::Wait => {
                let syncs = matches!(slot.work, Work::Flush | Work::Sync);
                slot.lost |= syncs && self.disk.has_cached_writes();
                return self.wait_for_room(index);
            }
            Outcome::Again(work) => slot.work = work,
            Outcome::End(Status::Ok) if self.durable && slot.work.is_allocation() => slot.work = Work::Sync,
            Outcome::End(Status::Ok) if slot.lost => {
                let path = self.disk.path.display();
                log::line(format_args!(
                    "disk {path}: there was no room when it was flushed, and what was in the host's page cache may be lost"
                ));
                return self.finish(index, Status::IoError, 0);
            }
            Outcome::End(status) => return self.finish(index, status, 0),
            Outcome::Fail(errno) => {
                let error = std::io::Error::from_raw_os_error(errno);
                let (path, offset) = (self.disk.path.display(), slot.offset);
                log::line(format_args!(
                    "disk {path}: {:?} at byte {offset}: {error}",
                    slot.work
                ));
                return self.finish(index, Status::IoError, 0);
            }
            Outcome::Part(count) => {
                slot.left -= count;
                if slot.left == 0 {
                    let written = if matches!(slot.work, Work::Read(_)) {
                        slot.len
                    } else {
                        0
                    };
                    return self.finish(index, Status::Ok, written);
                }
                slot.offset += count;
                advance(&mut slot.segments, count);
            }
        }
        // A part that is left may not be aligned any more.
        if let Some(slot) = self.slots.get_mut(usize::from(index)) {
            let fits = self.disk.fits_direct(slot.offset, &slot.segments);
            match slot.work {
                Work::Read(Path::Direct) if !fits => slot.work = Work::Read(Path::Cached),
                Work::Write(Path::Direct) if !fits => slot.work = Work::Write(Path::Cached),
                _ => {}
            }
        }
        self.submit(index);
    }

    fn wait_for_room(&mut self, index: u16) {
        let first = self.waiting.is_empty();
        self.waiting.push(index);
        if let Some(counters) = self.counters() {
            counters.waits.add(1);
        }
        if first {
            (self.full)();
        }
    }

    /// Ends a slot's request, of which `written` bytes went to its data segments.
    fn finish(&mut self, index: u16, status: Status, written: u64) {
        let Some(slot) = self.slots.get_mut(usize::from(index)) else {
            return;
        };
        let (head, work, len) = (slot.head, slot.work, slot.len);
        let time = self.now.saturating_duration_since(slot.since);
        let address = GuestAddress(slot.status);
        // It was guest memory when it was taken, and guest memory stays.
        let _ = self.queue.ring.memory().write_obj(status as u8, address);
        let written = u32::try_from(written).unwrap_or(u32::MAX).saturating_add(1);
        self.queue.ring.complete(head, written);
        if let Some(counters) = self.counters() {
            match (status, work) {
                (Status::Ok, _) if len == 0 && work != Work::Flush => {}
                (Status::Ok, Work::Read(_)) => {
                    counters.reads.add(1);
                    counters.read_bytes.add(len);
                    counters.read_times.add(time);
                }
                (Status::Ok, Work::Write(_)) => {
                    counters.writes.add(1);
                    counters.write_bytes.add(len);
                    counters.write_times.add(time);
                }
                (Status::Ok, Work::Flush) => {
                    counters.flushes.add(1);
                    counters.flush_times.add(time);
                }
                (Status::Ok, _) => counters.discards.add(1),
                (Status::IoError | Status::Unsupported, _) => counters.errors.add(1),
            }
        }
        self.free.push(index);
    }

    fn counters(&self) -> Option<&Counters> {
        self.disk.counters.get(usize::from(self.queue.index))
    }

    /// Writes the serial number to the chain's data; returns the number of bytes.
    fn tell_id(&self) -> u64 {
        let mut id = [0; ID];
        for (to, from) in id.iter_mut().zip(self.disk.serial.bytes()) {
            *to = from;
        }
        segments::write(self.queue.ring.memory(), &self.chain.writable, 0, &id) as u64
    }

    /// Brings to an end what is in flight. What waits for room goes on waiting.
    fn drain(&mut self) {
        while self.engine.busy() > 0 && self.settle() {}
        self.queue.publish();
    }

    fn fail(&mut self, error: &dyn std::error::Error) {
        if !std::mem::replace(&mut self.broken, true) {
            let (path, index) = (self.disk.path.display(), self.queue.index);
            log::line(format_args!(
                "disk {path}: queue {index}: {}",
                crate::chain(error)
            ));
            self.queue.notifier.needs_reset();
        }
    }
}

#[cfg(test)]
mod tests;
