//! Mapping, filling in and clearing of guest memory: the system calls.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use axion_api::vm::HugepageSize;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise};
use vm_memory::mmap::MmapRegionError;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion, MmapRegion};

use super::GuestMemory;

/// Unit of work when filling in: large enough to amortize a system call, small enough to spread over CPUs.
const CHUNK: usize = 256 << 20;
/// Most threads that fill in.
const WORKERS: usize = 16;

/// A range of guest memory: guest address, host address, bytes.
type Chunk = (u64, usize, usize);

/// Maps `size` bytes of private anonymous memory.
pub fn map(size: u64, hugepages: HugepageSize) -> io::Result<MmapRegion> {
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
        // A crash of the VMM must not write the guest's secrets to a core file.
        // SAFETY: the range was mapped above; the advice does not change its contents.
        unsafe { madvise(address, size, MmapAdvise::MADV_DONTDUMP) }?;
    }
    Ok(region)
}

/// Makes every page present and writable.
pub fn populate(memory: &GuestMemory) -> Result<(), (u64, nix::Error)> {
    let chunks = chunks(memory);
    let workers = thread::available_parallelism()
        .map_or(1, NonZeroUsize::get)
        .min(WORKERS)
        .min(chunks.len());
    let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(errno) = advise(*chunk, MmapAdvise::MADV_POPULATE_WRITE) {
                        next.store(chunks.len(), Ordering::Relaxed);
                        if let Ok(mut slot) = failure.lock() {
                            *slot = Some((chunk.0, errno));
                        }
                    }
                }
            });
        }
    });
    failure.into_inner().ok().flatten().map_or(Ok(()), Err)
}

/// Sets every byte to zero.
pub fn clear(memory: &GuestMemory, hugepages: HugepageSize) -> Result<(), (u64, nix::Error)> {
    for chunk in chunks(memory) {
        if hugepages == HugepageSize::None {
            // Private anonymous pages read as zero after they were given back.
            advise(chunk, MmapAdvise::MADV_DONTNEED).map_err(|errno| (chunk.0, errno))?;
        } else {
            // Giving hugepages back could lose them to another process.
            zero(memory, chunk).map_err(|errno| (chunk.0, errno))?;
        }
    }
    Ok(())
}

fn zero(memory: &GuestMemory, (start, _, size): Chunk) -> Result<(), nix::Error> {
    static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
    for offset in (0..size).step_by(ZEROS.len()) {
        let count = ZEROS.len().min(size - offset);
        let zeros = ZEROS.get(..count).unwrap_or_default();
        memory
            .write_slice(zeros, GuestAddress(start + offset as u64))
            .map_err(|_| nix::Error::EFAULT)?;
    }
    Ok(())
}

fn chunks(memory: &GuestMemory) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for region in memory.iter() {
        let Ok(host) = memory.get_host_address(region.start_addr()) else {
            continue;
        };
        let size = usize::try_from(region.len()).unwrap_or(usize::MAX);
        for offset in (0..size).step_by(CHUNK) {
            let start = region.start_addr().0 + offset as u64;
            chunks.push((start, host.addr() + offset, CHUNK.min(size - offset)));
        }
    }
    chunks
}

fn advise((_, host, size): Chunk, advice: MmapAdvise) -> Result<(), nix::Error> {
    let Some(address) = NonNull::new(std::ptr::with_exposed_provenance_mut::<c_void>(host)) else {
        return Err(nix::Error::EINVAL);
    };
    // SAFETY: the range lies in a mapping that `memory` keeps alive, and that Rust sees through volatile access only;
    // either advice leaves it mapped.
    unsafe { madvise(address, size, advice) }
}
