//! The io_uring of a queue: the unsafe part of the disk.
//!
//! A [`Ring`] is made with its device and lives as long, because the threads of devices may make none: a ring does on behalf
//! of its thread what the thread's filter of system calls never sees. Before it is switched on it is restricted, by the kernel
//! and for good, to [`OPCODES`] on descriptors and to one way of being set up further ([`AFFINITY`]). An [`Engine`] is what
//! one activation of the device does with it, and leaves nothing behind in it.
//!
//! What makes it safe to use:
//! - segments are looked up in guest memory when a request is submitted, and the engine keeps that memory;
//! - each slot has one request at a time, whose vector stays in the slot until it has completed;
//! - the drop waits for all requests; where even that fails the memory is never given back, and the ring never used again.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use io_uring::register::Restriction;
use io_uring::types::{Fixed, FsyncFlags};
use io_uring::{IoUring, cqueue, opcode, squeue};
use nix::libc::{self, iovec};
use vm_memory::{GuestAddress, GuestMemoryBackend};
use vmm_sys_util::eventfd::EventFd;

use super::backing::Disk;
use crate::devices::virtio::queue::Segment;
use crate::memory::GuestMemory;
use crate::placement::affinity;

/// Which way a request goes: index of the registered descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Through the page cache.
    Cached,
    /// Past it.
    Direct,
}

impl Path {
    const fn fixed(self) -> Fixed {
        Fixed(match self {
            Self::Cached => 0,
            Self::Direct => 1,
        })
    }
}

/// What the ring reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The doorbell or the orders' eventfd was signalled.
    Woken,
    /// The request in `slot` ended, with what its system call returned: a count, or a negative `errno`.
    Done {
        /// Slot.
        slot: u16,
        /// Result.
        result: i32,
    },
}

/// Marks completions of polls; slots are below.
const POLL: u64 = 1 << 32;
/// Marks completions of requests to end a poll.
const END: u64 = 1 << 33;
/// Polls: doorbell and orders.
const POLLS: u64 = 2;

/// What may be asked of the ring.
const OPCODES: [u8; 6] = [
    opcode::Readv::CODE,
    opcode::Writev::CODE,
    opcode::Fsync::CODE,
    opcode::Fallocate::CODE,
    opcode::PollAdd::CODE,
    opcode::PollRemove::CODE,
];
/// Flags that they may have: `IOSQE_FIXED_FILE`.
const FLAGS: u8 = 1;
/// `IORING_REGISTER_IOWQ_AFF`: CPUs of the kernel's threads.
const AFFINITY: u8 = 17;

/// Zeros to write.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// Most pieces of zeros in one request.
const ZERO_PIECES: u64 = 256;

struct Slot {
    vector: Vec<iovec>,
    busy: bool,
}

/// A restricted ring, switched on by the thread that first uses it, which is the only one that may.
pub struct Ring {
    ring: IoUring,
    on: bool,
    /// Requests of an earlier engine are still in it.
    stuck: bool,
    /// Keeps the descriptors.
    _disk: Arc<Disk>,
}

impl Ring {
    /// A ring for at most `slots` requests at a time to `disk`.
    ///
    /// # Errors
    /// Where the kernel has no ring left, or does not restrict rings (before 5.10).
    pub fn new(slots: u16, disk: &Arc<Disk>) -> io::Result<Self> {
        let entries = (u64::from(slots) + 2 * POLLS).next_power_of_two();
        let entries = u32::try_from(entries).map_err(io::Error::other)?;
        // Completions are handled when the thread asks for them, never by interrupting it.
        let ring = IoUring::builder()
            .setup_r_disabled()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(entries)
            .or_else(|_| IoUring::builder().setup_r_disabled().build(entries))?;
        let cached = disk.file().as_raw_fd();
        let direct = disk.direct().map_or(cached, AsRawFd::as_raw_fd);
        ring.submitter().register_files(&[cached, direct])?;
        let opcodes = OPCODES.into_iter().map(Restriction::sqe_op);
        let others = [
            Restriction::sqe_flags_allowed(FLAGS),
            Restriction::register_op(AFFINITY),
        ];
        let mut restrictions: Vec<_> = opcodes.chain(others).collect();
        ring.submitter().register_restrictions(&mut restrictions)?;
        Ok(Self {
            ring,
            on: false,
            stuck: false,
            _disk: disk.clone(),
        })
    }

    /// Switches it on, with the restrictions.
    fn switch_on(&mut self) -> io::Result<()> {
        if !self.on {
            self.ring.submitter().register_enable_rings()?;
            self.on = true;
        }
        Ok(())
    }
}

/// The ring at work.
pub struct Engine<'a> {
    ring: &'a mut Ring,
    memory: GuestMemory,
    doorbell: Arc<EventFd>,
    orders: i32,
    slots: Vec<Slot>,
    busy: usize,
    /// Polls, and requests to end them, that have not ended.
    watching: usize,
    closing: bool,
}

impl<'a> Engine<'a> {
    /// `ring` with `slots` requests at most, which wakes for `doorbell` and `orders`. To be used by this thread alone.
    ///
    /// # Errors
    /// Where the kernel refuses, or the requests of an earlier engine have not ended.
    pub fn new(
        ring: &'a mut Ring,
        slots: u16,
        memory: &GuestMemory,
        doorbell: Arc<EventFd>,
        orders: &EventFd,
    ) -> io::Result<Self> {
        if ring.stuck {
            return Err(io::Error::other("earlier requests have not ended"));
        }
        ring.switch_on()?;
        let slot = || Slot {
            vector: Vec::new(),
            busy: false,
        };
        let mut engine = Self {
            ring,
            memory: memory.clone(),
            doorbell,
            orders: orders.as_raw_fd(),
            slots: (0..slots).map(|_| slot()).collect(),
            busy: 0,
            watching: 0,
            closing: false,
        };
        for poll in 0..POLLS {
            engine.poll(poll)?;
            engine.watching += 1;
        }
        engine.ring.ring.submit()?;
        // What would wait is done by threads of the kernel, which else run on any CPU. Kernels before 5.14 do not know it.
        if let Ok(cpus) = affinity::get_raw() {
            let _ = engine.ring.ring.submitter().register_iowq_aff(&cpus);
        }
        Ok(engine)
    }

    /// Requests that have not ended.
    pub fn busy(&self) -> usize {
        self.busy
    }

    /// Watches an eventfd for being signalled, each time: edges, so that it need not be read.
    fn poll(&mut self, poll: u64) -> io::Result<()> {
        let fd = if poll == 0 {
            self.doorbell.as_raw_fd()
        } else {
            self.orders
        };
        let events = u32::try_from(libc::POLLIN).unwrap_or(1);
        let entry = opcode::PollAdd::new(io_uring::types::Fd(fd), events)
            .multi(true)
            .build();
        // SAFETY: a poll refers to no memory; its descriptors outlive the ring (the worker has the orders').
        unsafe { self.push(&entry.user_data(POLL | poll)) }
    }

    /// Ends a poll.
    fn end_poll(&mut self, poll: u64) -> io::Result<()> {
        let entry = opcode::PollRemove::new(POLL | poll).build();
        // SAFETY: it refers to no memory.
        unsafe { self.push(&entry.user_data(END | poll)) }
    }

    /// Reads into `segments` from `offset`.
    ///
    /// # Errors
    /// Where a segment is not guest memory, or the ring is full.
    pub fn read(&mut self, slot: u16, path: Path, segments: &[Segment], offset: u64) -> io::Result<()> {
        let (vector, len) = self.vector(slot, segments)?;
        let entry = opcode::Readv::new(path.fixed(), vector, len)
            .offset(offset)
            .build();
        // SAFETY: the vector is the slot's, and of guest memory that is kept; see `submit`.
        unsafe { self.submit(slot, entry) }
    }

    /// Writes `segments` to `offset`; with `durable`, it ends when that is on stable storage.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn write(
        &mut self,
        slot: u16,
        path: Path,
        segments: &[Segment],
        offset: u64,
        durable: bool,
    ) -> io::Result<()> {
        let (vector, len) = self.vector(slot, segments)?;
        let entry = opcode::Writev::new(path.fixed(), vector, len)
            .offset(offset)
            .rw_flags(flags(durable))
            .build();
        // SAFETY: as in `read`.
        unsafe { self.submit(slot, entry) }
    }

    /// Writes zeros: as many of `len` as go into one request; with `durable`, it ends when they are on stable storage.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub fn write_zeros(&mut self, slot: u16, offset: u64, len: u64, durable: bool) -> io::Result<()> {
        let piece = ZEROS.len() as u64;
        let place = self.free(slot)?;
        place.vector.clear();
        let mut left = len.min(ZERO_PIECES * piece);
        while left > 0 {
            let count = left.min(piece);
            place.vector.push(iovec {
                iov_base: ZEROS.as_ptr().cast_mut().cast(),
                iov_len: usize::try_from(count).unwrap_or(0),
            });
            left -= count;
        }
        let count = u32::try_from(place.vector.len()).unwrap_or(0);
        let entry = opcode::Writev::new(Path::Cached.fixed(), place.vector.as_ptr(), count)
            .offset(offset)
            .rw_flags(flags(durable));
        // SAFETY: the vector is the slot's, and of static memory, which is only read.
        unsafe { self.submit(slot, entry.build()) }
    }

    /// Makes durable what was written.
    ///
    /// # Errors
    /// Where the ring is full.
    pub fn flush(&mut self, slot: u16) -> io::Result<()> {
        let entry = opcode::Fsync::new(Path::Cached.fixed()).flags(FsyncFlags::DATASYNC);
        // SAFETY: it refers to no memory.
        unsafe { self.submit(slot, entry.build()) }
    }

    /// `fallocate(2)` with `mode`.
    ///
    /// # Errors
    /// Where the ring is full.
    pub fn allocate(&mut self, slot: u16, mode: i32, offset: u64, len: u64) -> io::Result<()> {
        let entry = opcode::Fallocate::new(Path::Cached.fixed(), len)
            .offset(offset)
            .mode(mode);
        // SAFETY: it refers to no memory.
        unsafe { self.submit(slot, entry.build()) }
    }

    /// Hands what was submitted to the kernel, and waits until something has happened.
    ///
    /// # Errors
    /// Where the kernel refuses for good.
    pub fn wait(&mut self) -> io::Result<()> {
        match self.ring.ring.submit_and_wait(1) {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // Interrupted, or short of resources until completions have been taken.
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// What has happened next.
    pub fn next(&mut self) -> Option<Event> {
        let entry = self.ring.ring.completion().next()?;
        let data = entry.user_data();
        if data & END != 0 {
            // The poll is just telling of a signal: once more.
            let again = entry.result() == -libc::EALREADY && self.end_poll(data & !END).is_ok();
            self.watching -= usize::from(!again);
            return Some(Event::Woken);
        }
        if data & POLL != 0 {
            if !cqueue::more(entry.flags()) {
                // The kernel ends a poll only when it is short of something; full rings are emptied by now.
                let again = !self.closing && self.poll(data & !POLL).is_ok();
                self.watching -= usize::from(!again);
            }
            return Some(Event::Woken);
        }
        let slot = u16::try_from(data).unwrap_or(u16::MAX);
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            place.busy = false;
            self.busy -= 1;
        }
        Some(Event::Done {
            slot,
            result: entry.result(),
        })
    }

    fn free(&mut self, slot: u16) -> io::Result<&mut Slot> {
        free(&mut self.slots, slot)
    }

    /// Fills the vector of a free slot with the host addresses of `segments`.
    fn vector(&mut self, slot: u16, segments: &[Segment]) -> io::Result<(*const iovec, u32)> {
        let place = free(&mut self.slots, slot)?;
        place.vector.clear();
        for segment in segments {
            let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
            let slice = self.memory.get_slice(GuestAddress(segment.address), len);
            let slice = slice.map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))?;
            place.vector.push(iovec {
                iov_base: slice.ptr_guard_mut().as_ptr().cast(),
                iov_len: len,
            });
        }
        let count = u32::try_from(place.vector.len()).unwrap_or(0);
        Ok((place.vector.as_ptr(), count))
    }

    /// Submits the request of a free slot.
    ///
    /// # Safety
    /// Memory that `entry` refers to has to be guest memory of this ring, the slot's vector, or static.
    unsafe fn submit(&mut self, slot: u16, entry: squeue::Entry) -> io::Result<()> {
        self.free(slot)?;
        // SAFETY: by the caller; the slot keeps its vector while it is busy, the ring keeps the guest memory.
        unsafe { self.push(&entry.user_data(slot.into())) }?;
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            place.busy = true;
            self.busy += 1;
        }
        Ok(())
    }

    /// Puts an entry on the submission queue; there is one for each slot and poll.
    ///
    /// # Safety
    /// Memory that `entry` refers to has to stay until it has completed.
    unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        // SAFETY: by the caller.
        let pushed = unsafe { self.ring.ring.submission().push(entry) };
        pushed.map_err(|_| io::Error::from_raw_os_error(libc::EBUSY))
    }
}

/// `RWF_*` of a write.
const fn flags(durable: bool) -> i32 {
    if durable { libc::RWF_DSYNC } else { 0 }
}

fn free(slots: &mut [Slot], slot: u16) -> io::Result<&mut Slot> {
    let place = slots.get_mut(usize::from(slot)).filter(|slot| !slot.busy);
    place.ok_or_else(|| io::Error::from_raw_os_error(libc::EBUSY))
}

impl Drop for Engine<'_> {
    fn drop(&mut self) {
        self.closing = true;
        self.ring.stuck = true;
        for poll in 0..POLLS {
            self.watching += usize::from(self.end_poll(poll).is_ok());
        }
        while self.busy > 0 || self.watching > 0 {
            if self.wait().is_err() {
                // Requests may still come to an end in this memory: it stays.
                std::mem::forget(self.memory.clone());
                return;
            }
            while self.next().is_some() {}
        }
        self.ring.stuck = false;
    }
}

#[cfg(test)]
mod tests;
