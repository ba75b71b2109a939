//! The driver's side of a ring, for tests.

use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// Flags of descriptors, for tests that make their own.
pub const NEXT: u16 = FLAG_NEXT;
pub const WRITE: u16 = FLAG_WRITE;
pub const INDIRECT: u16 = FLAG_INDIRECT;

/// Flags of the available ring that no driver sets: there always is one buffer more than the device has taken.
pub const ENDLESS: u16 = 0x8e5d;

/// A ring in guest memory, as its driver sees it.
#[derive(Clone)]
pub struct Driver {
    pub memory: GuestMemory,
    pub setup: Setup,
    next: u16,
    seen: u16,
}

/// 1 MiB of guest memory.
pub fn memory() -> GuestMemory {
    GuestMemory::from_ranges(&[(GuestAddress(0), 1 << 20)]).unwrap()
}

impl Driver {
    /// A ring of `size` entries at `base`: it takes less than 64 KiB.
    pub fn new(memory: &GuestMemory, base: u64, size: u16) -> Self {
        Self {
            memory: memory.clone(),
            setup: Setup {
                size,
                descriptors: base,
                available: base + 0x4000,
                used: base + 0x8000,
                event_idx: true,
                indirect: true,
            },
            next: 0,
            seen: 0,
        }
    }

    /// Writes descriptor `index`.
    pub fn describe(&self, index: u16, address: u64, len: u32, flags: u16, next: u16) {
        let at = self.setup.descriptors + u64::from(index) * 16;
        describe(&self.memory, at, address, len, flags, next);
    }

    /// Offers the chain that begins at `head`.
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.next % self.setup.size);
        let at = GuestAddress(self.setup.available + 4 + slot * 2);
        self.memory.write_obj(head, at).unwrap();
        self.next = self.next.wrapping_add(1);
        self.set_available(self.next);
    }

    /// Writes descriptors for `segments` (address, bytes, whether the device writes) from `head` on, and offers them.
    pub fn submit(&mut self, head: u16, segments: &[(u64, u32, bool)]) {
        for (index, (address, len, write)) in (head..).zip(segments) {
            let last = usize::from(index - head) + 1 == segments.len();
            let flags = if last { 0 } else { NEXT } | if *write { WRITE } else { 0 };
            self.describe(index, *address, *len, flags, index + 1);
        }
        self.offer(head);
    }

    pub fn set_available(&self, index: u16) {
        let at = GuestAddress(self.setup.available + 2);
        self.memory.store(index, at, Ordering::SeqCst).unwrap();
    }

    /// How many buffers the device has used, modulo 2^16.
    pub fn used_index(&self) -> u16 {
        let at = GuestAddress(self.setup.used + 2);
        self.memory.load(at, Ordering::SeqCst).unwrap()
    }

    /// The next buffer that the device has used: head and bytes.
    pub fn used(&mut self) -> Option<(u32, u32)> {
        let index = self.used_index();
        if index == self.seen {
            return None;
        }
        let at = self.setup.used + 4 + u64::from(self.seen % self.setup.size) * 8;
        self.seen = self.seen.wrapping_add(1);
        let entry: [u32; 2] = self.memory.read_obj(GuestAddress(at)).unwrap();
        Some((entry[0], entry[1]))
    }

    /// Does `work` while buffers are offered without end, as a further vCPU may do it; says whether the work ended all the same.
    pub fn endless(&self, work: impl FnOnce() + Send) -> bool {
        let flags = |flags: u16| {
            let at = GuestAddress(self.setup.available);
            self.memory.store(flags, at, Ordering::SeqCst).unwrap();
        };
        flags(ENDLESS);
        thread::scope(|scope| {
            let working = scope.spawn(work);
            let start = Instant::now();
            while !working.is_finished() && start.elapsed().as_secs() < 5 {
                thread::park_timeout(Duration::from_millis(1));
            }
            let ended = working.is_finished();
            flags(0);
            ended
        })
    }

    /// Asks for an interrupt once the device's index goes past `index`.
    pub fn set_used_event(&self, index: u16) {
        let at = self.setup.available + 4 + u64::from(self.setup.size) * 2;
        self.memory.write_obj(index, GuestAddress(at)).unwrap();
    }

    /// Up to where the device need not be told.
    pub fn available_event(&self) -> u16 {
        let at = self.setup.used + 4 + u64::from(self.setup.size) * 8;
        self.memory.read_obj(GuestAddress(at)).unwrap()
    }
}

/// Writes a descriptor anywhere.
pub fn describe(memory: &GuestMemory, at: u64, address: u64, len: u32, flags: u16, next: u16) {
    let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
    memory.write_obj([address, rest], GuestAddress(at)).unwrap();
}
