//! What a VM's place becomes: for the VMM, and for init. Pure.
//!
//! | of the placement | for the VMM                                         | for init                              |
//! |------------------|-----------------------------------------------------|---------------------------------------|
//! | nodes            | guest nodes, each bound to its host node            |                                       |
//! | `vcpus`          | the CPU of each vCPU's thread                       | CPUs of the unit's cgroup             |
//! | `cpus`           | CPUs of all other threads, in a dedicated VM        | CPUs of the unit's cgroup             |
//! | `topology`       | sockets, cores, threads and caches of the guest     |                                       |
//!
//! In a shared VM the cgroup alone says where its threads run, and how much of the CPUs they get.

use axion_api::init::UnitCpus;
use axion_api::vm::VmSpec;
use axion_api::vmm::{self, CpuTopology, GuestNode, MemoryConfig, VmmConfig};
use axion_core::placement::{NodePart, Placement, VmClass};
use axion_core::topology::CpuSet;

/// Gives the VMM's `config` the place of its VM, and what `spec` says of it.
pub fn configure(config: &mut VmmConfig, spec: &VmSpec, placement: &Placement) {
    let dedicated = placement.class == VmClass::Dedicated;
    config.dedicated = dedicated;
    config.topology = placement.topology.map(|topology| CpuTopology {
        sockets: topology.sockets,
        cores: topology.cores,
        threads: topology.threads,
        l3_cores: Some(topology.l3_cores),
    });
    config.placement = vmm::Placement {
        vcpus: placement.vcpus.clone(),
        fifo_priority: spec.scheduling.fifo_priority(),
        housekeeping: if dedicated {
            placement.cpus.clone()
        } else {
            CpuSet::default()
        },
    };
    let bound = placement.nodes.iter().any(|part| part.bound);
    // What is to come is not there at the start.
    let node = |part: &NodePart| GuestNode {
        size: spec.memory_max.map_or(part.memory, |_| spec.memory.0),
        ..node(part)
    };
    config.memory = MemoryConfig {
        nodes: if bound || placement.nodes.len() > 1 {
            placement.nodes.iter().map(node).collect()
        } else {
            Vec::new()
        },
        ..std::mem::take(&mut config.memory)
    };
}

fn node(part: &NodePart) -> GuestNode {
    GuestNode {
        size: part.memory,
        host_node: part.bound.then_some(part.host_node),
        cpus: part.vcpus.clone(),
        distances: part.distances.clone(),
    }
}

/// What the unit of a VM may use of the CPUs.
pub fn cpus(spec: &VmSpec, placement: &Placement) -> UnitCpus {
    UnitCpus {
        list: placement.used().to_string(),
        weight: spec.cpu_weight.unwrap_or_default(),
        limit_percent: spec.cpu_limit.unwrap_or_default(),
    }
}
