//! ELF kernels with a PVH note.

use std::fs::File;
use std::path::Path;

use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::KernelLoader;
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use linux_loader::loader::elf::{Elf, PvhBootCapability};
use vm_memory::GuestAddress;

use super::{BootError, Initrd};
use crate::acpi::Tables;
use crate::arch::layout::{self, Layout, MapEntry};
use crate::memory::GuestMemory;

const MAGIC: u32 = 0x336e_c578;
/// With memory map and RSDP.
const VERSION: u32 = 1;

/// A kernel in guest memory.
#[derive(Debug, Clone, Copy)]
pub struct Kernel {
    /// Where it is entered.
    pub entry: u64,
    /// First address after it.
    pub end: u64,
}

/// Loads the segments of an ELF kernel where it wants them.
pub fn load(memory: &GuestMemory, path: &Path, file: &mut File) -> Result<Kernel, BootError> {
    let refused = |reason: String| BootError::Kernel {
        path: path.to_owned(),
        reason,
    };
    let loaded = Elf::load(memory, None, file, Some(GuestAddress(layout::HIGH_MEMORY)))
        .map_err(|error| refused(error.to_string()))?;
    match loaded.pvh_boot_cap {
        PvhBootCapability::PvhEntryPresent(entry) if entry.0 >= layout::HIGH_MEMORY => Ok(Kernel {
            entry: entry.0,
            end: loaded.kernel_end,
        }),
        PvhBootCapability::PvhEntryPresent(entry) => {
            Err(refused(format!("its PVH entry {:#x} lies below 1 MiB", entry.0)))
        }
        _ => Err(refused("this ELF has no PVH note".to_owned())),
    }
}

/// Tells the kernel what it was booted with.
pub fn configure(
    memory: &GuestMemory,
    layout: &Layout,
    acpi: &Tables,
    initrd: Option<Initrd>,
) -> Result<(), BootError> {
    let map: Vec<_> = layout.memory_map().iter().map(map_entry).collect();
    let modules: Vec<_> = initrd
        .map(|initrd| hvm_modlist_entry {
            paddr: initrd.address,
            size: initrd.size,
            ..Default::default()
        })
        .into_iter()
        .collect();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let info = hvm_start_info {
        magic: MAGIC,
        version: VERSION,
        nr_modules: count(modules.len()),
        modlist_paddr: if modules.is_empty() {
            0
        } else {
            layout::PVH_MODULES
        },
        cmdline_paddr: layout::CMDLINE,
        rsdp_paddr: acpi.rsdp(),
        memmap_paddr: layout::PVH_MEMORY_MAP,
        memmap_entries: count(map.len()),
        ..Default::default()
    };
    let mut params = BootParams::new(&info, GuestAddress(layout::PVH_INFO));
    params.set_sections(&map, GuestAddress(layout::PVH_MEMORY_MAP));
    params.set_modules(&modules, GuestAddress(layout::PVH_MODULES));
    PvhBootConfigurator::write_bootparams(&params, memory).map_err(|error| BootError::Write {
        what: "the PVH start info",
        source: error.into(),
    })
}

fn map_entry(entry: &MapEntry) -> hvm_memmap_table_entry {
    hvm_memmap_table_entry {
        addr: entry.range.start,
        size: entry.size(),
        type_: entry.kind as u32,
        reserved: 0,
    }
}
