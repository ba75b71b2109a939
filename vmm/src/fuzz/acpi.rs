//! The target of the ACPI tables.

use axion_api::vm::HugepageSize;
use axion_api::vmm::{CpuTopology, GuestNode, MemoryConfig, VmmConfig};

use super::{Behaviour, Values};
use crate::acpi::Tables;
use crate::arch::layout::Layout;
use crate::arch::topology::Topology;
use crate::config;
use crate::numa::Numa;

/// Machines of any shape that a config may have: their tables fit, and each one's checksum is right.
pub(super) fn target(input: &[u8]) -> Behaviour {
    let mut seen = Behaviour::default();
    let mut values = Values(input);
    let cpus = u32::from(values.u16() % 1200);
    let page = 1 << 21;
    let mut nodes = Vec::new();
    let count = values.u8() % 80;
    let per_node = (cpus / u32::from(count).max(1)).max(1);
    for index in 0..u32::from(count) {
        let cpus = match values.u8() {
            0..=229 => (index * per_node..((index + 1) * per_node).min(cpus)).collect(),
            _ => (values.u16().into()..u32::from(values.u16()))
                .take(2000)
                .collect(),
        };
        let distances = match values.u8() {
            0..=199 => Vec::new(),
            _ => (0..count)
                .map(|to| if u32::from(to) == index { 10 } else { values.u8() })
                .collect(),
        };
        nodes.push(GuestNode {
            size: (u64::from(values.u16()) + 16) * page,
            cpus,
            distances,
            ..Default::default()
        });
    }
    let size = match values.u8() {
        0..=199 if !nodes.is_empty() => nodes.iter().map(|node| node.size).sum(),
        _ => values.u64(),
    };
    let topology = (values.u8() > 128).then(|| CpuTopology {
        sockets: values.u8().into(),
        cores: values.u16().into(),
        threads: values.u8().into(),
        l3_cores: (values.u8() > 128).then(|| values.u8().into()),
    });
    let text = r#"{"name":"fuzz","cpus":1,"memory":{"size":0},"boot":{"kernel":"/k","cmdline":""}}"#;
    let mut config: VmmConfig = serde_json::from_str(text).unwrap();
    config.cpus = cpus;
    config.topology = topology;
    config.memory = MemoryConfig {
        size,
        hugepages: HugepageSize::None,
        nodes,
        ..Default::default()
    };
    let topology = match config::validate(&config) {
        Ok(topology) => topology,
        Err(error) => {
            seen.saw_error(&error);
            return seen;
        }
    };
    let Ok(layout) = Layout::new(size, u64::from(values.u16()) << 30, 32 + values.u8() % 21) else {
        seen.saw("layout");
        return seen;
    };
    tables(&config, &topology, &layout, &mut seen);
    seen
}

fn tables(config: &VmmConfig, topology: &Topology, layout: &Layout, seen: &mut Behaviour) {
    let numa = Numa::new(&config.memory, config.cpus, layout);
    let sum: u64 = numa.nodes().iter().map(crate::numa::Node::size).sum();
    assert_eq!(sum, config.memory.size, "all memory is some node's");
    let tables = Tables::new(topology, &numa, layout).unwrap();
    let bytes = tables.bytes();
    let base = usize::try_from(tables.rsdp()).unwrap();
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let table = |address: usize| {
        let start = address - base;
        let table = &bytes[start..start + usize::try_from(u32_at(start + 4)).unwrap()];
        assert_eq!(table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        table
    };
    let address = |bytes: &[u8]| usize::try_from(u64::from_le_bytes(bytes.try_into().unwrap())).unwrap();
    let xsdt = table(address(&bytes[24..32]));
    for entry in xsdt[36..].chunks(8) {
        table(address(entry));
    }
    seen.saw((
        numa.nodes().len(),
        topology.sockets().min(4),
        topology.cpus_of_cache().min(4),
    ));
    seen.saw(config.cpus.next_power_of_two());
}
