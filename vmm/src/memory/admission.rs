//! Whether the host has the pages that a machine wants, before any is taken.
//!
//! Hugepages are counted in the pools of the host nodes (`/sys/devices/system/node/nodeN/hugepages`) and over all, where
//! pages that others have reserved and not yet touched are known (Documentation/admin-guide/mm/hugetlbpage.rst). For 4 KiB
//! pages bound to a node, what is free there or holds only clean files is what can be had: the kernel would end processes
//! rather than say that a node is full.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use axion_api::vm::HugepageSize;
use axion_api::vmm::MemoryConfig;
use axion_core::quantity::ByteSize;
use axion_core::topology::CpuSet;

use super::page_size;

/// The host does not have the pages.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// A pool has fewer free pages than are wanted.
    #[error(
        "memory.hugepages: {wanted} pages of {} are wanted{}; {available} are free of {total} in the pool",
        ByteSize(*page_size), on(*node)
    )]
    Hugepages {
        /// Host node; all of them where `None`.
        node: Option<u32>,
        /// Bytes of a page.
        page_size: u64,
        /// Pages wanted.
        wanted: u64,
        /// Pages that are free and not reserved.
        available: u64,
        /// Pages in the pool.
        total: u64,
    },
    /// A node has less memory left than is wanted.
    #[error(
        "memory.nodes: {wanted} bytes in 4 KiB pages are wanted on host node {node}; {available} are available"
    )]
    Pages {
        /// Host node.
        node: u32,
        /// Bytes wanted.
        wanted: u64,
        /// Bytes that are free or easily made so.
        available: u64,
    },
    /// The host has no such node, or one without memory.
    #[error(
        "memory.nodes[{index}].host_node: {node} is not allowed; the host's nodes with memory are {present}"
    )]
    NoNode {
        /// Guest node.
        index: usize,
        /// Host node that it names.
        node: u32,
        /// Host nodes with memory.
        present: CpuSet,
    },
}

fn on(node: Option<u32>) -> String {
    node.map_or_else(String::new, |node| format!(" on host node {node}"))
}

/// The memory nodes of this host.
#[derive(Debug, Clone)]
pub struct HostNodes {
    sys: PathBuf,
}

impl HostNodes {
    /// The nodes that `sys` (where sysfs is mounted) tells of.
    pub fn new(sys: &Path) -> Self {
        Self { sys: sys.to_owned() }
    }

    /// CPUs of a node.
    pub fn cpus(&self, node: u32) -> CpuSet {
        value(&self.directory(node).join("cpulist")).unwrap_or_default()
    }

    /// CPUs that are online.
    pub fn online_cpus(&self) -> CpuSet {
        value(&self.sys.join("devices/system/cpu/online")).unwrap_or_default()
    }

    /// Checks that there is what `config` wants.
    ///
    /// # Errors
    /// [`NotAdmitted`] with what is wanted and what is there.
    pub fn admit(&self, config: &MemoryConfig) -> Result<(), NotAdmitted> {
        let present = self.with_memory();
        let mut wanted: BTreeMap<u32, u64> = BTreeMap::new();
        for (index, node) in config.nodes.iter().enumerate() {
            let Some(host) = node.host_node else { continue };
            if !present.contains(host) {
                return Err(NotAdmitted::NoNode {
                    index,
                    node: host,
                    present,
                });
            }
            *wanted.entry(host).or_default() += node.size;
        }
        for (node, size) in wanted {
            self.check(Some(node), config.hugepages, size)?;
        }
        self.check(None, config.hugepages, config.size)
    }

    /// Checks that `node`, or all of them together, has `size` bytes more.
    ///
    /// # Errors
    /// [`NotAdmitted::Hugepages`] or [`NotAdmitted::Pages`].
    pub fn check(&self, node: Option<u32>, hugepages: HugepageSize, size: u64) -> Result<(), NotAdmitted> {
        let page_size = page_size(hugepages);
        if hugepages != HugepageSize::None {
            let wanted = size.div_ceil(page_size);
            let (available, total) = self.hugepages(node, page_size);
            return if wanted > available {
                Err(NotAdmitted::Hugepages {
                    node,
                    page_size,
                    wanted,
                    available,
                    total,
                })
            } else {
                Ok(())
            };
        }
        match node.map(|node| (node, self.free_memory(node))) {
            Some((node, available)) if size > available => Err(NotAdmitted::Pages {
                node,
                wanted: size,
                available,
            }),
            _ => Ok(()),
        }
    }

    /// Free and all pages of a pool. A size that the CPU or the kernel does not have, has no directory: a pool of none.
    fn hugepages(&self, node: Option<u32>, page_size: u64) -> (u64, u64) {
        let parent = match node {
            Some(node) => self.directory(node).join("hugepages"),
            None => self.sys.join("kernel/mm/hugepages"),
        };
        let pool = parent.join(format!("hugepages-{}kB", page_size >> 10));
        let count = |name: &str| value::<u64>(&pool.join(name)).unwrap_or(0);
        // A node's pool does not say which of its pages are reserved; the sum over all nodes does.
        let available = count("free_hugepages").saturating_sub(count("resv_hugepages"));
        (available, count("nr_hugepages"))
    }

    /// Bytes of a node that are free or hold clean files.
    fn free_memory(&self, node: u32) -> u64 {
        let text = fs::read_to_string(self.directory(node).join("meminfo")).unwrap_or_default();
        let kib = |key: &str| {
            let of_key = |line: &str| {
                let mut words = line.split_whitespace().skip_while(|word| *word != key);
                words.nth(1)?.parse::<u64>().ok()
            };
            text.lines().find_map(of_key).unwrap_or(0)
        };
        let keys = ["MemFree:", "Active(file):", "Inactive(file):", "SReclaimable:"];
        let clean = keys.map(kib).iter().sum::<u64>().saturating_sub(kib("Dirty:"));
        clean.saturating_mul(1024)
    }

    /// Nodes with memory. A kernel without NUMA has no list of them: none can be named.
    fn with_memory(&self) -> CpuSet {
        value(&self.sys.join("devices/system/node/has_memory")).unwrap_or_default()
    }

    fn directory(&self, node: u32) -> PathBuf {
        self.sys.join(format!("devices/system/node/node{node}"))
    }
}

fn value<T: FromStr>(path: &Path) -> Option<T> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
