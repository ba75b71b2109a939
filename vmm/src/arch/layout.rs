//! The guest-physical address map.
//!
//! ```text
//! 0x0000_0500  GDT of the 64-bit entry
//! 0x0000_6000  PVH start info, module list, memory map
//! 0x0000_7000  Linux zero page
//! 0x0000_9000  page tables of the 64-bit entry (PML4, PDPT, four PDs)
//! 0x0002_0000  kernel command line
//! 0x000a_0000  (no VGA)
//! 0x000e_0000  ACPI tables, RSDP first
//! 0x0010_0000  RAM: kernel from its own address, initrd at the top
//! 0xc000_0000  MMIO gap: window for 32-bit PCI BARs
//! 0xe000_0000  PCI configuration space (ECAM), 1 MiB a bus
//! 0xfec0_0000  I/O APIC
//! 0xfee0_0000  local APICs
//! 0xfffb_c000  KVM's identity map and TSS (Intel without unrestricted guest)
//! 4 GiB        the rest of the RAM
//! above RAM    memory that virtio-mem may give the guest; below the gap where all of it fits there
//! above it     window for 64-bit PCI BARs, up to what the CPU can address
//! ```
//!
//! I/O ports: COM1 at 0x3f8, ACPI power registers at 0x600, the keyboard controller's reset line at 0x64.

use std::ops::Range;

/// GDT of the 64-bit boot protocol.
pub const GDT: u64 = 0x500;
/// `hvm_start_info` of the PVH boot protocol.
pub const PVH_INFO: u64 = 0x6000;
/// Module list of the PVH boot protocol.
pub const PVH_MODULES: u64 = 0x6040;
/// Memory map of the PVH boot protocol.
pub const PVH_MEMORY_MAP: u64 = 0x6100;
/// `boot_params` of the Linux boot protocol.
pub const ZERO_PAGE: u64 = 0x7000;
/// First of the six page-table pages of the 64-bit boot protocol.
pub const PAGE_TABLES: u64 = 0x9000;
/// Kernel command line, NUL-terminated.
pub const CMDLINE: u64 = 0x2_0000;
/// Longest command line, bytes without its NUL (`COMMAND_LINE_SIZE` of x86 Linux).
pub const CMDLINE_MAX: usize = 2047;
/// ACPI tables.
pub const ACPI: Range<u64> = 0xe_0000..0x10_0000;
/// End of conventional memory.
pub const LOW_MEMORY_END: u64 = 0xa_0000;
/// Where RAM above the legacy area begins.
pub const HIGH_MEMORY: u64 = 0x10_0000;
/// The hole below 4 GiB that holds no RAM.
pub const MMIO_GAP: Range<u64> = 0xc000_0000..FOUR_GIB;
/// Window for 32-bit PCI BARs.
pub const PCI_WINDOW_32: Range<u64> = 0xc000_0000..0xe000_0000;
/// PCI configuration space of segment 0.
pub const ECAM: u64 = 0xe000_0000;
/// Buses in [`ECAM`].
pub const PCI_BUSES: u64 = 1;
/// Bytes of configuration space that one bus takes (PCI Express base specification §7.2.2).
pub const ECAM_BUS_SIZE: u64 = 1 << 20;
/// I/O APIC registers.
pub const IOAPIC: u64 = 0xfec0_0000;
/// Bytes of I/O APIC registers.
pub const IOAPIC_SIZE: u64 = 0x100;
/// Local APIC registers.
pub const LAPIC: u32 = 0xfee0_0000;
/// One page for KVM's identity map.
pub const KVM_IDENTITY_MAP: u64 = 0xfffb_c000;
/// Three pages for KVM's TSS.
pub const KVM_TSS: usize = 0xfffb_d000;
/// 4 GiB.
pub const FOUR_GIB: u64 = 1 << 32;

/// COM1's ports.
pub const COM1: u16 = 0x3f8;
/// Number of COM1's ports.
pub const COM1_SIZE: u16 = 8;
/// COM1's interrupt pin.
pub const COM1_GSI: u32 = 4;
/// ACPI power registers; see `devices::power`.
pub const POWER: u16 = 0x600;
/// Number of ACPI power registers.
pub const POWER_SIZE: u16 = 4;
/// Interrupt pin of the ACPI Generic Event Device.
pub const GED_GSI: u32 = 5;
/// Command port of the keyboard controller, whose command 0xfe resets the machine.
pub const KEYBOARD_COMMAND: u16 = 0x64;

/// Where memory that comes and goes begins: at a multiple of this, below the gap and above 4 GiB. Guests take in memory by
/// pieces of up to 2 GiB (Linux: `memory_block_size_bytes`), the less the less RAM they have, each wholly or not at all.
const HOT_ALIGN: (u64, u64) = (1 << 30, 2 << 30);
/// Most vCPUs for which the ACPI tables fit in [`ACPI`].
pub const MAX_CPUS: u32 = 1024;
/// Least guest memory, bytes.
pub const MIN_MEMORY: u64 = 32 << 20;

/// Where a guest's RAM and its 64-bit PCI window lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// RAM from address 0.
    pub low: Range<u64>,
    /// RAM from 4 GiB, where not all fits below the gap.
    pub high: Option<Range<u64>>,
    /// Memory that the guest may get while it runs; no RAM before.
    pub hot: Option<Range<u64>>,
    /// Window for 64-bit PCI BARs.
    pub pci_window_64: Range<u64>,
}

/// Memory that the guest's CPU cannot address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("memory: {size} bytes need guest addresses up to {end:#x}; this CPU has {bits} address bits")]
pub struct TooMuchMemory {
    size: u64,
    end: u64,
    bits: u8,
}

/// Where `more` bytes that may come lie, with RAM up to `low` and, from 4 GiB, up to `high`. Below the gap where they fit:
/// a guest that may get memory above 4 GiB sets 64 MiB apart for devices that cannot reach it (Linux: swiotlb).
fn hot(low: u64, high: u64, more: u64) -> Option<Range<u64>> {
    if more == 0 {
        return None;
    }
    let start = low.next_multiple_of(HOT_ALIGN.0);
    if start.saturating_add(more) <= MMIO_GAP.start {
        return Some(start..start + more);
    }
    let start = high.checked_next_multiple_of(HOT_ALIGN.1).unwrap_or(u64::MAX);
    Some(start..start.saturating_add(more))
}

impl Layout {
    /// The layout of `size` bytes of RAM, and `more` that the guest may get, on a CPU with `address_bits` physical address bits
    /// (32 to 52).
    ///
    /// # Errors
    /// [`TooMuchMemory`] where memory would end beyond what the CPU can address.
    pub fn new(size: u64, more: u64, address_bits: u8) -> Result<Self, TooMuchMemory> {
        let limit = 1u64.checked_shl(address_bits.into()).unwrap_or(u64::MAX);
        let low = 0..size.min(MMIO_GAP.start);
        let above = size - low.end;
        let ram = FOUR_GIB.saturating_add(above);
        let hot = hot(low.end, ram, more);
        let end = ram.max(hot.as_ref().map_or(0, |hot| hot.end));
        if end > limit {
            return Err(TooMuchMemory {
                size: size.saturating_add(more),
                end,
                bits: address_bits,
            });
        }
        let high = (above > 0).then_some(FOUR_GIB..ram);
        let window = end.next_multiple_of(1 << 30).min(limit)..limit;
        Ok(Self {
            low,
            high,
            hot,
            pci_window_64: window,
        })
    }

    /// RAM in ascending order.
    pub fn ram(&self) -> impl Iterator<Item = Range<u64>> {
        std::iter::once(self.low.clone()).chain(self.high.clone())
    }

    /// The memory map that the guest is told, in ascending order.
    pub fn memory_map(&self) -> Vec<MapEntry> {
        let entry = |range: Range<u64>, kind| MapEntry { range, kind };
        let ecam = ECAM..ECAM + PCI_BUSES * ECAM_BUS_SIZE;
        let mut map = vec![
            entry(0..LOW_MEMORY_END, MapKind::Ram),
            entry(ACPI, MapKind::AcpiTables),
            entry(HIGH_MEMORY..self.low.end, MapKind::Ram),
            entry(ecam, MapKind::Reserved),
        ];
        map.extend(self.high.clone().map(|range| entry(range, MapKind::Ram)));
        map
    }
}

/// One entry of the memory map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapEntry {
    /// Addresses.
    pub range: Range<u64>,
    /// What is there.
    pub kind: MapKind,
}

impl MapEntry {
    /// Bytes.
    pub fn size(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// Types of the memory map (ACPI §15, address range types).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum MapKind {
    /// Usable RAM.
    Ram = 1,
    /// Not to be used.
    Reserved = 2,
    /// RAM that holds ACPI tables.
    AcpiTables = 3,
}

#[cfg(test)]
mod tests;
