//! The host bridge at 00:00.0, with the ids that QEMU's generic PCIe host bridge uses: no driver binds to it.

use super::Function;
use super::registers::{Identity, Registers};

/// The function. It has no register that can be written but its command register, which switches nothing.
pub struct HostBridge {
    registers: Registers,
}

impl Default for HostBridge {
    fn default() -> Self {
        Self {
            registers: Registers::new(Identity {
                vendor: 0x1b36,
                device: 0x0008,
                revision: 0,
                class: 0x06_0000,
                subsystem_vendor: 0,
                subsystem: 0,
            }),
        }
    }
}

impl Function for HostBridge {
    fn read_config(&self, offset: u16, data: &mut [u8]) {
        self.registers.read(offset, data);
    }

    fn write_config(&self, _offset: u16, _data: &[u8]) {}
}
