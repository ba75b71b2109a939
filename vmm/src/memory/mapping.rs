//! Mapping, filling in and clearing of guest memory: the system calls.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::ptr::NonNull;

use axion_api::vm::HugepageSize;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise};
use vm_memory::MmapRegion;
use vm_memory::mmap::MmapRegionError;

use super::policy;

/// A piece of a mapping of guest memory; the one who made it keeps the mapping.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    /// Guest address.
    pub guest: u64,
    /// Host address.
    pub host: usize,
    /// Bytes.
    pub size: usize,
}

/// Maps `size` bytes of private anonymous memory, bound to a host `node` if one is given.
///
/// Hugepages are reserved by it: `MAP_NORESERVE` would turn a pool that is empty later into a SIGBUS.
pub fn map(size: u64, hugepages: HugepageSize, node: Option<u32>) -> io::Result<MmapRegion> {
    let kind = match hugepages {
        HugepageSize::None => MapFlags::MAP_NORESERVE,
        HugepageSize::TwoMiB => MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB,
        HugepageSize::OneGiB => MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_1GB,
    };
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS | kind;
    let prot = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    let size = usize::try_from(size).map_err(io::Error::other)?;
    let region = MmapRegion::build(None, size, prot.bits(), flags.bits()).map_err(|error| match error {
        MmapRegionError::Mmap(source) => source,
        other => io::Error::other(other),
    })?;
    if let Some(address) = NonNull::new(region.as_ptr().cast::<c_void>()) {
        if let Some(node) = node {
            policy::bind(address.as_ptr(), size, node)?;
        }
        // A crash of the VMM must not write the guest's secrets to a core file.
        // SAFETY: the range was mapped above; the advice does not change its contents.
        unsafe { madvise(address, size, MmapAdvise::MADV_DONTDUMP) }?;
        if hugepages == HugepageSize::None {
            // Where the host has large pages to spare, filling them in takes one fault instead of 512 and the guest's page walks
            // are shorter. A kernel without them refuses the advice, and an unaligned end stays small.
            // SAFETY: as above.
            let _ = unsafe { madvise(address, size, MmapAdvise::MADV_HUGEPAGE) };
        }
    }
    Ok(region)
}

/// Makes every page present and writable. A page that cannot be had is an error, not a signal.
pub fn populate(piece: Piece) -> Result<(), nix::Error> {
    advise(piece, MmapAdvise::MADV_POPULATE_WRITE)
}

/// Gives ordinary pages back; private anonymous ones read as zero from then on.
pub fn release(piece: Piece) -> Result<(), nix::Error> {
    advise(piece, MmapAdvise::MADV_DONTNEED)
}

/// Sets every byte to zero and keeps the pages: hugepages that are given back may be lost to another process.
pub fn zero(piece: Piece) -> Result<(), nix::Error> {
    let address = pointer(piece)?;
    // SAFETY: the piece lies in a mapping that its owner keeps, that is writable, and that nobody else looks at while it is
    // cleared; Rust sees it through volatile access only.
    unsafe { address.cast::<u8>().write_bytes(0, piece.size) };
    Ok(())
}

fn pointer(piece: Piece) -> Result<NonNull<c_void>, nix::Error> {
    NonNull::new(std::ptr::with_exposed_provenance_mut::<c_void>(piece.host)).ok_or(nix::Error::EINVAL)
}

fn advise(piece: Piece, advice: MmapAdvise) -> Result<(), nix::Error> {
    let address = pointer(piece)?;
    // SAFETY: the range lies in a mapping that its owner keeps, and that Rust sees through volatile access only; any of the
    // advices leaves it mapped.
    unsafe { madvise(address, piece.size, advice) }
}
