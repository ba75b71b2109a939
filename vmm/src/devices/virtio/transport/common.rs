//! Common configuration (virtio 1.3 §4.1.4.3) and the device's status machine (§3.1), apart from what they cause.
//!
//! ```text
//! reset ─> ACKNOWLEDGE ─> DRIVER ─> features ─> FEATURES_OK ─> queues ─> DRIVER_OK
//!   ^                                                                        │
//!   '──────────────────────────── status = 0 ────────────────────────────────'
//! ```
//!
//! What comes out of order is ignored, and reads back unchanged: features after FEATURES_OK, queues after they were
//! enabled, DRIVER_OK without FEATURES_OK, status bits that are cleared one by one.

use std::sync::Arc;

use super::super::notifier::status;
use super::super::queue::Setup;
use super::super::{Notifier, feature};

/// Bytes of the structure.
pub const SIZE: usize = 64;

const DEVICE_FEATURE_SELECT: usize = 0;
const DEVICE_FEATURE: usize = 4;
const DRIVER_FEATURE_SELECT: usize = 8;
const DRIVER_FEATURE: usize = 12;
const CONFIG_VECTOR: usize = 16;
const NUM_QUEUES: usize = 18;
const STATUS: usize = 20;
const CONFIG_GENERATION: usize = 21;
const QUEUE_SELECT: usize = 22;
const QUEUE_SIZE: usize = 24;
const QUEUE_VECTOR: usize = 26;
const QUEUE_ENABLE: usize = 28;
const QUEUE_NOTIFY_OFFSET: usize = 30;
const QUEUE_DESCRIPTORS: usize = 32;
const QUEUE_AVAILABLE: usize = 40;
const QUEUE_USED: usize = 48;
/// Halves of the 64-bit fields.
const HIGH: usize = 4;

/// What a write demands of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// Nothing.
    Nothing,
    /// The driver is ready: begin.
    Activate,
    /// Reset.
    Reset,
}

#[derive(Debug, Clone, Copy, Default)]
struct QueueState {
    max: u16,
    enabled: bool,
    setup: Setup,
}

/// The structure.
pub struct Common {
    offered: u64,
    taken: u64,
    device_select: u32,
    driver_select: u32,
    queue_select: u16,
    queues: Vec<QueueState>,
    notifier: Arc<Notifier>,
}

impl Common {
    /// That of a device that offers `features` and has queues of at most `sizes`.
    pub fn new(features: u64, sizes: &[u16], notifier: Arc<Notifier>) -> Self {
        let mut common = Self {
            offered: features,
            taken: 0,
            device_select: 0,
            driver_select: 0,
            queue_select: 0,
            queues: sizes
                .iter()
                .map(|max| QueueState {
                    max: *max,
                    ..QueueState::default()
                })
                .collect(),
            notifier,
        };
        common.reset();
        common
    }

    /// As after reset.
    pub fn reset(&mut self) {
        self.taken = 0;
        (self.device_select, self.driver_select, self.queue_select) = (0, 0, 0);
        for queue in &mut self.queues {
            queue.enabled = false;
            queue.setup = Setup {
                size: queue.max,
                ..Setup::default()
            };
        }
        self.notifier.reset();
    }

    /// Features that the driver took.
    pub fn features(&self) -> u64 {
        self.taken
    }

    /// Queues that the driver enabled.
    pub fn queues(&self) -> impl Iterator<Item = (u16, Setup)> {
        let setup = |queue: &QueueState| Setup {
            event_idx: self.taken & feature::EVENT_IDX != 0,
            indirect: self.taken & feature::INDIRECT_DESC != 0,
            ..queue.setup
        };
        (0..)
            .zip(&self.queues)
            .filter(|(_, queue)| queue.enabled)
            .map(move |(index, queue)| (index, setup(queue)))
    }

    /// The guest reads.
    pub fn read(&self, offset: usize, data: &mut [u8]) {
        let image = self.image();
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = image.get(at).copied().unwrap_or(0);
        }
    }

    fn image(&self) -> [u8; SIZE] {
        let mut image = [0; SIZE];
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = image.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(DEVICE_FEATURE_SELECT, &self.device_select.to_le_bytes());
        put(
            DEVICE_FEATURE,
            &half(self.offered, self.device_select).to_le_bytes(),
        );
        put(DRIVER_FEATURE_SELECT, &self.driver_select.to_le_bytes());
        put(
            DRIVER_FEATURE,
            &half(self.taken, self.driver_select).to_le_bytes(),
        );
        put(CONFIG_VECTOR, &self.notifier.config_vector().to_le_bytes());
        let count = u16::try_from(self.queues.len()).unwrap_or(u16::MAX);
        put(NUM_QUEUES, &count.to_le_bytes());
        put(STATUS, &[self.notifier.status()]);
        put(CONFIG_GENERATION, &[self.notifier.generation()]);
        put(QUEUE_SELECT, &self.queue_select.to_le_bytes());
        put(
            QUEUE_VECTOR,
            &self.notifier.queue_vector(self.queue_select).to_le_bytes(),
        );
        // A queue that does not exist has size 0.
        if let Some(queue) = self.queues.get(usize::from(self.queue_select)) {
            put(QUEUE_SIZE, &queue.setup.size.to_le_bytes());
            put(QUEUE_ENABLE, &u16::from(queue.enabled).to_le_bytes());
            put(QUEUE_NOTIFY_OFFSET, &self.queue_select.to_le_bytes());
            put(QUEUE_DESCRIPTORS, &queue.setup.descriptors.to_le_bytes());
            put(QUEUE_AVAILABLE, &queue.setup.available.to_le_bytes());
            put(QUEUE_USED, &queue.setup.used.to_le_bytes());
        }
        image
    }

    /// The guest writes a field: of its width, or a half of a 64-bit one.
    pub fn write(&mut self, offset: usize, data: &[u8]) -> Demand {
        match *data {
            [value] if offset == STATUS => return self.write_status(value),
            [a, b] => self.write_16(offset, u16::from_le_bytes([a, b])),
            [a, b, c, d] => self.write_32(offset, u32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => {
                if matches!(offset, QUEUE_DESCRIPTORS | QUEUE_AVAILABLE | QUEUE_USED) {
                    self.write_32(offset, u32::from_le_bytes([a, b, c, d]));
                    self.write_32(offset + HIGH, u32::from_le_bytes([e, f, g, h]));
                }
            }
            _ => {}
        }
        Demand::Nothing
    }

    fn write_16(&mut self, offset: usize, value: u16) {
        match offset {
            CONFIG_VECTOR => self.notifier.set_config_vector(value),
            QUEUE_SELECT => self.queue_select = value,
            QUEUE_VECTOR => self.notifier.set_queue_vector(self.queue_select, value),
            QUEUE_SIZE => {
                if let Some(queue) = self.queue_to_set_up().filter(|queue| value <= queue.max) {
                    queue.setup.size = value;
                }
            }
            // A queue is disabled by reset alone.
            QUEUE_ENABLE if value == 1 => {
                if let Some(queue) = self.queue_to_set_up() {
                    queue.enabled = true;
                }
            }
            _ => {}
        }
    }

    fn write_32(&mut self, offset: usize, value: u32) {
        match offset {
            DEVICE_FEATURE_SELECT => self.device_select = value,
            DRIVER_FEATURE_SELECT => self.driver_select = value,
            DRIVER_FEATURE => {
                if self.notifier.status() & status::FEATURES_OK == 0 {
                    match self.driver_select {
                        0 => set_low(&mut self.taken, value),
                        1 => set_high(&mut self.taken, value),
                        _ => {}
                    }
                }
            }
            _ => {
                let field = offset & !HIGH;
                let Some(queue) = self.queue_to_set_up() else {
                    return;
                };
                let address = match field {
                    QUEUE_DESCRIPTORS => &mut queue.setup.descriptors,
                    QUEUE_AVAILABLE => &mut queue.setup.available,
                    QUEUE_USED => &mut queue.setup.used,
                    _ => return,
                };
                if offset == field {
                    set_low(address, value);
                } else {
                    set_high(address, value);
                }
            }
        }
    }

    /// The selected queue, while the driver may change it.
    fn queue_to_set_up(&mut self) -> Option<&mut QueueState> {
        let settled = self.notifier.status() & status::DRIVER_OK != 0;
        self.queues
            .get_mut(usize::from(self.queue_select))
            .filter(|queue| !queue.enabled && !settled)
    }

    fn write_status(&mut self, value: u8) -> Demand {
        if value == 0 {
            return Demand::Reset;
        }
        let before = self.notifier.status();
        let mut new = value & !before & !status::NEEDS_RESET;
        if new & status::FEATURES_OK != 0 && !self.features_are_fine() {
            // The driver reads the status back, and gives up.
            new &= !status::FEATURES_OK;
        }
        let settled = (before | new) & status::FEATURES_OK != 0;
        if new & status::DRIVER_OK != 0 && !settled {
            new &= !status::DRIVER_OK;
        }
        self.notifier.add_status(new);
        if new & status::DRIVER_OK != 0 {
            Demand::Activate
        } else {
            Demand::Nothing
        }
    }

    fn features_are_fine(&self) -> bool {
        self.taken & !self.offered == 0 && self.taken & feature::VERSION_1 != 0
    }
}

/// The selected half of a feature word; there are two.
fn half(features: u64, select: u32) -> u32 {
    let [a, b, c, d, e, f, g, h] = features.to_le_bytes();
    match select {
        0 => u32::from_le_bytes([a, b, c, d]),
        1 => u32::from_le_bytes([e, f, g, h]),
        _ => 0,
    }
}

fn set_low(word: &mut u64, value: u32) {
    *word = (*word & !0xffff_ffff) | u64::from(value);
}

fn set_high(word: &mut u64, value: u32) {
    *word = (*word & 0xffff_ffff) | u64::from(value) << 32;
}
