//! NUMA nodes of the guest: which memory and which vCPUs are whose, and how far they are from each other.
//!
//! Nodes take the RAM in order, from address 0 up; the MMIO gap splits the node that lies across it. What is decided here is
//! told to the guest by SRAT and SLIT and to the host's kernel by `memory`.

use std::ops::Range;

use axion_api::vmm::{GuestNode, MemoryConfig};
use axion_core::topology::CpuSet;

use crate::arch::layout::Layout;

/// Distance of a node to itself (ACPI §5.2.17).
pub const LOCAL: u8 = 10;
/// Distance to other nodes where none is given.
const REMOTE: u8 = 20;
/// Most nodes of a machine.
pub const MAX_NODES: usize = 64;

/// The nodes of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numa {
    nodes: Vec<Node>,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Host node that has all of its pages.
    pub host: Option<u32>,
    /// Its vCPUs.
    pub cpus: CpuSet,
    /// Its RAM, ascending.
    pub ranges: Vec<Range<u64>>,
    /// Distance to each node.
    pub distances: Vec<u8>,
}

impl Numa {
    /// The nodes of a validated config, with `cpus` vCPUs.
    pub fn new(config: &MemoryConfig, cpus: u32, layout: &Layout) -> Self {
        let only = [GuestNode {
            size: config.size,
            cpus: (0..cpus).collect(),
            ..Default::default()
        }];
        let wanted = if config.nodes.is_empty() {
            &only
        } else {
            config.nodes.as_slice()
        };
        let mut free: Vec<Range<u64>> = layout.ram().collect();
        let node = |(index, node): (usize, &GuestNode)| Node {
            host: node.host_node,
            cpus: node.cpus.clone(),
            ranges: take(&mut free, node.size),
            distances: if node.distances.is_empty() {
                let other = |to| if to == index { LOCAL } else { REMOTE };
                (0..wanted.len()).map(other).collect()
            } else {
                node.distances.clone()
            },
        };
        Self {
            nodes: wanted.iter().enumerate().map(node).collect(),
        }
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of a vCPU.
    pub fn node_of(&self, cpu: u32) -> u32 {
        let mut nodes = (0..).zip(&self.nodes);
        nodes
            .find(|(_, node)| node.cpus.contains(cpu))
            .map_or(0, |(index, _)| index)
    }
}

impl Node {
    /// Bytes of RAM.
    pub fn size(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

/// Takes `size` bytes from the front of `free`.
fn take(free: &mut Vec<Range<u64>>, mut size: u64) -> Vec<Range<u64>> {
    let mut taken = Vec::new();
    for range in free.iter_mut() {
        let count = size.min(range.end - range.start);
        taken.push(range.start..range.start + count);
        range.start += count;
        size -= count;
    }
    taken.retain(|range| !range.is_empty());
    free.retain(|range| !range.is_empty());
    taken
}

#[cfg(test)]
mod tests;
