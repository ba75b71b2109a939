//! A range of guest memory with its host address kept: for what is looked at too often to be looked up each time.
//!
//! Guest memory changes under our hands at any moment. It is therefore only ever read and written by atomic accesses, each
//! of which sees some value that was there; nothing here assumes that two reads give the same.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use super::GuestMemory;

/// The range. Offsets count from its start and have to be aligned to the access; an access that is not, or that leaves
/// the range, reads zero and writes nothing (owners take care that there are none). No aligned access crosses the border
/// of a region: regions are made of pages.
pub struct Window {
    /// Keeps the mapping.
    _memory: GuestMemory,
    start: NonNull<u8>,
    /// Bytes in the region of the start.
    len: usize,
    /// What is in the regions behind it.
    rest: Option<Box<Window>>,
}

// SAFETY: the range is accessed by atomics only, and the mapping behind it stays as long as `_memory`.
unsafe impl Send for Window {}

impl Window {
    /// Alignment of the start of each window, bytes.
    const ALIGN: u64 = 2;

    /// `len` bytes at `address`, if all of them are guest memory and the address is a multiple of `align`.
    pub fn new(memory: &GuestMemory, address: u64, len: usize, align: u64) -> Option<Self> {
        if !address.is_multiple_of(align.max(Self::ALIGN)) {
            return None;
        }
        let region = memory.find_region(GuestAddress(address))?;
        let inside = usize::try_from(region.len() - (address - region.start_addr().0)).ok()?;
        let here = len.min(inside);
        let slice = memory.get_slice(GuestAddress(address), here).ok()?;
        let rest = if here < len {
            let rest = Self::new(memory, address.checked_add(here as u64)?, len - here, Self::ALIGN)?;
            Some(Box::new(rest))
        } else {
            None
        };
        Some(Self {
            _memory: memory.clone(),
            start: NonNull::new(slice.ptr_guard_mut().as_ptr())?,
            len: here,
            rest,
        })
    }

    /// Where an access of `size` bytes at `offset` goes, if it may.
    fn at(&self, offset: usize, size: usize) -> Option<NonNull<u8>> {
        let inside = offset.checked_add(size).is_some_and(|end| end <= self.len);
        if !inside {
            if let Some(rest) = &self.rest
                && let Some(offset) = offset.checked_sub(self.len)
            {
                return rest.at(offset, size);
            }
            debug_assert!(false, "access beyond a window of guest memory");
            return None;
        }
        // SAFETY: `offset` is inside the range, which is one mapping.
        let pointer = unsafe { self.start.add(offset) };
        pointer.addr().get().is_multiple_of(size).then_some(pointer)
    }

    /// Reads 16 bits.
    pub fn load_u16(&self, offset: usize, order: Ordering) -> u16 {
        self.at(offset, 2).map_or(0, |pointer| {
            // SAFETY: aligned, inside the mapping, and accessed by atomics only.
            unsafe { AtomicU16::from_ptr(pointer.cast().as_ptr()) }.load(order)
        })
    }

    /// Reads 64 bits.
    pub fn load_u64(&self, offset: usize, order: Ordering) -> u64 {
        self.at(offset, 8).map_or(0, |pointer| {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU64::from_ptr(pointer.cast().as_ptr()) }.load(order)
        })
    }

    /// Writes 16 bits.
    pub fn store_u16(&self, offset: usize, value: u16, order: Ordering) {
        if let Some(pointer) = self.at(offset, 2) {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU16::from_ptr(pointer.cast().as_ptr()) }.store(value, order);
        }
    }

    /// Writes 32 bits.
    pub fn store_u32(&self, offset: usize, value: u32, order: Ordering) {
        if let Some(pointer) = self.at(offset, 4) {
            // SAFETY: as in `load_u16`.
            unsafe { AtomicU32::from_ptr(pointer.cast().as_ptr()) }.store(value, order);
        }
    }
}

#[cfg(test)]
mod tests;
