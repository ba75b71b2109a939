//! PCI Express: configuration space of segment 0, bus 0 (ECAM, PCI Express base specification §7.2.2).
//!
//! Today the bus has one function, the host bridge at 00:00.0; all others read as ones, which means that nobody is there.
//! virtio and VFIO functions register here, by device number, with BARs in the windows of [`crate::arch::layout`].

use crate::arch::layout;
use crate::devices::BusDevice;

/// Configuration header of the host bridge (PCI local bus specification 3.0 §6.1), with the ids that QEMU's generic
/// PCIe host bridge uses: no driver binds to it.
const HOST_BRIDGE: [u8; 16] = [
    0x36, 0x1b, // vendor
    0x08, 0x00, // device
    0, 0, 0, 0, // command, status
    0, // revision
    0, 0, 6, // class: bridge, host
    0, 0, 0, 0, // cache line, latency, header type 0, BIST
];
/// Bytes of configuration space of a function.
const FUNCTION_SIZE: u64 = 4096;

/// Configuration space.
pub struct ConfigSpace;

impl ConfigSpace {
    /// Bytes of the window.
    pub const SIZE: u64 = layout::PCI_BUSES * layout::ECAM_BUS_SIZE;
}

impl BusDevice for ConfigSpace {
    fn read(&self, offset: u64, data: &mut [u8]) {
        if offset >= FUNCTION_SIZE {
            return;
        }
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, byte) in data.iter_mut().enumerate() {
            *byte = HOST_BRIDGE.get(start + index).copied().unwrap_or(0);
        }
    }

    /// The bridge has no register that can be written.
    fn write(&self, _offset: u64, _data: &[u8]) {}
}

#[cfg(test)]
mod tests;
