//! virtio devices (virtio 1.3), modern only, as PCI functions.
//!
//! ```text
//! vCPU ──config, BAR──> [`transport::VirtioPci`] ──activate──> [`VirtioDevice`] ──> [`Running`] (its threads)
//!      ──doorbell─────────── eventfd (ioeventfd) ─────────────────────────────────────^
//!      <──interrupt── [`pci::msix`](crate::pci::msix) <── [`Notifier`] <───────────────'
//! ```
//!
//! A device is two things. What the guest may look at without a driver (kind, features, configuration) is a
//! [`VirtioDevice`]; what works on queues exists from `DRIVER_OK` to the next reset and is a [`Running`], which the device
//! makes and the transport owns:
//!
//! ```text
//!                 activate (DRIVER_OK)
//! VirtioDevice ───────────────────────────> Running ──pause──> paused
//!      ^                                       │   <──resume──   │
//!      '───────────── drop (reset, end) ───────┴─────────────────'
//! ```
//!
//! So no device can forget its reset: it is the drop of `Running`, after which nothing touches guest memory any more.
//! The compiler asks for the rest. What is known only to a driver (queues, negotiated features) is nowhere else.

pub mod balloon;
pub mod blk;
pub mod console;
pub mod counter;
pub mod histogram;
pub mod mem;
pub mod net;
pub mod notifier;
pub mod pair_times;
pub mod polling;
pub mod queue;
pub mod rng;
pub mod transport;
pub mod vsock;
pub mod worker;

use std::io;
use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

pub use notifier::Notifier;
use queue::Queue;

/// Feature bits that every device has (§6).
pub mod feature {
    /// Indirect descriptors (§2.7.5.3).
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Event indices (§2.7.7, §2.7.10).
    pub const EVENT_IDX: u64 = 1 << 29;
    /// This specification.
    pub const VERSION_1: u64 = 1 << 32;
    /// What the transport offers for every device.
    pub const TRANSPORT: u64 = INDIRECT_DESC | EVENT_IDX | VERSION_1;
}

/// Kinds of devices (§5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Network device (§5.1).
    Network,
    /// Block device (§5.2).
    Block,
    /// Console device (§5.3).
    Console,
    /// Entropy device (§5.4).
    Entropy,
    /// Memory balloon device (§5.5).
    Balloon,
    /// Socket device (§5.10).
    Socket,
    /// Memory device (§5.15).
    Memory,
}

impl Kind {
    /// Device id.
    pub const fn id(self) -> u16 {
        match self {
            Self::Network => 1,
            Self::Block => 2,
            Self::Console => 3,
            Self::Entropy => 4,
            Self::Balloon => 5,
            Self::Socket => 19,
            Self::Memory => 24,
        }
    }

    /// PCI class code.
    pub const fn class(self) -> u32 {
        match self {
            Self::Network => 0x02_0000,
            Self::Block => 0x01_8000,
            Self::Entropy | Self::Balloon | Self::Memory => 0xff_0000,
            Self::Console | Self::Socket => 0x07_8000,
        }
    }
}

/// How a device hears of new buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doorbells {
    /// By [`Running::notify`] on the vCPU's thread: for what takes no longer than an exit, and needs no thread then.
    Inline,
    /// By eventfds that KVM signals without leaving the kernel; see [`ActiveQueue::doorbell`].
    Events,
}

/// What a device is before a driver drives it.
pub trait VirtioDevice: Send {
    /// Its kind.
    fn kind(&self) -> Kind;
    /// Features of its own that it offers; the transport adds [`feature::TRANSPORT`].
    fn features(&self) -> u64;
    /// Largest size of each queue, a power of two.
    fn queues(&self) -> Vec<u16>;
    /// How it hears of new buffers.
    fn doorbells(&self) -> Doorbells;
    /// Its configuration space. Where it changes, or has fields for the driver to write, only its length counts; see
    /// [`VirtioDevice::read_config`].
    fn config(&self) -> &[u8];
    /// The driver reads its configuration space from `offset` on. A device whose configuration changes says so by
    /// [`Notifier::config_changed`].
    fn read_config(&self, offset: usize, data: &mut [u8]) {
        for (byte, at) in data.iter_mut().zip(offset..) {
            *byte = self.config().get(at).copied().unwrap_or(0);
        }
    }
    /// The driver writes to its configuration space.
    fn write_config(&self, _offset: usize, _data: &[u8]) {}
    /// Begins to work. `features` are those that the driver took.
    ///
    /// # Errors
    /// Where the kernel has no thread or descriptor left; the driver is told that the device needs a reset.
    fn activate(&mut self, features: u64, queues: Vec<ActiveQueue>) -> io::Result<Box<dyn Running>>;
}

/// A device at work. Dropping it is its reset: it returns when nothing is in flight any more.
pub trait Running: Send {
    /// The driver has offered buffers in `queue`. Called on vCPU threads; with [`Doorbells::Inline`] only.
    fn notify(&mut self, queue: u16);
    /// Stops working; returns when nothing is in flight any more. vCPUs are stopped already.
    fn pause(&mut self);
    /// Goes on, with what was offered in the meantime.
    fn resume(&mut self);
}

/// A queue that the driver enabled, for a device to work on.
pub struct ActiveQueue {
    /// Its number.
    pub index: u16,
    /// The ring.
    pub ring: Queue,
    /// Becomes readable when the driver has offered buffers. With [`Doorbells::Events`] only.
    pub doorbell: Option<Arc<EventFd>>,
    /// Interrupts the driver.
    pub notifier: Arc<Notifier>,
}

impl ActiveQueue {
    /// Shows the driver what was completed, and interrupts it if it wants that.
    pub fn publish(&mut self) {
        if self.ring.publish() {
            self.notifier.used(self.index);
        }
    }
}
