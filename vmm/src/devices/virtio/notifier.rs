//! What a device tells its driver: interrupts, and that it needs a reset. Shared by transport and device threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};

use vmm_sys_util::eventfd::EventFd;

use crate::pci::msix::Msix;

/// No interrupt for this (§4.1.5.1.3).
pub const NO_VECTOR: u16 = 0xffff;

/// Status bits (§2.1).
pub mod status {
    /// The driver is ready.
    pub const DRIVER_OK: u8 = 4;
    /// Features are settled.
    pub const FEATURES_OK: u8 = 8;
    /// The device cannot go on.
    pub const NEEDS_RESET: u8 = 64;
}

/// ISR status bits (§4.1.4.5).
const ISR_QUEUE: u8 = 1;
const ISR_CONFIG: u8 = 2;

/// The device's voice.
pub struct Notifier {
    msix: Arc<Msix>,
    status: AtomicU8,
    isr: AtomicU8,
    /// Of the configuration; see [`Notifier::config_changed`].
    generation: AtomicU8,
    config_vector: AtomicU16,
    queue_vectors: Vec<AtomicU16>,
}

impl Notifier {
    /// That of a device with `queues`, after reset.
    pub fn new(msix: Arc<Msix>, queues: usize) -> Arc<Self> {
        Arc::new(Self {
            msix,
            status: AtomicU8::new(0),
            isr: AtomicU8::new(0),
            generation: AtomicU8::new(0),
            config_vector: AtomicU16::new(NO_VECTOR),
            queue_vectors: (0..queues).map(|_| AtomicU16::new(NO_VECTOR)).collect(),
        })
    }

    /// Tells the driver that buffers of `queue` were used.
    pub fn used(&self, queue: u16) {
        let vector = self.queue_vector(queue);
        if !self.msix.raise(vector) {
            self.isr.fetch_or(ISR_QUEUE, Ordering::Relaxed);
        }
    }

    /// Gives the interrupt of `queue` away; see [`Msix::give`]. The driver has chosen its vector, if it wants one.
    pub fn give(&self, queue: u16) -> Option<Arc<EventFd>> {
        self.msix.give(self.queue_vector(queue))
    }

    /// The device cannot go on (§2.1.2): tells the driver, once there is one.
    pub fn needs_reset(&self) {
        let before = self.status.fetch_or(status::NEEDS_RESET, Ordering::SeqCst);
        if before & status::NEEDS_RESET == 0 && before & status::DRIVER_OK != 0 {
            self.raise_config();
        }
    }

    /// The device's configuration is another one (§2.5): tells the driver, once there is one.
    pub fn config_changed(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        if self.status() & status::DRIVER_OK != 0 {
            self.raise_config();
        }
    }

    fn raise_config(&self) {
        let vector = self.config_vector.load(Ordering::Relaxed);
        if !self.msix.raise(vector) {
            self.isr.fetch_or(ISR_CONFIG, Ordering::Relaxed);
        }
    }

    /// Changes with the configuration (§4.1.4.3.1).
    pub(super) fn generation(&self) -> u8 {
        self.generation.load(Ordering::SeqCst)
    }

    /// Device status.
    pub(super) fn status(&self) -> u8 {
        self.status.load(Ordering::SeqCst)
    }

    /// Sets bits of the device status.
    pub(super) fn add_status(&self, bits: u8) {
        self.status.fetch_or(bits, Ordering::SeqCst);
    }

    /// As after reset.
    pub(super) fn reset(&self) {
        self.status.store(0, Ordering::SeqCst);
        self.isr.store(0, Ordering::Relaxed);
        self.config_vector.store(NO_VECTOR, Ordering::Relaxed);
        for vector in &self.queue_vectors {
            vector.store(NO_VECTOR, Ordering::Relaxed);
        }
    }

    /// ISR status; reading clears.
    pub(super) fn take_isr(&self) -> u8 {
        self.isr.swap(0, Ordering::Relaxed)
    }

    /// Vector of the configuration's interrupt.
    pub(super) fn config_vector(&self) -> u16 {
        self.config_vector.load(Ordering::Relaxed)
    }

    /// Sets it. One that is not there becomes [`NO_VECTOR`], by which the driver notices.
    pub(super) fn set_config_vector(&self, vector: u16) {
        self.config_vector.store(self.existing(vector), Ordering::Relaxed);
    }

    /// Vector of a queue's interrupt.
    pub(super) fn queue_vector(&self, queue: u16) -> u16 {
        let vector = self.queue_vectors.get(usize::from(queue));
        vector.map_or(NO_VECTOR, |vector| vector.load(Ordering::Relaxed))
    }

    /// Sets it, as [`Notifier::set_config_vector`].
    pub(super) fn set_queue_vector(&self, queue: u16, vector: u16) {
        if let Some(place) = self.queue_vectors.get(usize::from(queue)) {
            place.store(self.existing(vector), Ordering::Relaxed);
        }
    }

    fn existing(&self, vector: u16) -> u16 {
        if vector < self.msix.len() {
            vector
        } else {
            NO_VECTOR
        }
    }
}
