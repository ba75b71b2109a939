//! A range of guest memory with its host address kept: for what is looked at too often to be looked up each time.
//!
//! Guest memory changes under our hands at any moment. It is therefore only ever read and written by atomic accesses, each
//! of which sees some value that was there; nothing here assumes that two reads give the same.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, Ordering};

use vm_memory::{GuestAddress, GuestMemoryBackend};

use super::GuestMemory;

/// The range. Offsets count from its start and have to be aligned to the access; an access that is not, or that leaves
/// the range, reads zero and writes nothing (owners take care that there are none).
pub struct Window {
    /// Keeps the mapping.
    _memory: GuestMemory,
    start: NonNull<u8>,
    len: usize,
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
        let slice = memory.get_slice(GuestAddress(address), len).ok()?;
        Some(Self {
            _memory: memory.clone(),
            start: NonNull::new(slice.ptr_guard_mut().as_ptr())?,
            len,
        })
    }

    /// Where an access of `size` bytes at `offset` goes, if it may.
    fn at(&self, offset: usize, size: usize) -> Option<NonNull<u8>> {
        let inside = offset.checked_add(size).is_some_and(|end| end <= self.len);
        if !inside {
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
