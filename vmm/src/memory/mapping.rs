//! Mapping, filling in and clearing of guest memory: the system calls.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use axion_api::vm::HugepageSize;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{
    MRemapFlags, MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mremap, munmap,
};
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

/// Guest memory is read and written.
const PROT: ProtFlags = ProtFlags::PROT_READ.union(ProtFlags::PROT_WRITE);

/// Flags of a mapping of guest memory.
///
/// Hugepages are reserved by it: `MAP_NORESERVE` would turn a pool that is empty later into a SIGBUS.
fn flags(hugepages: HugepageSize) -> MapFlags {
    let kind = match hugepages {
        HugepageSize::None => MapFlags::MAP_NORESERVE,
        HugepageSize::TwoMiB => MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB,
        HugepageSize::OneGiB => MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_1GB,
    };
    MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS | kind
}

/// Maps `size` bytes of private anonymous memory, bound to a host `node` if one is given.
pub fn map(size: u64, hugepages: HugepageSize, node: Option<u32>) -> io::Result<MmapRegion> {
    let flags = flags(hugepages);
    let size = usize::try_from(size).map_err(io::Error::other)?;
    let region = MmapRegion::build(None, size, PROT.bits(), flags.bits()).map_err(|error| match error {
        MmapRegionError::Mmap(source) => source,
        other => io::Error::other(other),
    })?;
    if let Some(address) = NonNull::new(region.as_ptr().cast::<c_void>()) {
        prepare(address, size, hugepages, node)?;
    }
    Ok(region)
}

/// Tells the kernel what a new mapping is for; none of its pages is there yet.
fn prepare(
    address: NonNull<c_void>,
    size: usize,
    hugepages: HugepageSize,
    node: Option<u32>,
) -> io::Result<()> {
    if let Some(node) = node {
        policy::bind(address.as_ptr(), size, node)?;
    }
    // A crash of the VMM must not write the guest's secrets to a core file.
    // SAFETY: the caller has just mapped the range; the advice does not change its contents.
    unsafe { madvise(address, size, MmapAdvise::MADV_DONTDUMP) }?;
    if hugepages == HugepageSize::None {
        // Where the host has large pages to spare, filling them in takes one fault instead of 512 and the guest's page walks
        // are shorter. A kernel without them refuses the advice, and an unaligned end stays small.
        // SAFETY: as above.
        let _ = unsafe { madvise(address, size, MmapAdvise::MADV_HUGEPAGE) };
    }
    Ok(())
}

/// What is behind a range of memory that comes and goes.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Pages.
    pub hugepages: HugepageSize,
    /// Host node to which they are bound.
    pub node: Option<u32>,
    /// They are filled in at once.
    pub filled: bool,
}

/// A file of `size` bytes of memory.
pub fn scratch(size: u64) -> io::Result<File> {
    let file = File::from(memfd_create(c"guest-scratch", MFdFlags::MFD_CLOEXEC)?);
    file.set_len(size)?;
    Ok(file)
}

/// Takes `size` bytes of address space, from a multiple of `align` on, a power of two; nothing can be reached there yet. It is
/// never given back: guest memory that lies there is as old as its process.
pub fn reserve(size: usize, align: usize) -> io::Result<usize> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let whole = size
        .checked_add(align)
        .and_then(NonZeroUsize::new)
        .ok_or_else(invalid)?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: a new mapping, where the kernel likes.
    let start = unsafe { mmap_anonymous(None, whole, ProtFlags::PROT_NONE, flags) }?;
    let start = start.as_ptr().expose_provenance();
    start.checked_next_multiple_of(align).ok_or_else(invalid)
}

/// The range that [`reserve`] took and [`cover`] has covered, as a part of guest memory.
pub fn region(host: usize, size: usize) -> io::Result<MmapRegion> {
    let address = std::ptr::with_exposed_provenance_mut(host);
    // SAFETY: something readable and writable is mapped everywhere in the range, whatever replaces what, and it is never
    // unmapped.
    unsafe { MmapRegion::build_raw(address, size, PROT.bits(), MapFlags::MAP_SHARED.bits()) }
        .map_err(io::Error::other)
}

/// Puts the whole of `file` behind `piece`, a part of what [`reserve`] took.
pub fn cover(piece: Piece, file: &File) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
    let address = NonZeroUsize::new(piece.host).ok_or_else(invalid)?;
    let size = NonZeroUsize::new(piece.size).ok_or_else(invalid)?;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED | MapFlags::MAP_NORESERVE;
    // SAFETY: the range belongs to whoever reserved it, who asks for this; Rust sees it through volatile access only.
    let covered = unsafe { mmap(Some(address), size, PROT, flags, file, 0) }?;
    // SAFETY: mapped just now; the advice does not change its contents.
    unsafe { madvise(covered, piece.size, MmapAdvise::MADV_DONTDUMP) }?;
    Ok(())
}

/// Puts new memory, all zeros, behind `piece`, a part of what [`reserve`] took. Where that fails, what was there may be
/// gone: it has to be covered again.
pub fn replace(piece: Piece, kind: Kind) -> io::Result<()> {
    let size = NonZeroUsize::new(piece.size).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: a new mapping, where the kernel likes.
    let new = unsafe { mmap_anonymous(None, size, PROT, flags(kind.hugepages)) }?;
    let moved = prepare(new, piece.size, kind.hugepages, kind.node).and_then(|()| {
        if kind.filled {
            let new = Piece {
                host: new.as_ptr().expose_provenance(),
                ..piece
            };
            populate(new)?;
        }
        let flags = MRemapFlags::MREMAP_MAYMOVE | MRemapFlags::MREMAP_FIXED;
        let place = pointer(piece)?;
        // SAFETY: the new mapping is known here only. The range that it replaces belongs to whoever reserved it, who asks for
        // this, and Rust sees it through volatile access only.
        unsafe { mremap(new, piece.size, piece.size, flags, Some(place)) }?;
        Ok(())
    });
    if moved.is_err() {
        // SAFETY: it was mapped above, and not moved.
        let _ = unsafe { munmap(new, piece.size) };
    }
    moved
}

/// Frees the memory of the file behind `piece`; it reads as zeros from then on.
pub fn forget(piece: Piece) -> Result<(), nix::Error> {
    advise(piece, MmapAdvise::MADV_REMOVE)
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
