//! Pools of hugepages.

use axion_core::config::PageSize;
use axion_core::profile::NodePages;

use super::{ActionError, Files};

/// Sets the pool of each node. The kernel gives what it finds and says nothing, so each is read back; the first that came up
/// short is named, the others are set all the same.
pub(super) fn hugepages(node: &Files<'_>, size: PageSize, wanted: &[NodePages]) -> Result<(), ActionError> {
    let results: Vec<_> = wanted.iter().map(|pool| one(node, size, *pool)).collect();
    results.into_iter().collect()
}

fn one(node: &Files<'_>, size: PageSize, wanted: NodePages) -> Result<(), ActionError> {
    let pool = format!("hugepages/hugepages-{}kB/nr_hugepages", size.bytes() >> 10);
    let numa = format!("/sys/devices/system/node/node{}/{pool}", wanted.node);
    // A kernel without NUMA has the machine's pool only.
    let file = if node.exists(&numa) || wanted.node > 0 {
        numa
    } else {
        format!("/sys/kernel/mm/{pool}")
    };
    if node.number(&file) != Some(wanted.pages) {
        node.set(&file, &wanted.pages.to_string())?;
    }
    match node.number(&file).unwrap_or_default() {
        pages if pages < wanted.pages => Err(ActionError::Hugepages {
            node: wanted.node,
            pages,
            wanted: wanted.pages,
            size,
        }),
        _ => Ok(()),
    }
}
