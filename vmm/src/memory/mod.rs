//! Guest memory.
//!
//! ```text
//! admission   does the host have the pages?          before anything is mapped
//! mapping     one mapping for each range of a node,  bound (mbind, strict) to the node's host node
//! hot         memory that comes and goes             while the guest runs
//! workers     filling in and clearing                by threads on the host node's CPUs, all nodes at once
//! ```
//!
//! Mappings are private and anonymous, of 4 KiB pages that appear when touched (or at once, with `prefault`), or of hugetlb
//! pages that are reserved when mapped and filled in before the guest runs: a guest never dies of a page that is not
//! there. Memory outlives resets, which clear it.
//!
//! A guest node has a mapping of its own, so that binding, page size and memory slot are of one piece. Addresses of
//! neighbouring nodes are therefore contiguous for the guest only; `GuestMemory` reads and writes across.

mod admission;
pub mod hot;
mod mapping;
mod policy;
pub mod window;
mod workers;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use axion_api::vm::HugepageSize;
use axion_api::vmm::MemoryConfig;
use axion_api::vmm::in_force::{NodeMemory, NodeSample};
use axion_core::quantity::ByteSize;
use axion_core::topology::CpuSet;
use vm_memory::{
    GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion, GuestRegionMmap,
    MemoryRegionAddress,
};

use crate::arch::layout::Layout;
use crate::log;
use crate::numa::{Node, Numa};
pub use admission::{HostNodes, NotAdmitted};
use hot::Hot;
use mapping::Piece;
use workers::{Done, Team};

/// Guest memory as devices see it.
pub type GuestMemory = GuestMemoryMmap<()>;

/// Unit of work when filling in: large enough to amortize a system call, small enough to spread over CPUs.
const PIECE: u64 = 256 << 20;
/// Pages of a node whose place is looked up.
const SAMPLES: usize = 1024;

/// Guest memory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// The host no longer has the pages.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The kernel refused the mapping.
    #[error("memory: cannot map {size} bytes of guest node {node}{}", on(*host))]
    Map {
        /// Guest node.
        node: usize,
        /// Host node to which it is bound.
        host: Option<u32>,
        /// Bytes wanted.
        size: u64,
        /// Cause.
        source: io::Error,
    },
    /// Memory that comes and goes cannot be prepared, or not be taken back for a reset.
    #[error("memory.max: cannot map what is to come, or take it back")]
    Hot(#[source] io::Error),
    /// Pages could not be filled in.
    #[error(
        "memory: cannot fill in {size} bytes of {} pages at {address:#x} of guest node {node}{}",
        ByteSize(*page), on(*host)
    )]
    Populate {
        /// Guest node.
        node: usize,
        /// Host node to which it is bound.
        host: Option<u32>,
        /// Bytes of a page.
        page: u64,
        /// Guest address.
        address: u64,
        /// Bytes wanted there.
        size: usize,
        /// Cause, with what is free now where that is too little.
        source: Box<dyn std::error::Error + Send + Sync>,
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

fn on(host: Option<u32>) -> String {
    host.map_or_else(String::new, |host| format!(" on host node {host}"))
}

/// Bytes of the pages that back guest memory.
pub const fn page_size(hugepages: HugepageSize) -> u64 {
    match hugepages {
        HugepageSize::None => 4 << 10,
        HugepageSize::TwoMiB => 2 << 20,
        HugepageSize::OneGiB => 1 << 30,
    }
}

/// Gives the whole pages in `len` bytes at the guest address `start` back to the host; they read as zeros from then on.
/// Returns their bytes. For ordinary pages: others may be lost to another process.
///
/// # Errors
/// Where they are not guest memory, or the kernel does not take them.
pub fn give_back(memory: &GuestMemory, start: u64, len: u64) -> Result<u64, nix::Error> {
    let page = page_size(HugepageSize::None);
    let end = start.checked_add(len).ok_or(nix::Error::EFAULT)? / page * page;
    let mut at = start.checked_next_multiple_of(page).ok_or(nix::Error::EFAULT)?;
    let mut given = 0;
    while at < end {
        let region = memory.find_region(GuestAddress(at)).ok_or(nix::Error::EFAULT)?;
        let inside = at - region.start_addr().0;
        let here = (region.len() - inside).min(end - at);
        let host = region.get_host_address(MemoryRegionAddress(inside));
        let host = host.map_err(|_| nix::Error::EFAULT)?;
        mapping::release(Piece {
            guest: at,
            host: host.expose_provenance(),
            size: usize::try_from(here).map_err(|_| nix::Error::EFAULT)?,
        })?;
        (at, given) = (at + here, given + here);
    }
    Ok(given)
}

/// The RAM of a machine.
pub struct Ram {
    memory: GuestMemory,
    hosts: HostNodes,
    hugepages: HugepageSize,
    prefault: bool,
    /// Of each guest node.
    teams: Vec<Team>,
    hot: Option<Arc<Hot>>,
}

impl Ram {
    /// Maps the RAM of `numa`, each node bound to its host node; hugepages are reserved, nothing is filled in. Work on it is
    /// done on CPUs of `allowed`. What `layout` has of memory to come is prepared, and nothing of it there.
    ///
    /// # Errors
    /// [`MemoryError::Map`], or [`MemoryError::NotAdmitted`] where a pool has shrunk since it was admitted.
    pub fn map(
        numa: &Numa,
        layout: &Layout,
        config: &MemoryConfig,
        allowed: &CpuSet,
    ) -> Result<Self, MemoryError> {
        let hosts = HostNodes::new(Path::new("/sys"));
        let hugepages = config.hugepages;
        let (mut regions, mut teams) = (Vec::new(), Vec::new());
        for (index, node) in numa.nodes().iter().enumerate() {
            let mut pieces = Vec::new();
            for range in &node.ranges {
                let size = range.end - range.start;
                let failed = |source| MemoryError::Map {
                    node: index,
                    host: node.host,
                    size,
                    source,
                };
                let region = match mapping::map(size, hugepages, node.host) {
                    Ok(region) => GuestRegionMmap::new(region, GuestAddress(range.start)),
                    Err(source) if hugepages == HugepageSize::None => return Err(failed(source)),
                    Err(source) => {
                        hosts.check(node.host, hugepages, size)?;
                        hosts.check(None, hugepages, size)?;
                        return Err(failed(source));
                    }
                };
                let region = region.ok_or_else(|| failed(io::Error::other("beyond the last address")))?;
                pieces.extend(cut(&region, page_size(hugepages)));
                regions.push(region);
            }
            teams.push(team(node, pieces, &hosts, allowed));
        }
        let hot = layout.hot.clone().map(|range| {
            let node = numa.nodes().first().and_then(|node| node.host);
            let hot = Hot::map(range, hugepages, node, config.prefault)?;
            regions.push(hot.region()?);
            Ok(Arc::new(hot))
        });
        let hot = hot.transpose().map_err(MemoryError::Hot)?;
        let memory = GuestMemory::from_regions(regions).map_err(|error| MemoryError::Map {
            node: 0,
            host: None,
            size: config.size,
            source: io::Error::other(error),
        })?;
        Ok(Self {
            memory,
            hosts,
            hugepages,
            prefault: config.prefault || hugepages != HugepageSize::None,
            teams,
            hot,
        })
    }

    /// Fills in hugepages, and ordinary pages where that was asked for; says what backs each node now.
    ///
    /// # Errors
    /// [`MemoryError::Populate`].
    pub fn populate(&self) -> Result<Vec<NodeMemory>, MemoryError> {
        let done = if self.prefault {
            self.fill(|host, size| self.hosts.check(host, self.hugepages, size).err())?
        } else {
            Vec::new()
        };
        let node = |(index, team): (usize, &Team)| {
            let size = team.pieces.iter().map(|piece| piece.size as u64).sum();
            let done = done.get(index);
            let prefault_ms = done.map(|done| u64::try_from(done.time.as_millis()).unwrap_or(u64::MAX));
            if let (Some(done), Some(ms)) = (done, prefault_ms) {
                let page = ByteSize(page_size(self.hugepages));
                let (place, threads) = (on(team.host), done.threads);
                log::line(format_args!(
                    "guest node {index}: {size} bytes in {page} pages filled in{place}: {ms} ms, {threads} threads"
                ));
            }
            NodeMemory {
                size,
                wanted: team.host,
                bound: team.pieces.first().and_then(|piece| policy::bound(piece.host)),
                hugepages: self.hugepages,
                prefault_ms,
                samples: done.map_or_else(Vec::new, |_| sample(team, page_size(self.hugepages))),
            }
        };
        Ok(self.teams.iter().enumerate().map(node).collect())
    }

    /// Sets all of it to zero, and takes back what has come. No vCPU and no device may be running.
    ///
    /// # Errors
    /// [`MemoryError::Clear`], and [`MemoryError::Populate`] where pages were given back and others do not come.
    pub fn clear(&self) -> Result<(), MemoryError> {
        if let Some(hot) = &self.hot {
            hot.unplug_all()
                .map_err(|error| MemoryError::Hot(io::Error::other(error)))?;
        }
        let clear = if self.hugepages == HugepageSize::None {
            mapping::release
        } else {
            mapping::zero
        };
        workers::run(&self.teams, clear).map_err(|(_, piece, source)| MemoryError::Clear {
            address: piece.guest,
            source,
        })?;
        if self.prefault && self.hugepages == HugepageSize::None {
            // The thread is restricted by now, and may not look up what the host has left.
            self.fill(|_, _| None)?;
        }
        Ok(())
    }

    /// The memory.
    pub fn guest(&self) -> &GuestMemory {
        &self.memory
    }

    /// What comes and goes of it.
    pub fn hot(&self) -> Option<&Arc<Hot>> {
        self.hot.as_ref()
    }

    /// Makes all pages present; where that fails, `short` may say that a host node has not so many bytes.
    fn fill(
        &self,
        short: impl FnOnce(Option<u32>, u64) -> Option<NotAdmitted>,
    ) -> Result<Vec<Done>, MemoryError> {
        workers::run(&self.teams, mapping::populate).map_err(|(node, piece, errno)| {
            let host = self.teams.get(node).and_then(|team| team.host);
            let size = piece.size as u64;
            let short = short(host, size);
            MemoryError::Populate {
                node,
                host,
                page: page_size(self.hugepages),
                address: piece.guest,
                size: piece.size,
                source: short.map_or_else(|| errno.into(), Into::into),
            }
        })
    }
}

/// The pieces of a region: whole pages each.
fn cut(region: &GuestRegionMmap<()>, page: u64) -> Vec<Piece> {
    let Ok(host) = region.get_host_address(MemoryRegionAddress(0)) else {
        return Vec::new();
    };
    let host = host.expose_provenance();
    let step = usize::try_from(PIECE.max(page)).unwrap_or(usize::MAX);
    let size = usize::try_from(region.len()).unwrap_or(usize::MAX);
    let piece = |offset: usize| Piece {
        guest: region.start_addr().0 + offset as u64,
        host: host + offset,
        size: step.min(size - offset),
    };
    (0..size).step_by(step).map(piece).collect()
}

/// Who works on the memory of `node`: the allowed CPUs of its host node, or all allowed ones where it has none, or none
/// there are allowed.
fn team(node: &Node, pieces: Vec<Piece>, hosts: &HostNodes, allowed: &CpuSet) -> Team {
    let local = node.host.map(|host| hosts.cpus(host)).map(|cpus| {
        let both = cpus.iter().filter(|cpu| allowed.contains(*cpu));
        both.collect::<CpuSet>()
    });
    Team {
        host: node.host,
        pieces,
        cpus: local
            .filter(|cpus| !cpus.is_empty())
            .unwrap_or_else(|| allowed.clone()),
    }
}

/// Looks up where pages of `team` are, evenly spread over its memory.
fn sample(team: &Team, page: u64) -> Vec<NodeSample> {
    let page = usize::try_from(page).unwrap_or(usize::MAX);
    let pages: usize = team.pieces.iter().map(|piece| piece.size / page).sum();
    let step = pages.div_ceil(SAMPLES).max(1);
    let addresses = team
        .pieces
        .iter()
        .flat_map(|piece| (piece.host..piece.host + piece.size).step_by(page));
    let addresses: Vec<usize> = addresses.step_by(step).collect();
    let mut count: BTreeMap<u32, u64> = BTreeMap::new();
    for host_node in policy::locate(&addresses) {
        *count.entry(host_node).or_default() += 1;
    }
    let sample = |(host_node, pages)| NodeSample { host_node, pages };
    count.into_iter().map(sample).collect()
}

#[cfg(test)]
mod tests;
