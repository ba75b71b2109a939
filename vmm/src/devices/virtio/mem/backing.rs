//! What is asked of the guest's memory, and how much it has. Outlives resets, after which the next driver is asked for the
//! same and has nothing yet.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axion_api::vmm::MemoryStatus;
use axion_core::placement::block_size;

use super::super::Notifier;
use super::super::counter::Counter;

/// Bytes of the configuration space (§5.15.4).
pub const CONFIG: usize = 56;

/// The guest's memory cannot be what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResizeError {
    /// It is what it is.
    #[error("the machine's memory neither grows nor shrinks; its config has to have a memory.max")]
    Fixed,
    /// A size that it cannot have.
    #[error("size: {size} is not allowed; {least} to {most} bytes, by steps of {block}")]
    Size {
        /// Bytes that were asked for.
        size: u64,
        /// Bytes of memory at the start.
        least: u64,
        /// Bytes at most.
        most: u64,
        /// Bytes of a block.
        block: u64,
    },
}

/// How much memory a guest is to have.
pub struct Resize {
    /// Bytes that it starts with.
    least: u64,
    /// Guest addresses of what may come.
    range: Range<u64>,
    /// Bytes of a block.
    block: u64,
    sizes: Mutex<Sizes>,
    /// The device's voice, while there is a driver.
    notifier: Mutex<Option<Arc<Notifier>>>,
    /// Requests that were refused.
    pub refused: Counter,
    /// Requests that no driver should make.
    pub errors: Counter,
}

/// Bytes besides those that the guest starts with.
#[derive(Debug, Clone, Copy, Default)]
struct Sizes {
    /// That it is to have.
    requested: u64,
    /// That it has, or is about to get: never less than what is behind its addresses.
    present: u64,
}

impl Resize {
    /// A guest that starts with `least` bytes, and may get those at `range`, in pages of `page` bytes.
    pub fn new(least: u64, range: Range<u64>, page: u64) -> Self {
        Self {
            least,
            block: block_size(range.end - range.start, page),
            range,
            sizes: Mutex::default(),
            notifier: Mutex::default(),
            refused: Counter::default(),
            errors: Counter::default(),
        }
    }

    /// Asks the guest to have `size` bytes in all.
    ///
    /// # Errors
    /// [`ResizeError::Size`].
    pub fn ask(&self, size: u64) -> Result<(), ResizeError> {
        let most = self.least + (self.range.end - self.range.start);
        let more = size.checked_sub(self.least).filter(|_| size <= most);
        let more = more.filter(|more| more.is_multiple_of(self.block));
        let more = more.ok_or(ResizeError::Size {
            size,
            least: self.least,
            most,
            block: self.block,
        })?;
        lock(&self.sizes).requested = more;
        if let Some(notifier) = &*lock(&self.notifier) {
            notifier.config_changed();
        }
        Ok(())
    }

    /// Counts `size` bytes as the guest's if it is to have that many more; says whether it is.
    pub(super) fn take(&self, size: u64) -> bool {
        let mut sizes = lock(&self.sizes);
        let present = sizes.present.checked_add(size);
        match present.filter(|present| *present <= sizes.requested) {
            Some(present) => {
                sizes.present = present;
                true
            }
            None => false,
        }
    }

    /// The guest has `size` bytes less.
    pub(super) fn give(&self, size: u64) {
        let mut sizes = lock(&self.sizes);
        sizes.present = sizes.present.saturating_sub(size);
    }

    /// The guest has `size` bytes besides those that it starts with.
    pub fn is_now(&self, size: u64) {
        lock(&self.sizes).present = size;
    }

    /// Configuration space as it is now.
    pub fn registers(&self) -> [u8; CONFIG] {
        let Sizes { requested, present } = *lock(&self.sizes);
        let size = self.range.end - self.range.start;
        // Node 0, and padding; all of the region may be plugged.
        let fields = [self.block, 0, self.range.start, size, size, present, requested];
        let mut bytes = [0; CONFIG];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// There is a driver.
    pub(super) fn begin(&self, notifier: Arc<Notifier>) {
        *lock(&self.notifier) = Some(notifier);
    }

    /// There is none any more. What it has plugged stays (§5.15.5.1): the next one asks what is there.
    pub(super) fn end(&self) {
        *lock(&self.notifier) = None;
    }

    /// What there is.
    pub fn status(&self) -> MemoryStatus {
        let Sizes { requested, present } = *lock(&self.sizes);
        MemoryStatus {
            least: self.least,
            most: self.least + (self.range.end - self.range.start),
            block: self.block,
            requested: self.least + requested,
            present: self.least + present,
            refused: self.refused.get(),
            errors: self.errors.get(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
