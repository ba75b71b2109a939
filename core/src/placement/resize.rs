//! More or less memory for a VM that has a place.

use super::ledger::{Free, Ledger};
use super::refused::{Refused, Resource, Shortage};
use super::{Placement, STEP, Supply};
use crate::config::PageSize;
use crate::quantity::ByteSize;

/// Most blocks in which the memory that a VM may get besides what it starts with is counted: each is a mapping of its own on
/// the host.
const MOST_BLOCKS: u64 = 4096;

/// Bytes of the blocks in which a VM gets and gives back memory, where it may get `more` bytes besides what it starts
/// with, in pages of `page_size` bytes.
pub fn block_size(more: u64, page_size: u64) -> u64 {
    let least = more.div_ceil(MOST_BLOCKS).checked_next_power_of_two();
    least.unwrap_or(1 << 63).max(page_size).max(STEP)
}

/// The place of a VM that has `placement`, with `size` bytes of memory instead, beside the VMs in `ledger`, of which it is
/// one. It keeps its node.
///
/// # Errors
/// What its node lacks, and what it could have there.
pub fn resize(
    supply: &Supply,
    ledger: &Ledger,
    placement: &Placement,
    size: u64,
) -> Result<Placement, Refused> {
    let [part] = placement.nodes.as_slice() else {
        let reason = "a VM on several nodes keeps the memory that it has";
        return Err(Refused::at("numa", reason, None));
    };
    let more = size.saturating_sub(part.memory);
    let page = placement.page_size;
    let free = Free::of(supply, ledger);
    let left = free.iter().find(|free| free.node.id == part.host_node);
    let available = left.map_or(0, |free| free.bytes(page));
    if more > available {
        let step = page.max(STEP);
        let nearest = part.memory.saturating_add(available / step * step);
        let node = left.map(|free| free.node);
        let sizes = [PageSize::TwoMiB, PageSize::OneGiB];
        let shortage = match sizes.into_iter().find(|size| size.bytes() == page) {
            Some(pages) => Shortage {
                node: part.host_node,
                resource: Resource::Hugepages(pages),
                wanted: more.div_ceil(page),
                available: available / page,
                total: node.and_then(|node| node.pool(page)).map_or(0, |pool| pool.total),
                nearest,
            },
            None => Shortage {
                node: part.host_node,
                resource: Resource::Memory,
                wanted: more,
                available,
                total: node.map_or(0, |node| node.memory),
                nearest,
            },
        };
        return Err(Refused {
            field: "size",
            reason: format!(
                "the VM cannot have {}: its node has no room for the rest",
                ByteSize(size)
            ),
            shortages: vec![shortage],
            instead: (nearest > part.memory)
                .then(|| format!("size = \"{}\"", ByteSize(nearest)))
                .into_iter()
                .collect(),
        });
    }
    let mut placement = placement.clone();
    if let [part] = placement.nodes.as_mut_slice() {
        part.memory = size;
    }
    Ok(placement)
}
