//! NUMA nodes and their hugepages.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{CpuSet, read};

/// One NUMA node. A machine without NUMA is node 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NumaNode {
    /// Linux number.
    pub id: u32,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Installed memory that the kernel manages, bytes.
    pub memory_total: u64,
    /// Unused memory, bytes.
    pub memory_free: u64,
    /// Pools of hugepages, by page size.
    pub hugepages: Vec<Hugepages>,
    /// Relative distance to each node, in the order of the nodes (ACPI SLIT; 10 is local).
    pub distances: Vec<u32>,
}

/// A pool of hugepages of one size on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Hugepages {
    /// Page size, bytes.
    pub page_size: u64,
    /// Pages in the pool.
    pub total: u64,
    /// Pages not in use.
    pub free: u64,
}

impl NumaNode {
    /// Reads every node below `/sys/devices/system/node`, or makes the one of a kernel without NUMA.
    pub(super) fn read_all(root: &Path) -> Vec<Self> {
        let nodes: Vec<Self> = read::numbered(root.join("sys/devices/system/node"), "node")
            .into_iter()
            .map(|(id, path)| {
                let distances = read::text(path.join("distance")).unwrap_or_default();
                Self {
                    id,
                    cpus: read::value(path.join("cpulist")).unwrap_or_default(),
                    distances: distances
                        .split_whitespace()
                        .filter_map(|d| d.parse().ok())
                        .collect(),
                    hugepages: Hugepages::read_all(&path.join("hugepages")),
                    ..Self::with_memory(&path.join("meminfo"))
                }
            })
            .collect();
        if nodes.is_empty() {
            vec![Self::only(root)]
        } else {
            nodes
        }
    }

    /// The whole machine as node 0.
    fn only(root: &Path) -> Self {
        let cpus = root.join("sys/devices/system/cpu");
        let all = read::numbered(&cpus, "cpu")
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        Self {
            cpus: read::value(cpus.join("online")).unwrap_or(all),
            distances: vec![10],
            hugepages: Hugepages::read_all(&root.join("sys/kernel/mm/hugepages")),
            ..Self::with_memory(&root.join("proc/meminfo"))
        }
    }

    /// Fills in what `meminfo` says: `MemTotal: 16 kB`, in a node's own file after `Node 0`.
    fn with_memory(meminfo: &Path) -> Self {
        let text = read::text(meminfo).unwrap_or_default();
        let bytes = |key: &str| {
            let of_key = |line: &str| {
                let mut words = line.split_whitespace().skip_while(|word| *word != key);
                words.nth(1)?.parse::<u64>().ok()?.checked_mul(1024)
            };
            text.lines().find_map(of_key).unwrap_or_default()
        };
        Self {
            memory_total: bytes("MemTotal:"),
            memory_free: bytes("MemFree:"),
            ..Self::default()
        }
    }
}

impl Hugepages {
    /// Reads `hugepages-2048kB` and its like, by page size.
    fn read_all(directory: &Path) -> Vec<Self> {
        let pool = |(name, path): (String, std::path::PathBuf)| {
            let kib: u64 = name
                .strip_prefix("hugepages-")?
                .strip_suffix("kB")?
                .parse()
                .ok()?;
            Some(Self {
                page_size: kib.checked_mul(1024)?,
                total: read::value(path.join("nr_hugepages"))?,
                free: read::value(path.join("free_hugepages"))?,
            })
        };
        let mut pools: Vec<Self> = read::entries(directory).into_iter().filter_map(pool).collect();
        pools.sort_by_key(|pool| pool.page_size);
        pools
    }
}
