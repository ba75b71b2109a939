use std::fs;

use axion_api::vmm::GuestNode;
use vm_memory::{Bytes, GuestMemoryBackend};

use super::*;
use crate::arch::layout::Layout;
use crate::placement::affinity;

fn config(size: u64, hugepages: HugepageSize) -> MemoryConfig {
    MemoryConfig {
        size,
        hugepages,
        ..Default::default()
    }
}

fn on_nodes(sizes: &[(u64, u32)], hugepages: HugepageSize) -> MemoryConfig {
    let node = |(size, host): &(u64, u32)| GuestNode {
        size: *size,
        host_node: Some(*host),
        ..Default::default()
    };
    MemoryConfig {
        size: sizes.iter().map(|(size, _)| size).sum(),
        hugepages,
        nodes: sizes.iter().map(node).collect(),
        ..Default::default()
    }
}

fn write(sys: &Path, name: &str, value: &str) {
    let path = sys.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("{value}\n")).unwrap();
}

/// A host with pools of 2 MiB pages: total, free, reserved over all; total and free of each node.
fn host(all: (u64, u64, u64), nodes: &[(u64, u64)]) -> (tempfile::TempDir, HostNodes) {
    const POOL: &str = "hugepages/hugepages-2048kB";
    let sys = tempfile::tempdir().unwrap();
    let count = |name: String, value: u64| write(sys.path(), &name, &value.to_string());
    count(format!("kernel/mm/{POOL}/nr_hugepages"), all.0);
    count(format!("kernel/mm/{POOL}/free_hugepages"), all.1);
    count(format!("kernel/mm/{POOL}/resv_hugepages"), all.2);
    for (node, (total, free)) in nodes.iter().enumerate() {
        let directory = format!("devices/system/node/node{node}");
        count(format!("{directory}/{POOL}/nr_hugepages"), *total);
        count(format!("{directory}/{POOL}/free_hugepages"), *free);
        let meminfo = format!(
            "Node {node} MemTotal: 999999 kB\nNode {node} MemFree: 1000 kB\nNode {node} Inactive(file): 50 kB\n\
             Node {node} Active(file): 30 kB\nNode {node} Dirty: 20 kB\nNode {node} SReclaimable: 4 kB\n"
        );
        fs::write(sys.path().join(format!("{directory}/meminfo")), meminfo).unwrap();
    }
    if !nodes.is_empty() {
        let last = nodes.len() - 1;
        write(sys.path(), "devices/system/node/has_memory", &format!("0-{last}"));
    }
    let nodes = HostNodes::new(sys.path());
    (sys, nodes)
}

#[test]
fn pool_too_small_says_wanted_and_available() {
    let (_sys, nodes) = host((100, 64, 10), &[]);
    let error = nodes.admit(&config(128 << 20, HugepageSize::TwoMiB)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory.hugepages: 64 pages of 2MiB are wanted; 54 are free of 100 in the pool"
    );
    nodes.admit(&config(108 << 20, HugepageSize::TwoMiB)).unwrap();
    nodes.admit(&config(1 << 40, HugepageSize::None)).unwrap();
}

#[test]
fn missing_pool_is_an_empty_one() {
    let (_sys, nodes) = host((100, 100, 0), &[]);
    let error = nodes.admit(&config(1 << 30, HugepageSize::OneGiB)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory.hugepages: 1 pages of 1GiB are wanted; 0 are free of 0 in the pool"
    );
}

#[test]
fn every_host_node_has_to_have_its_pages() {
    let (_sys, nodes) = host((100, 100, 0), &[(60, 60), (40, 40)]);
    let wanted = |sizes: &[(u64, u32)]| nodes.admit(&on_nodes(sizes, HugepageSize::TwoMiB));
    wanted(&[(120 << 20, 0), (80 << 20, 1)]).unwrap();
    assert_eq!(
        wanted(&[(64 << 20, 0), (82 << 20, 1)]).unwrap_err().to_string(),
        "memory.hugepages: 41 pages of 2MiB are wanted on host node 1; 40 are free of 40 in the pool"
    );
    // Two guest nodes on one host node count together.
    assert!(matches!(
        wanted(&[(64 << 20, 0), (64 << 20, 0)]).unwrap_err(),
        NotAdmitted::Hugepages {
            node: Some(0),
            wanted: 64,
            available: 60,
            ..
        }
    ));
    assert_eq!(
        wanted(&[(64 << 20, 0), (64 << 20, 7)]).unwrap_err().to_string(),
        "memory.nodes[1].host_node: 7 is not allowed; the host's nodes with memory are 0-1"
    );
}

#[test]
fn pages_that_others_reserved_are_not_available() {
    let (_sys, nodes) = host((100, 100, 50), &[(60, 60), (40, 40)]);
    let error = nodes
        .admit(&on_nodes(&[(120 << 20, 0)], HugepageSize::TwoMiB))
        .unwrap_err();
    assert!(matches!(
        error,
        NotAdmitted::Hugepages {
            node: None,
            wanted: 60,
            available: 50,
            total: 100,
            ..
        }
    ));
}

#[test]
fn small_pages_of_a_node_are_what_is_free_or_clean() {
    let (_sys, nodes) = host((0, 0, 0), &[(0, 0)]);
    let available = 1064 << 10;
    nodes
        .admit(&on_nodes(&[(available, 0)], HugepageSize::None))
        .unwrap();
    let error = nodes
        .admit(&on_nodes(&[(available + 4096, 0)], HugepageSize::None))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "memory.nodes: 1093632 bytes in 4 KiB pages are wanted on host node 0; 1089536 are available"
    );
}

fn ram(config: &MemoryConfig) -> Result<Ram, MemoryError> {
    let layout = Layout::new(config.size, 0, 40).unwrap();
    Ram::map(
        &Numa::new(config, 1, &layout),
        &layout,
        config,
        &affinity::get().unwrap(),
    )
}

/// Whether this machine has a memory node 0.
fn have_node() -> bool {
    let have = Path::new("/sys/devices/system/node/node0").exists();
    if !have {
        eprintln!("skipped: no NUMA in this kernel");
    }
    have
}

#[test]
fn cleared_memory_is_zero() {
    let ram = ram(&config(32 << 20, HugepageSize::None)).unwrap();
    let [node] = ram.populate().unwrap().try_into().unwrap();
    assert_eq!((node.size, node.prefault_ms, node.bound), (32 << 20, None, None));
    let address = GuestAddress(0x12_3456);
    ram.guest().write_obj(0xdead_beefu32, address).unwrap();
    ram.clear().unwrap();
    assert_eq!(ram.guest().read_obj::<u32>(address).unwrap(), 0);
}

/// The threads that clear it for a reset are in a sandbox, where to open a file is the end of the process.
#[test]
fn a_reset_that_fails_looks_nothing_up() {
    let (_dir, hosts) = host((0, 0, 0), &[]);
    let mut ram = ram(&config(32 << 20, HugepageSize::None)).unwrap();
    (ram.hosts, ram.prefault) = (hosts, true);
    // Of a node that has nothing left, where nothing can be written.
    let team = &mut ram.teams[0];
    team.host = Some(7);
    team.pieces.push(Piece {
        guest: 32 << 20,
        host: mapping::reserve(4096, 4096).unwrap(),
        size: 4096,
    });
    let cause = |error: MemoryError| std::error::Error::source(&error).unwrap().to_string();
    let at_start = cause(ram.populate().err().unwrap());
    assert!(at_start.contains("are wanted on host node 7"), "{at_start}");
    let at_reset = cause(ram.clear().err().unwrap());
    assert!(!at_reset.contains("wanted"), "{at_reset}");
}

#[test]
fn nodes_are_bound_filled_in_and_read_across() {
    if !have_node() {
        return;
    }
    let mut config = on_nodes(&[(300 << 20, 0), (64 << 20, 0)], HugepageSize::None);
    config.prefault = true;
    let ram = ram(&config).unwrap();
    assert_eq!(ram.guest().num_regions(), 2);
    for (node, size) in ram.populate().unwrap().iter().zip([300 << 20, 64 << 20]) {
        assert_eq!((node.size, node.wanted, node.bound), (size, Some(0), Some(0)));
        assert!(node.prefault_ms.is_some());
        let [sample] = node.samples.as_slice() else {
            panic!("{:?}", node.samples)
        };
        assert_eq!(sample.host_node, 0);
        assert!(sample.pages > 500 && sample.pages <= 1024, "{}", sample.pages);
    }
    let edge = GuestAddress((300 << 20) - 2);
    ram.guest().write_slice(b"edge", edge).unwrap();
    assert_eq!(ram.guest().read_obj::<[u8; 4]>(edge).unwrap(), *b"edge");
    ram.clear().unwrap();
    assert_eq!(ram.guest().read_obj::<u32>(edge).unwrap(), 0);
}

#[test]
fn node_that_is_not_there_is_an_error() {
    if !have_node() {
        return;
    }
    let error = ram(&on_nodes(&[(32 << 20, 0), (32 << 20, 900)], HugepageSize::None))
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("memory: cannot map 33554432 bytes of guest node 1 on host node 900"),
        "{error}"
    );
}

#[test]
fn pool_that_shrank_since_admission_is_an_error_at_the_mapping() {
    if !have_node() {
        return;
    }
    let total = fs::read_to_string("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
    let total: u64 = total.map_or(0, |text| text.trim().parse().unwrap());
    let config = on_nodes(&[((total + 16) << 21, 0)], HugepageSize::TwoMiB);
    let error = ram(&config).err().unwrap().to_string();
    let wanted = format!(
        "memory.hugepages: {} pages of 2MiB are wanted on host node 0; ",
        total + 16
    );
    assert!(error.starts_with(&wanted), "{error}");
}

#[test]
fn hugepages_are_kept_by_a_reset() {
    let config = on_nodes(&[(32 << 20, 0)], HugepageSize::TwoMiB);
    if HostNodes::new(Path::new("/sys")).admit(&config).is_err() {
        eprintln!("skipped: no free hugepages");
        return;
    }
    let ram = ram(&config).unwrap();
    let [node] = ram.populate().unwrap().try_into().unwrap();
    assert_eq!(
        node.samples,
        [NodeSample {
            host_node: 0,
            pages: 16
        }]
    );
    ram.guest()
        .write_obj(0xdead_beefu32, GuestAddress(0x20_0000))
        .unwrap();
    ram.clear().unwrap();
    assert_eq!(ram.guest().read_obj::<u32>(GuestAddress(0x20_0000)).unwrap(), 0);
}

#[test]
fn pieces_cover_a_region_in_whole_pages() {
    let pieces = |size: u64, page| {
        let region = mapping::map(size, HugepageSize::None, None).unwrap();
        cut(&GuestRegionMmap::new(region, GuestAddress(4096)).unwrap(), page)
    };
    let three = pieces(600 << 20, 4096);
    assert_eq!(
        three.iter().map(|piece| piece.size >> 20).collect::<Vec<_>>(),
        [256, 256, 88]
    );
    assert_eq!(three[2].guest, 4096 + (512 << 20));
    assert_eq!(pieces(2 << 30, 1 << 30).len(), 2);
}

#[test]
fn workers_are_allowed_cpus_of_the_node() {
    let (sys, nodes) = host((0, 0, 0), &[(0, 0)]);
    write(sys.path(), "devices/system/node/node0/cpulist", "4-7");
    let cpus = |host, allowed: &str| {
        let node = Node {
            host,
            cpus: CpuSet::default(),
            ranges: Vec::new(),
            distances: vec![10],
        };
        team(&node, Vec::new(), &nodes, &allowed.parse().unwrap())
            .cpus
            .to_string()
    };
    assert_eq!(cpus(Some(0), "0-5"), "4-5");
    assert_eq!(cpus(Some(0), "0-1"), "0-1", "elsewhere rather than nowhere");
    assert_eq!(cpus(None, "0-1"), "0-1");
}
