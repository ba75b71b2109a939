//! Configuration registers of a function: type 0 header (PCI local bus specification 3.0 §6.1) and capability list (§6.7).
//!
//! Every byte has a mask of the bits that the guest writes; all others are fixed. That is all that BAR sizing is: of a BAR
//! of 2ⁿ bytes, the low n bits are fixed.

/// Bytes of conventional configuration space. There are no extended capabilities: what follows reads as zeros.
pub const SIZE: usize = 256;

const VENDOR: usize = 0x00;
const DEVICE: usize = 0x02;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const BAR0: usize = 0x10;
const SUBSYSTEM_VENDOR: usize = 0x2c;
const SUBSYSTEM: usize = 0x2e;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
/// Where capabilities begin.
const FIRST_CAPABILITY: usize = 0x40;

const COMMAND_MEMORY: u16 = 1 << 1;
/// Memory decoding, bus mastering, parity and SERR reporting, INTx off: there are no I/O ports.
const COMMAND_WRITABLE: u16 = 1 << 1 | 1 << 2 | 1 << 6 | 1 << 8 | 1 << 10;
const STATUS_CAPABILITIES: u16 = 1 << 4;
/// Type bits of a memory BAR: 64 bits, not prefetchable.
const BAR_64: u64 = 0b100;
/// Type bits of a memory BAR.
const BAR_TYPE: u64 = 0xf;

/// Who a function is.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Class, subclass and programming interface: 24 bits.
    pub class: u32,
    /// Subsystem vendor id.
    pub subsystem_vendor: u16,
    /// Subsystem id.
    pub subsystem: u16,
}

/// The registers of a function.
pub struct Registers {
    bytes: [u8; SIZE],
    writable: [u8; SIZE],
    /// Where the next capability goes, and where its address is to be written.
    next: usize,
    link: usize,
    /// The address of BAR 0, if it has one.
    bar: Option<u64>,
}

impl Registers {
    /// The registers of a function without BAR and capabilities.
    pub fn new(identity: Identity) -> Self {
        let mut registers = Self {
            bytes: [0; SIZE],
            writable: [0; SIZE],
            next: FIRST_CAPABILITY,
            link: CAPABILITIES,
            bar: None,
        };
        let [interface, subclass, class, _] = identity.class.to_le_bytes();
        registers.put(VENDOR, &identity.vendor.to_le_bytes());
        registers.put(DEVICE, &identity.device.to_le_bytes());
        registers.put(REVISION, &[identity.revision]);
        registers.put(CLASS, &[interface, subclass, class]);
        registers.put(SUBSYSTEM_VENDOR, &identity.subsystem_vendor.to_le_bytes());
        registers.put(SUBSYSTEM, &identity.subsystem.to_le_bytes());
        registers.allow(COMMAND, &COMMAND_WRITABLE.to_le_bytes());
        registers.allow(INTERRUPT_LINE, &[0xff]);
        registers
    }

    /// Gives the function a 64-bit memory BAR 0 of `size` bytes (a power of two, at least 16) at `address`, and switches
    /// memory decoding on, as firmware leaves it.
    pub fn set_bar(&mut self, address: u64, size: u64) {
        self.put(BAR0, &(address | BAR_64).to_le_bytes());
        self.allow(BAR0, &(!(size - 1) & !BAR_TYPE).to_le_bytes());
        self.put(COMMAND, &COMMAND_MEMORY.to_le_bytes());
        self.bar = Some(address);
    }

    /// Appends a capability whose bytes after id and link are `body`, of which the guest writes the bits of `writable`.
    /// Returns its offset.
    pub fn add_capability(&mut self, id: u8, body: &[u8], writable: &[u8]) -> usize {
        let at = self.next;
        self.put(at, &[id, 0]);
        self.put(at + 2, body);
        self.allow(at + 2, writable);
        self.put(self.link, &[u8::try_from(at).unwrap_or(0)]);
        self.put(STATUS, &STATUS_CAPABILITIES.to_le_bytes());
        self.link = at + 1;
        self.next = (at + 2 + body.len()).next_multiple_of(4);
        debug_assert!(self.next <= SIZE, "too many capabilities");
        at
    }

    /// Whether BAR 0 decodes: see [`crate::pci`].
    pub fn decodes(&self) -> bool {
        let programmed = self.u64(BAR0) & !BAR_TYPE;
        self.u16(COMMAND) & COMMAND_MEMORY != 0 && self.bar == Some(programmed)
    }

    /// The guest reads.
    pub fn read(&self, offset: u16, data: &mut [u8]) {
        for (byte, index) in data.iter_mut().zip(usize::from(offset)..) {
            *byte = self.bytes.get(index).copied().unwrap_or(0);
        }
    }

    /// The guest writes.
    pub fn write(&mut self, offset: u16, data: &[u8]) {
        for (value, index) in data.iter().zip(usize::from(offset)..) {
            if let (Some(byte), Some(mask)) = (self.bytes.get_mut(index), self.writable.get(index)) {
                *byte = (*byte & !mask) | (value & mask);
            }
        }
    }

    /// The 16-bit register at `at`.
    pub fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    /// The 32-bit register at `at`.
    pub fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        let bytes = self.bytes.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().unwrap_or([0; N])
    }

    /// Sets bytes, writable or not.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.bytes.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }

    fn allow(&mut self, at: usize, mask: &[u8]) {
        if let Some(place) = self.writable.get_mut(at..at + mask.len()) {
            place.copy_from_slice(mask);
        }
    }
}

#[cfg(test)]
mod tests;
