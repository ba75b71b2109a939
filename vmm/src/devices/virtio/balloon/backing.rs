//! What is asked of the guest, and what it says. Outlives resets, after which the next driver finds the same target.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axion_api::vmm::{BalloonConfig, BalloonStatistics, BalloonStatus};
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::super::Notifier;
use super::counters::Counters;

/// Bytes of a page of the balloon, whatever the guest's are (§5.5.6).
pub const PAGE: u64 = 4096;
/// Bytes of the configuration space without the fields of features that are not offered (§5.5.4).
pub const CONFIG: usize = 8;
/// Where the driver writes how many pages it has given.
pub const ACTUAL: usize = 4;

/// The balloon of a machine.
pub struct Balloon {
    /// What it can do.
    pub config: BalloonConfig,
    /// What was done.
    pub counters: Counters,
    /// Asks the device's thread for new statistics.
    pub refresh: EventFd,
    /// Pages that are asked of the guest.
    target: AtomicU32,
    /// Pages that the driver says it has given.
    actual: AtomicU32,
    statistics: Mutex<Option<BalloonStatistics>>,
    /// The device's voice, while there is a driver.
    notifier: Mutex<Option<Arc<Notifier>>>,
}

impl Balloon {
    /// One that asks for nothing.
    ///
    /// # Errors
    /// Where the kernel has no event descriptor left.
    pub fn new(config: BalloonConfig) -> io::Result<Self> {
        Ok(Self {
            config,
            counters: Counters::default(),
            refresh: EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?,
            target: AtomicU32::new(pages(config.size)),
            actual: AtomicU32::new(0),
            statistics: Mutex::new(None),
            notifier: Mutex::new(None),
        })
    }

    /// Asks the guest for `size` bytes in all, whole pages.
    pub fn set_target(&self, size: u64) {
        self.target.store(pages(size), Ordering::SeqCst);
        if let Some(notifier) = &*lock(&self.notifier) {
            notifier.config_changed();
        }
    }

    /// Configuration space as it is now.
    pub fn registers(&self) -> [u8; CONFIG] {
        let [a, b, c, d] = self.target.load(Ordering::SeqCst).to_le_bytes();
        let [e, f, g, h] = self.actual.load(Ordering::Relaxed).to_le_bytes();
        [a, b, c, d, e, f, g, h]
    }

    /// The driver says how many pages it has given.
    pub fn set_actual(&self, pages: u32) {
        self.actual.store(pages, Ordering::Relaxed);
    }

    /// The driver says how its memory is used.
    pub fn set_statistics(&self, statistics: BalloonStatistics) {
        *lock(&self.statistics) = Some(statistics);
    }

    /// There is a driver.
    pub fn begin(&self, notifier: Arc<Notifier>) {
        *lock(&self.notifier) = Some(notifier);
    }

    /// There is none any more, and nothing that it has given.
    pub fn end(&self) {
        *lock(&self.notifier) = None;
        *lock(&self.statistics) = None;
        self.actual.store(0, Ordering::Relaxed);
    }

    /// What there is, with the statistics that the guest told last; asks it for newer ones.
    pub fn status(&self) -> BalloonStatus {
        let _ = self.refresh.write(1);
        let bytes = |pages: &AtomicU32| u64::from(pages.load(Ordering::Relaxed)) * PAGE;
        BalloonStatus {
            target: bytes(&self.target),
            actual: bytes(&self.actual),
            inflated_bytes: self.counters.inflated.get() * PAGE,
            deflated_bytes: self.counters.deflated.get() * PAGE,
            reported_bytes: self.counters.reported.get(),
            errors: self.counters.errors.get(),
            guest: *lock(&self.statistics),
        }
    }
}

fn pages(size: u64) -> u32 {
    u32::try_from(size / PAGE).unwrap_or(u32::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
