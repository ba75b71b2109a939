//! Devices, one module (or folder) each.
//!
//! A device lives for one life of the machine: `machine::life` makes it, a reset drops it and makes a new one. It is
//! reached by its registers alone ([`BusDevice`], called on vCPU threads), raises interrupts by an
//! [`InterruptLine`](ioapic::InterruptLine) and asks for the end of its machine by a
//! [`PowerRequest`](power::PowerRequest). It locks itself; no lock is held across a call into another device, except
//! into the I/O APIC, which calls none.
//!
//! virtio devices are PCI functions (see [`crate::pci`]), each a folder in [`virtio`], with a lifecycle of their own. What
//! they raise are MSI-X vectors. `machine::life` pauses and resumes them with the vCPUs.

pub mod bus;
pub mod ioapic;
pub mod keyboard_reset;
pub mod power;
pub mod serial;
pub mod virtio;

/// Registers of a device, on a bus. `offset` counts from the start of the device's range.
pub trait BusDevice: Send + Sync {
    /// The guest reads `data.len()` bytes at `offset`. `data` comes filled with ones.
    fn read(&self, offset: u64, data: &mut [u8]);
    /// The guest writes `data` at `offset`.
    fn write(&self, offset: u64, data: &[u8]);
}
