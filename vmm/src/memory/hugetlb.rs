//! What the hugetlb pools have (Documentation/admin-guide/mm/hugetlbpage.rst).

use std::fs;
use std::path::Path;

/// A pool has fewer free pages than are wanted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "memory.hugepages: {wanted} pages of {} are wanted; {available} are free of {total} in the pool",
    page(*page_size)
)]
pub struct NotEnoughHugepages {
    /// Bytes of a page.
    pub page_size: u64,
    /// Pages wanted.
    pub wanted: u64,
    /// Pages that are free and not reserved.
    pub available: u64,
    /// Pages in the pool.
    pub total: u64,
}

fn page(size: u64) -> axion_core::quantity::ByteSize {
    axion_core::quantity::ByteSize(size)
}

/// Checks that the pool of `page_size` has free pages for `size` bytes. `sys` is where sysfs is mounted.
pub fn check(sys: &Path, page_size: u64, size: u64) -> Result<(), NotEnoughHugepages> {
    let pool = sys.join(format!("kernel/mm/hugepages/hugepages-{}kB", page_size >> 10));
    // A size that the CPU or the kernel does not have, has no directory: a pool of no pages.
    let count = |name: &str| -> u64 {
        fs::read_to_string(pool.join(name))
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    };
    let available = count("free_hugepages").saturating_sub(count("resv_hugepages"));
    let wanted = size.div_ceil(page_size);
    if wanted > available {
        return Err(NotEnoughHugepages {
            page_size,
            wanted,
            available,
            total: count("nr_hugepages"),
        });
    }
    Ok(())
}
