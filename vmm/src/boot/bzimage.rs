//! bzImage kernels, entered in 64-bit mode.

use std::fs::File;
use std::path::Path;

use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::KernelLoader;
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params, setup_header};
use linux_loader::loader::bzimage::BzImage;
use vm_memory::GuestAddress;

use super::{BootError, Initrd, write};
use crate::acpi::Tables;
use crate::arch::layout::{self, Layout};
use crate::arch::registers;
use crate::memory::GuestMemory;

/// First protocol version with `init_size`, 2.10.
const MIN_VERSION: u16 = 0x020a;
/// `xloadflags`: there is a 64-bit entry, 0x200 bytes into the loaded kernel.
const XLF_KERNEL_64: u16 = 1;
/// `loadflags`: the loaded kernel begins at 1 MiB.
const LOADED_HIGH: u8 = 1;
/// Offset of the 64-bit entry in the loaded kernel.
const ENTRY_64: u64 = 0x200;
/// `type_of_loader` of loaders without a number of their own.
const LOADER_UNDEFINED: u8 = 0xff;
/// Present, writable; in a page directory: a page of 2 MiB.
const TABLE: u64 = 0b11;
const LARGE_PAGE: u64 = TABLE | 1 << 7;
const PAGE: u64 = 4096;

/// A kernel in guest memory.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    header: setup_header,
    loaded_at: u64,
}

impl Kernel {
    /// Where it is entered.
    pub fn entry(&self) -> u64 {
        self.loaded_at + ENTRY_64
    }

    /// First address after what it needs before it has its own memory map.
    pub fn end(&self) -> u64 {
        // It moves itself to its preferred address if it was loaded below.
        let start = self.loaded_at.max(self.header.pref_address);
        start.saturating_add(self.header.init_size.into())
    }

    /// First address that its initrd may not reach.
    pub fn initrd_limit(&self) -> u64 {
        u64::from(self.header.initrd_addr_max) + 1
    }
}

/// Loads the protected-mode part of a bzImage at its address.
pub fn load(memory: &GuestMemory, path: &Path, file: &mut File) -> Result<Kernel, BootError> {
    let refused = |reason: String| BootError::Kernel {
        path: path.to_owned(),
        reason,
    };
    let loaded = BzImage::load(memory, None, file, Some(GuestAddress(layout::HIGH_MEMORY)))
        .map_err(|error| refused(error.to_string()))?;
    let Some(header) = loaded.setup_header else {
        return Err(refused("this bzImage has no setup header".to_owned()));
    };
    let (version, flags) = (header.version, header.xloadflags);
    if version < MIN_VERSION {
        return Err(refused(format!(
            "boot protocol {:x}.{:02x} is older than 2.0a",
            version >> 8,
            version & 0xff
        )));
    }
    if flags & XLF_KERNEL_64 == 0 {
        return Err(refused("this bzImage has no 64-bit entry".to_owned()));
    }
    Ok(Kernel {
        header,
        loaded_at: loaded.kernel_load.0,
    })
}

/// Tells the kernel what it was booted with, and sets up paging and segments for its entry.
pub fn configure(
    memory: &GuestMemory,
    layout: &Layout,
    acpi: &Tables,
    kernel: &Kernel,
    initrd: Option<Initrd>,
) -> Result<(), BootError> {
    let low_half = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    let mut params = boot_params {
        hdr: kernel.header,
        acpi_rsdp_addr: acpi.rsdp(),
        ..Default::default()
    };
    params.hdr.type_of_loader = LOADER_UNDEFINED;
    params.hdr.loadflags |= LOADED_HIGH;
    params.hdr.cmd_line_ptr = low_half(layout::CMDLINE);
    if let Some(initrd) = initrd {
        params.hdr.ramdisk_image = low_half(initrd.address);
        params.hdr.ramdisk_size = low_half(initrd.size);
    }
    let map = layout.memory_map();
    params.e820_entries = u8::try_from(map.len()).unwrap_or(u8::MAX);
    for (slot, entry) in params.e820_table.iter_mut().zip(&map) {
        *slot = boot_e820_entry {
            addr: entry.range.start,
            size: entry.size(),
            r#type: entry.kind as u32,
        };
    }
    let params = BootParams::new(&params, GuestAddress(layout::ZERO_PAGE));
    LinuxBootConfigurator::write_bootparams(&params, memory).map_err(|error| BootError::Write {
        what: "the zero page",
        source: error.into(),
    })?;
    write(memory, "the page tables", layout::PAGE_TABLES, &page_tables())?;
    let gdt: Vec<u8> = registers::GDT
        .iter()
        .flat_map(|entry| entry.to_le_bytes())
        .collect();
    write(memory, "the GDT", layout::GDT, &gdt)
}

/// Page tables that map the first 4 GiB to themselves: PML4, PDPT, four PDs.
fn page_tables() -> Vec<u8> {
    const ENTRIES: u64 = 512;
    const DIRECTORIES: u64 = 4;
    let pdpt = layout::PAGE_TABLES + PAGE;
    let directory = |index: u64| pdpt + PAGE + index * PAGE;
    let pml4 = (0..ENTRIES).map(|i| if i == 0 { pdpt | TABLE } else { 0 });
    let pdpt = (0..ENTRIES).map(|i| if i < DIRECTORIES { directory(i) | TABLE } else { 0 });
    let pages = (0..DIRECTORIES * ENTRIES).map(|i| i << 21 | LARGE_PAGE);
    pml4.chain(pdpt).chain(pages).flat_map(u64::to_le_bytes).collect()
}
