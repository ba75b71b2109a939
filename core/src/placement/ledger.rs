//! Who has what, and what is left.

use std::collections::BTreeMap;

use super::{Core, Node, Placement, Supply, VmClass};
use crate::topology::CpuSet;

/// Bytes of an ordinary page.
pub(super) const PAGE: u64 = 4096;

/// The placements of VMs, by name. It is a view of what is stored of the VMs and nothing more: what it is made of loses
/// nothing with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<String, Placement>);

impl Ledger {
    /// Notes that a VM has what `placement` says; what it had before is free.
    pub fn reserve(&mut self, vm: impl Into<String>, placement: Placement) {
        self.0.insert(vm.into(), placement);
    }

    /// Frees what a VM has.
    pub fn release(&mut self, vm: &str) -> Option<Placement> {
        self.0.remove(vm)
    }

    /// What each VM has, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Placement)> {
        self.0.iter().map(|(vm, placement)| (vm.as_str(), placement))
    }

    /// CPUs that VMs have to themselves.
    pub fn cpus(&self) -> CpuSet {
        self.0
            .values()
            .flat_map(|placement| placement.reserved.iter())
            .collect()
    }

    /// Bytes of memory in pages of `page_size` bytes that VMs have on a node.
    pub fn memory(&self, node: u32, page_size: u64) -> u64 {
        let same = self
            .0
            .values()
            .filter(|placement| placement.page_size == page_size);
        same.flat_map(|placement| &placement.nodes)
            .filter(|part| part.host_node == node)
            .fold(0, |sum, part| sum.saturating_add(part.memory))
    }

    /// vCPUs of shared VMs on a node.
    pub fn shared_vcpus(&self, node: u32) -> usize {
        let shared = self
            .0
            .values()
            .filter(|placement| placement.class == VmClass::Shared);
        shared
            .flat_map(|placement| &placement.nodes)
            .filter(|part| part.host_node == node)
            .map(|part| part.vcpus.len())
            .sum()
    }
}

impl<S: Into<String>> FromIterator<(S, Placement)> for Ledger {
    fn from_iter<I: IntoIterator<Item = (S, Placement)>>(placements: I) -> Self {
        Self(
            placements
                .into_iter()
                .map(|(vm, placement)| (vm.into(), placement))
                .collect(),
        )
    }
}

/// What is left on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Free<'a> {
    /// The node.
    pub node: &'a Node,
    /// Cores that nobody has.
    pub cores: Vec<&'a Core>,
    /// vCPUs of shared VMs that are there.
    pub shared_vcpus: usize,
    /// Ordinary memory, bytes.
    pub memory: u64,
    /// Hugepages: bytes of a page, and how many pages.
    pub pools: Vec<(u64, u64)>,
}

impl<'a> Free<'a> {
    /// What the VMs in `ledger` leave of each node. Of hugepages never more than the kernel has free: somebody else may
    /// have some.
    pub fn of(supply: &'a Supply, ledger: &Ledger) -> Vec<Self> {
        let taken = ledger.cpus();
        let of_node = |node: &'a Node| {
            let pools = node.pools.iter().map(|pool| {
                let reserved = ledger.memory(node.id, pool.page_size) / pool.page_size.max(1);
                (pool.page_size, pool.total.saturating_sub(reserved).min(pool.free))
            });
            let cores = node.cores.iter();
            Self {
                node,
                cores: cores
                    .filter(|core| core.threads.intersection(&taken).is_empty())
                    .collect(),
                shared_vcpus: ledger.shared_vcpus(node.id),
                memory: node.memory.saturating_sub(ledger.memory(node.id, PAGE)),
                pools: pools.collect(),
            }
        };
        supply.nodes.iter().map(of_node).collect()
    }

    /// Bytes that are left in pages of `page_size` bytes.
    pub fn bytes(&self, page_size: u64) -> u64 {
        if page_size == PAGE {
            return self.memory;
        }
        let pool = self.pools.iter().find(|(size, _)| *size == page_size);
        pool.map_or(0, |(size, pages)| size.saturating_mul(*pages))
    }
}
