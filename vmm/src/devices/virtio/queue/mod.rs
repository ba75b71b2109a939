//! The split virtqueue (virtio 1.3 §2.7), device side.
//!
//! ```text
//! driver ── available ring ──> [`Queue::pop`] ──> [`Chain`] of checked segments ──> device
//!        <── used ring ─────── [`Queue::publish`] <── [`Queue::complete`] <─────────
//! ```
//!
//! Everything in the rings is written by a hostile guest, at any moment. Hence:
//! - each field is read once, by an atomic access, and checked after that;
//! - a segment reaches a device only if all of it is guest memory;
//! - a chain ends after at most [`MAX_CHAIN`] descriptors, so that loops cost nothing;
//! - no more chains are out than the ring has entries, however often the guest offers the same one;
//! - whatever breaks the rules is a [`RingError`]: the device stops using the ring and says `DEVICE_NEEDS_RESET`.
//!
//! The rings' host addresses are looked up once ([`Window`]). The available index is read once per batch, the used index
//! written once per batch, and an interrupt asked for at most once per batch.
//!
//! Notifications (§2.7.7, §2.7.10): with `RING_EVENT_IDX` each side writes up to where it need not be told; without it,
//! each has a flag. A side that stops looking has to look once more after it has asked to be told:
//! [`Queue::listen`] does.

pub mod segments;

use std::sync::atomic::{Ordering, fence};

use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::memory::GuestMemory;
use crate::memory::window::Window;

/// Most descriptors of a chain; also the most that Linux takes in one `preadv2` (`IOV_MAX`).
pub const MAX_CHAIN: usize = 1024;
/// Largest ring.
pub const MAX_SIZE: u16 = 32768;

const DESCRIPTOR: usize = 16;
const FLAG_NEXT: u16 = 1;
const FLAG_WRITE: u16 = 2;
const FLAG_INDIRECT: u16 = 4;

/// Offsets in both rings.
const FLAGS: usize = 0;
const INDEX: usize = 2;
const RING: usize = 4;
const AVAILABLE_ENTRY: usize = 2;
const USED_ENTRY: usize = 8;
/// `flags` of either ring: do not tell me.
const SILENCE: u16 = 1;

/// The guest broke the rules of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// Size or an address of the ring.
    #[error("the ring's size or an address of it is not valid")]
    Setup,
    /// More buffers than the ring has entries.
    #[error("the ring offers {0} buffers at once, more than it has entries")]
    Overrun(u16),
    /// A descriptor that does not exist.
    #[error("descriptor {0} is out of range")]
    Descriptor(u16),
    /// A chain without an end.
    #[error("a chain of descriptors is too long, or a loop")]
    Chain,
    /// An indirect table of no valid size, in a place where none is allowed, or not in guest memory.
    #[error("an indirect table is not valid")]
    Indirect,
    /// A segment that is not in guest memory.
    #[error("segment {address:#x}+{len:#x} is not guest memory")]
    Segment {
        /// Guest address.
        address: u64,
        /// Bytes.
        len: u32,
    },
    /// A segment for the device after one for the driver.
    #[error("a segment to read follows one to write")]
    Order,
    /// The device's own rules for a buffer.
    #[error("a buffer has not what the device needs")]
    Buffer,
}

/// A range of guest memory that has been checked to be there, in one region: a buffer that goes on in another (they end
/// where guest nodes do) becomes several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Guest address.
    pub address: u64,
    /// Bytes; not zero.
    pub len: u32,
}

/// A buffer that the driver offered.
#[derive(Debug, Default)]
pub struct Chain {
    /// What names it in the used ring.
    pub head: u16,
    /// What the driver wrote.
    pub readable: Vec<Segment>,
    /// Where the device writes.
    pub writable: Vec<Segment>,
}

/// What the driver set up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Setup {
    /// Entries.
    pub size: u16,
    /// Guest address of the descriptor table.
    pub descriptors: u64,
    /// Guest address of the available ring.
    pub available: u64,
    /// Guest address of the used ring.
    pub used: u64,
    /// `RING_EVENT_IDX` was negotiated.
    pub event_idx: bool,
    /// `INDIRECT_DESC` was negotiated.
    pub indirect: bool,
}

/// The device side of a ring.
pub struct Queue {
    memory: GuestMemory,
    setup: Setup,
    descriptors: Window,
    available: Window,
    used: Window,
    /// Next entry of the available ring to take; counts on, modulo 2^16.
    next_available: u16,
    /// Available index as last read.
    seen_available: u16,
    /// Next entry of the used ring to fill.
    next_used: u16,
    /// Used index as last published.
    published: u16,
    /// Chains that the device has.
    outstanding: u16,
    /// Whether the driver tells of new buffers, as the used ring stands.
    listening: bool,
}

impl Queue {
    /// The ring that `setup` describes, from its beginning.
    ///
    /// # Errors
    /// [`RingError::Setup`].
    pub fn new(memory: &GuestMemory, setup: Setup) -> Result<Self, RingError> {
        let size = usize::from(setup.size);
        if !setup.size.is_power_of_two() || setup.size > MAX_SIZE {
            return Err(RingError::Setup);
        }
        // Each ring has an event index after its entries, whether it is used or not: two bytes.
        let window = |address, len, align| Window::new(memory, address, len, align).ok_or(RingError::Setup);
        let available = RING + size * AVAILABLE_ENTRY + 2;
        let used = RING + size * USED_ENTRY + 2;
        Ok(Self {
            descriptors: window(setup.descriptors, size * DESCRIPTOR, 16)?,
            available: window(setup.available, available, 2)?,
            used: window(setup.used, used, 4)?,
            memory: memory.clone(),
            setup,
            next_available: 0,
            seen_available: 0,
            next_used: 0,
            published: 0,
            outstanding: 0,
            listening: true,
        })
    }

    /// Entries.
    pub fn size(&self) -> u16 {
        self.setup.size
    }

    /// What the driver set up.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// The memory that its segments are in.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Takes the next buffer into `chain`; says whether there was one.
    ///
    /// # Errors
    /// [`RingError`], after which the ring must not be used any more.
    pub fn pop(&mut self, chain: &mut Chain) -> Result<bool, RingError> {
        if self.next_available == self.seen_available && !self.look()? {
            return Ok(false);
        }
        if self.outstanding >= self.setup.size {
            return Err(RingError::Overrun(self.outstanding.saturating_add(1)));
        }
        let slot = usize::from(self.next_available & (self.setup.size - 1));
        let head = self
            .available
            .load_u16(RING + slot * AVAILABLE_ENTRY, Ordering::Relaxed);
        self.next_available = self.next_available.wrapping_add(1);
        self.outstanding += 1;
        chain.head = head;
        chain.readable.clear();
        chain.writable.clear();
        self.walk(chain)?;
        Ok(true)
    }

    /// Reads the available index; says whether something is there.
    fn look(&mut self) -> Result<bool, RingError> {
        let index = self.available_index();
        let waiting = index.wrapping_sub(self.next_available);
        if waiting > self.setup.size {
            return Err(RingError::Overrun(waiting));
        }
        self.seen_available = index;
        Ok(waiting > 0)
    }

    fn available_index(&self) -> u16 {
        #[cfg(test)]
        if self.available.load_u16(FLAGS, Ordering::Acquire) == testing::ENDLESS {
            return self.next_available.wrapping_add(1);
        }
        // Acquire: the entries before it are complete.
        self.available.load_u16(INDEX, Ordering::Acquire)
    }

    fn walk(&self, chain: &mut Chain) -> Result<(), RingError> {
        let mut index = chain.head;
        for _ in 0..self.setup.size {
            if index >= self.setup.size {
                return Err(RingError::Descriptor(index));
            }
            let at = usize::from(index) * DESCRIPTOR;
            let address = self.descriptors.load_u64(at, Ordering::Relaxed);
            let rest = self.descriptors.load_u64(at + 8, Ordering::Relaxed);
            let descriptor = Descriptor::new(address, rest);
            if descriptor.flags & FLAG_INDIRECT != 0 {
                return self.walk_indirect(descriptor, chain);
            }
            self.add(descriptor, chain)?;
            if descriptor.flags & FLAG_NEXT == 0 {
                return Ok(());
            }
            index = descriptor.next;
        }
        Err(RingError::Chain)
    }

    /// Follows an indirect table (§2.7.5.3). It may come after direct descriptors, and is then the end of the chain.
    fn walk_indirect(&self, table: Descriptor, chain: &mut Chain) -> Result<(), RingError> {
        let len = usize::try_from(table.len).unwrap_or(usize::MAX);
        let count = len / DESCRIPTOR;
        let valid = len.is_multiple_of(DESCRIPTOR) && (1..=MAX_CHAIN).contains(&count);
        if !self.setup.indirect || table.flags & FLAG_NEXT != 0 || !valid {
            return Err(RingError::Indirect);
        }
        let start = GuestAddress(table.address);
        // None where it goes on in another region.
        let slice = self.memory.get_slice(start, len).ok();
        if slice.is_none() && !self.memory.check_range(start, len) {
            return Err(RingError::Indirect);
        }
        let mut index = 0;
        for _ in 0..count {
            if usize::from(index) >= count {
                return Err(RingError::Descriptor(index));
            }
            let at = usize::from(index) * DESCRIPTOR;
            // The table need not be aligned. Each byte is read once, and what it makes is checked after that.
            let words: Option<[u64; 2]> = match &slice {
                Some(slice) => slice.read_obj(at).ok(),
                None => self.memory.read_obj(GuestAddress(table.address + at as u64)).ok(),
            };
            let words = words.ok_or(RingError::Indirect)?;
            let descriptor = Descriptor::new(words[0], words[1]);
            if descriptor.flags & FLAG_INDIRECT != 0 {
                return Err(RingError::Indirect);
            }
            self.add(descriptor, chain)?;
            if descriptor.flags & FLAG_NEXT == 0 {
                return Ok(());
            }
            index = descriptor.next;
        }
        Err(RingError::Chain)
    }

    fn add(&self, descriptor: Descriptor, chain: &mut Chain) -> Result<(), RingError> {
        let Descriptor { mut address, len, .. } = descriptor;
        let outside = RingError::Segment { address, len };
        let mut left = len;
        // Once, but where it goes on in another region.
        while left > 0 {
            let here = self.inside(address).ok_or(outside)?;
            let here = u32::try_from(here).unwrap_or(u32::MAX).min(left);
            if chain.readable.len() + chain.writable.len() >= MAX_CHAIN {
                return Err(RingError::Chain);
            }
            let segment = Segment { address, len: here };
            if descriptor.flags & FLAG_WRITE != 0 {
                chain.writable.push(segment);
            } else if chain.writable.is_empty() {
                chain.readable.push(segment);
            } else {
                return Err(RingError::Order);
            }
            address += u64::from(here);
            left -= here;
        }
        Ok(())
    }

    /// Bytes from `address` to the end of its region of guest memory.
    fn inside(&self, address: u64) -> Option<u64> {
        let region = self.memory.find_region(GuestAddress(address))?;
        Some(region.len() - (address - region.start_addr().0))
    }

    /// Gives the buffer `head` back, of which the device wrote `written` bytes. The driver sees it after
    /// [`Queue::publish`].
    pub fn complete(&mut self, head: u16, written: u32) {
        let slot = usize::from(self.next_used & (self.setup.size - 1));
        let at = RING + slot * USED_ENTRY;
        self.used.store_u32(at, head.into(), Ordering::Relaxed);
        self.used.store_u32(at + 4, written, Ordering::Relaxed);
        self.next_used = self.next_used.wrapping_add(1);
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// Shows the driver what was completed; says whether it wants an interrupt.
    pub fn publish(&mut self) -> bool {
        let (old, new) = (self.published, self.next_used);
        if old == new {
            return false;
        }
        // Release: entries and data are there before the index.
        self.used.store_u16(INDEX, new, Ordering::Release);
        self.published = new;
        // The index has to be visible before the driver's wish is read, or both sides could wait for each other.
        fence(Ordering::SeqCst);
        if self.setup.event_idx {
            let event = self
                .available
                .load_u16(self.event(AVAILABLE_ENTRY), Ordering::Relaxed);
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.available.load_u16(FLAGS, Ordering::Relaxed) & SILENCE == 0
        }
    }

    /// Asks the driver to tell of new buffers; says whether there are some already, which is to be looked at first.
    ///
    /// # Errors
    /// [`RingError::Overrun`].
    pub fn listen(&mut self) -> Result<bool, RingError> {
        if self.setup.event_idx {
            self.used
                .store_u16(self.event(USED_ENTRY), self.next_available, Ordering::Relaxed);
        } else if !self.listening {
            self.used.store_u16(FLAGS, 0, Ordering::Relaxed);
        }
        self.listening = true;
        fence(Ordering::SeqCst);
        self.look()
    }

    /// Asks the driver to tell of the next buffer behind those that there are, which are left alone until then.
    pub fn listen_beyond(&mut self) {
        if self.setup.event_idx {
            let index = self.available_index();
            self.used
                .store_u16(self.event(USED_ENTRY), index, Ordering::Relaxed);
            fence(Ordering::SeqCst);
        }
    }

    /// Asks the driver not to tell of new buffers, while the device looks by itself. With `RING_EVENT_IDX` it tells when it
    /// passes an index: one that it has passed already.
    pub fn silence(&mut self) {
        if !std::mem::replace(&mut self.listening, false) {
            return;
        }
        if self.setup.event_idx {
            let passed = self.next_available.wrapping_sub(1);
            self.used
                .store_u16(self.event(USED_ENTRY), passed, Ordering::Relaxed);
        } else {
            self.used.store_u16(FLAGS, SILENCE, Ordering::Relaxed);
        }
    }

    /// Whether the driver has offered more, at a glance: what it has is found by [`Queue::pop`].
    pub fn has_more(&self) -> bool {
        self.available_index() != self.next_available
    }

    /// Where the event index of a ring lies.
    fn event(&self, entry: usize) -> usize {
        RING + usize::from(self.setup.size) * entry
    }
}

/// A descriptor as read.
#[derive(Debug, Clone, Copy)]
struct Descriptor {
    address: u64,
    len: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn new(address: u64, rest: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = rest.to_le_bytes();
        Self {
            address,
            len: u32::from_le_bytes([a, b, c, d]),
            flags: u16::from_le_bytes([e, f]),
            next: u16::from_le_bytes([g, h]),
        }
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
