//! What the node has for VMs, and who has it.

use axion_api::capacity::{Capacity, NodeCapacity};
use axion_core::placement::{Placement, VmClass};
use axion_core::quantity::ByteSize;
use axion_core::topology::CpuSet;

use super::table::{Table, left, right, shrinking};
use super::{Style, bytes, fields, or_dash};

const GIB: u64 = 1 << 30;
const TWO_MIB: u64 = 2 << 20;

/// Nodes, then VMs.
pub fn show(capacity: &Capacity, style: &Style) -> String {
    let mut text = fields(&[("Host CPUs", capacity.host_cpus.to_string())], style);
    let mut table = Table::new([
        left("NODE"),
        shrinking("SHARED"),
        shrinking("DEDICATED"),
        right("CORES FREE"),
        right("MEMORY FREE"),
        right("2 MiB FREE"),
        right("1 GiB FREE"),
    ]);
    for node in &capacity.nodes {
        table.row([
            node.node.to_string().into(),
            set(&node.shared_cpus).into(),
            set(&node.dedicated_cpus).into(),
            format!("{}/{}", node.cores_free, node.cores).into(),
            bytes(node.memory_free).into(),
            pool(node, TWO_MIB).into(),
            pool(node, GIB).into(),
        ]);
    }
    text.push('\n');
    text.push_str(&table.render(style));
    text.push('\n');
    if capacity.reservations.is_empty() {
        text.push_str("No VM has a place: none is to run.\n");
        return text;
    }
    let mut table = Table::new([
        left("VM"),
        left("CLASS"),
        left("NODE"),
        right("VCPUS"),
        shrinking("CPUS"),
        right("MEMORY"),
        right("PAGES"),
    ]);
    for reservation in &capacity.reservations {
        let placement = &reservation.placement;
        let nodes: CpuSet = placement.nodes.iter().map(|part| part.host_node).collect();
        let memory = placement.nodes.iter().map(|part| part.memory).sum();
        let cpus = match placement.class {
            VmClass::Shared => &placement.cpus,
            VmClass::Dedicated => &placement.reserved,
        };
        table.row([
            (&reservation.vm).into(),
            class(placement.class).into(),
            nodes.to_string().into(),
            placement.count().to_string().into(),
            cpus.to_string().into(),
            ByteSize(memory).to_string().into(),
            pages(placement).into(),
        ]);
    }
    text.push_str(&table.render(style));
    text
}

fn set(cpus: &CpuSet) -> String {
    or_dash(Some(cpus).filter(|cpus| !cpus.is_empty()))
}

fn pool(node: &NodeCapacity, page_size: u64) -> String {
    let found = node.hugepages.iter().find(|pool| pool.page_size == page_size);
    or_dash(found.map(|pool| format!("{}/{}", pool.free, pool.total)))
}

/// What a class is called.
pub const fn class(class: VmClass) -> &'static str {
    match class {
        VmClass::Shared => "shared",
        VmClass::Dedicated => "dedicated",
    }
}

/// The pages of a VM's memory.
pub fn pages(placement: &Placement) -> String {
    ByteSize(placement.page_size).to_string()
}
