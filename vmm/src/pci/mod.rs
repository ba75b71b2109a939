//! PCI Express: segment 0, bus 0. All functions are of ours, single, and on the root bus.
//!
//! ```text
//! ECAM access ──> [`ConfigSpace`] ──device number──> [`Function`] ──> [`registers::Registers`]
//! BAR access  ──> memory bus ──────────────────────> the function, by the address that it was given
//! interrupt   ──> [`msix::Msix`] ──table entry─────> [`msix::MsiVector`] (irqfd)
//! ```
//!
//! BARs get their addresses from [`windows::Windows`] before the guest runs, and decode there or nowhere: the register
//! takes what the guest writes (that is how it learns the size), but only the first address, with memory decoding on,
//! reaches the device. Linux keeps what it finds assigned as long as it lies in a window of the host bridge (`_CRS`, see
//! [`crate::acpi`]), so nothing is lost, and the memory bus and KVM's doorbells never change while vCPUs run: their paths
//! need no lock, and no guest can lay one device over another.
//!
//! Interrupts are MSI-X only; no function has an interrupt pin, so that the guest needs no routing tables.

pub mod bridge;
pub mod msix;
pub mod registers;
pub mod windows;

use std::sync::Arc;

use vmm_sys_util::eventfd::EventFd;

use crate::arch::layout;
use crate::devices::BusDevice;
use crate::kvm::KvmError;
use bridge::HostBridge;
use msix::MsiVector;

/// Bytes of configuration space of a function (PCI Express base specification §7.2.2).
const FUNCTION_SIZE: u64 = 4096;
/// Functions of a device, of which ours have the first.
const FUNCTIONS: u64 = 8;
/// Most functions beside the host bridge.
pub const MAX_FUNCTIONS: usize = 31;

/// What functions need of the machine: ways into its interrupt controllers, and out of its vCPUs.
pub trait Wiring {
    /// A new interrupt vector.
    ///
    /// # Errors
    /// [`KvmError`] where there is none left.
    fn vector(&self) -> Result<Box<dyn MsiVector>, KvmError>;

    /// From now on, a guest's write to `address` signals `event`, and does not reach the bus.
    ///
    /// # Errors
    /// [`KvmError`] where it cannot be had.
    fn doorbell(&self, address: u64, event: &EventFd) -> Result<(), KvmError>;
}

/// Configuration space of a function.
pub trait Function: Send + Sync {
    /// The guest reads `data.len()` bytes at `offset` (below 4096).
    fn read_config(&self, offset: u16, data: &mut [u8]);
    /// The guest writes `data` at `offset` (below 4096).
    fn write_config(&self, offset: u16, data: &[u8]);
}

/// More functions than the bus has room for.
#[derive(Debug, thiserror::Error)]
#[error("the PCI bus has room for {MAX_FUNCTIONS} devices; there are {0}")]
pub struct TooManyFunctions(usize);

/// Configuration space of the bus (ECAM). Where nobody is, it reads as ones.
pub struct ConfigSpace {
    /// By device number.
    functions: Vec<Arc<dyn Function>>,
}

impl ConfigSpace {
    /// Bytes of the window.
    pub const SIZE: u64 = layout::PCI_BUSES * layout::ECAM_BUS_SIZE;

    /// The host bridge as device 0, and `functions` from device 1 on.
    ///
    /// # Errors
    /// [`TooManyFunctions`].
    pub fn new(functions: impl IntoIterator<Item = Arc<dyn Function>>) -> Result<Self, TooManyFunctions> {
        let mut all: Vec<Arc<dyn Function>> = vec![Arc::new(HostBridge::default())];
        all.extend(functions);
        let count = all.len() - 1;
        if count > MAX_FUNCTIONS {
            return Err(TooManyFunctions(count));
        }
        Ok(Self { functions: all })
    }

    /// The function that `offset` of the window belongs to, and the offset in its configuration space.
    fn find(&self, offset: u64) -> Option<(&dyn Function, u16)> {
        let (index, register) = (offset / FUNCTION_SIZE, offset % FUNCTION_SIZE);
        if index % FUNCTIONS != 0 {
            return None;
        }
        let device = usize::try_from(index / FUNCTIONS).ok()?;
        let function = self.functions.get(device)?;
        Some((function.as_ref(), u16::try_from(register).ok()?))
    }
}

impl BusDevice for ConfigSpace {
    fn read(&self, offset: u64, data: &mut [u8]) {
        if let Some((function, register)) = self.find(offset) {
            function.read_config(register, data);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        if let Some((function, register)) = self.find(offset) {
            function.write_config(register, data);
        }
    }
}

#[cfg(test)]
mod tests;
