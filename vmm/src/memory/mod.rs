//! Guest memory.
//!
//! Private anonymous memory in one or two mappings (below and above the MMIO gap), of 4 KiB pages that appear when
//! touched, or of hugetlb pages that are reserved when mapped and filled in before the guest runs: a guest never dies of
//! a page that is not there. It outlives resets, which clear it.

mod hugetlb;
mod mapping;
pub mod window;

use std::io;
use std::path::Path;

use axion_api::vm::HugepageSize;
use axion_api::vmm::MemoryConfig;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap};

use crate::arch::layout::Layout;
pub use hugetlb::NotEnoughHugepages;

/// Guest memory as devices see it.
pub type GuestMemory = GuestMemoryMmap<()>;

/// Guest memory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The pool is too small.
    #[error(transparent)]
    Hugepages(#[from] NotEnoughHugepages),
    /// The kernel refused the mapping.
    #[error("memory.size: cannot map {size} bytes of guest memory")]
    Map {
        /// Bytes wanted.
        size: u64,
        /// Cause.
        source: io::Error,
    },
    /// Pages could not be filled in.
    #[error("memory: cannot fill in guest memory at {address:#x}")]
    Populate {
        /// Guest address.
        address: u64,
        /// Cause.
        source: nix::Error,
    },
    /// Guest memory could not be cleared for a reset.
    #[error("memory: cannot clear guest memory at {address:#x}")]
    Clear {
        /// Guest address.
        address: u64,
        /// Cause.
        source: nix::Error,
    },
}

/// The RAM of a machine.
pub struct Ram {
    memory: GuestMemory,
    hugepages: HugepageSize,
}

/// Bytes of the pages that back guest memory.
pub const fn page_size(hugepages: HugepageSize) -> u64 {
    match hugepages {
        HugepageSize::None => 4 << 10,
        HugepageSize::TwoMiB => 2 << 20,
        HugepageSize::OneGiB => 1 << 30,
    }
}

/// Checks that the pool under `sys` (`/sys`) has the hugepages that `config` needs.
///
/// # Errors
/// [`NotEnoughHugepages`] with what is wanted and what is there.
pub fn check(sys: &Path, config: &MemoryConfig) -> Result<(), NotEnoughHugepages> {
    match config.hugepages {
        HugepageSize::None => Ok(()),
        size => hugetlb::check(sys, page_size(size), config.size),
    }
}

impl Ram {
    /// Maps the RAM of `layout`; hugepages are reserved, nothing is filled in.
    ///
    /// # Errors
    /// [`MemoryError::Map`], or [`MemoryError::Hugepages`] where the pool has shrunk since [`check`].
    pub fn map(layout: &Layout, config: &MemoryConfig) -> Result<Self, MemoryError> {
        let page = page_size(config.hugepages);
        let mut regions = Vec::new();
        for range in layout.ram() {
            let size = range.end - range.start;
            let mapped =
                mapping::map(size, config.hugepages).map_err(|source| MemoryError::Map { size, source });
            let mapped = match mapped {
                Err(error) if config.hugepages != HugepageSize::None => {
                    hugetlb::check(Path::new("/sys"), page, size)?;
                    return Err(error);
                }
                other => other?,
            };
            regions.extend(GuestRegionMmap::new(mapped, GuestAddress(range.start)));
        }
        let memory = GuestMemory::from_regions(regions).map_err(|error| MemoryError::Map {
            size: config.size,
            source: io::Error::other(error),
        })?;
        Ok(Self {
            memory,
            hugepages: config.hugepages,
        })
    }

    /// Fills in hugepages, on several CPUs. Ordinary pages stay to be filled in when touched.
    ///
    /// # Errors
    /// [`MemoryError::Populate`].
    pub fn populate(&self) -> Result<(), MemoryError> {
        match self.hugepages {
            HugepageSize::None => Ok(()),
            _ => mapping::populate(&self.memory)
                .map_err(|(address, source)| MemoryError::Populate { address, source }),
        }
    }

    /// Sets all of it to zero. No vCPU and no device may be running.
    ///
    /// # Errors
    /// [`MemoryError::Clear`].
    pub fn clear(&self) -> Result<(), MemoryError> {
        mapping::clear(&self.memory, self.hugepages)
            .map_err(|(address, source)| MemoryError::Clear { address, source })
    }

    /// The memory.
    pub fn guest(&self) -> &GuestMemory {
        &self.memory
    }
}

#[cfg(test)]
mod tests;
