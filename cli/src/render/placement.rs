//! Where a VM is, and what the kernel made of that: rows of the VM's own.

use axion_api::vmm::InForce;
use axion_api::vmm::in_force::{DisabledExit, NodeMemory, UnitLimits, VcpuThread};
use axion_core::placement::{Placement, VmClass};
use axion_core::quantity::ByteSize;
use axion_core::topology::CpuSet;

use super::capacity::pages;
use super::milliseconds;

type Row = (&'static str, String);

/// What was planned.
pub fn rows(placement: &Placement) -> Vec<Row> {
    let part = |part: &axion_core::placement::NodePart| {
        let memory = ByteSize(part.memory);
        let text = format!(
            "node {}: vCPUs {}, {memory} in pages of {}",
            part.host_node,
            part.vcpus,
            pages(placement)
        );
        ("Placed", text)
    };
    let mut rows: Vec<Row> = placement.nodes.iter().map(part).collect();
    match placement.class {
        VmClass::Shared => rows.push(("Runs on", format!("CPUs {}", placement.cpus))),
        VmClass::Dedicated => {
            let pins: Vec<String> = placement.vcpus.iter().map(ToString::to_string).collect();
            rows.push(("Pinned", format!("vCPUs in order to CPUs {}", pins.join(","))));
            let pinned: CpuSet = placement.vcpus.iter().copied().collect();
            let idle = placement.reserved.difference(&pinned);
            if !idle.is_empty() {
                rows.push(("Kept idle", format!("CPUs {idle}, of the same cores")));
            }
            rows.push(("Devices", format!("threads on CPUs {}", placement.cpus)));
        }
    }
    if let Some(topology) = placement.topology {
        let text = format!(
            "{} sockets x {} cores x {} threads, {} cores share a cache",
            topology.sockets, topology.cores, topology.threads, topology.l3_cores
        );
        rows.push(("Guest sees", text));
    }
    rows
}

/// What is so.
pub fn in_force(state: &InForce) -> Vec<Row> {
    let mut rows: Vec<Row> = state.unit.iter().map(|unit| ("In force", limits(unit))).collect();
    let wanted = state.vcpus.iter().filter(|vcpu| vcpu.wanted.is_some()).count();
    if wanted > 0 {
        let right = state.vcpus.iter().filter(|vcpu| is_pinned(vcpu)).count();
        rows.push((
            "In force",
            format!("{right} of {wanted} vCPUs on their CPU alone"),
        ));
    }
    if let Some(priority) = state.fifo_wanted {
        let right = state
            .vcpus
            .iter()
            .filter(|vcpu| vcpu.fifo_priority == Some(priority));
        let text = format!(
            "{} of {} vCPUs by SCHED_FIFO, priority {priority}",
            right.count(),
            state.vcpus.len()
        );
        rows.push(("In force", text));
    }
    rows.extend(
        state
            .memory
            .iter()
            .enumerate()
            .filter_map(|(index, node)| Some(("In force", memory(index, node)?))),
    );
    if !state.exits_wanted.is_empty() {
        let missing: Vec<DisabledExit> = state
            .exits_wanted
            .iter()
            .copied()
            .filter(|exit| !state.exits_disabled.contains(exit))
            .collect();
        let mut text = format!("no exits for {}", exits(&state.exits_disabled));
        if !missing.is_empty() {
            text = format!("{text}; this host keeps those for {}", exits(&missing));
        }
        rows.push(("In force", text));
    }
    rows
}

fn limits(unit: &UnitLimits) -> String {
    let time = unit.cpu_limit.map(|limit| format!(", at most {limit} %"));
    let memory = unit
        .memory_max
        .map(|memory| format!(", memory at most {}", ByteSize(memory)));
    format!(
        "CPUs {}, weight {}{}{}",
        unit.cpus,
        unit.cpu_weight,
        time.unwrap_or_default(),
        memory.unwrap_or_default()
    )
}

fn is_pinned(vcpu: &VcpuThread) -> bool {
    vcpu.wanted
        .is_some_and(|cpu| vcpu.cpus == CpuSet::from_iter([cpu]))
}

fn memory(index: usize, node: &NodeMemory) -> Option<String> {
    let wanted = node.wanted?;
    let place = match node.bound {
        Some(bound) if bound == wanted => format!("memory {index} bound to node {bound}"),
        Some(bound) => format!("memory {index} bound to node {bound}, not {wanted}"),
        None => format!("memory {index} bound to no node"),
    };
    let astray: u64 = node
        .samples
        .iter()
        .filter(|sample| sample.host_node != wanted)
        .map(|sample| sample.pages)
        .sum();
    let filled = node
        .prefault_ms
        .map(|ms| format!(", filled in {}", milliseconds(ms.saturating_mul(1000))));
    let astray = (astray > 0).then(|| format!(", {astray} pages elsewhere"));
    Some(format!(
        "{place}{}{}",
        filled.unwrap_or_default(),
        astray.unwrap_or_default()
    ))
}

fn exits(exits: &[DisabledExit]) -> String {
    if exits.is_empty() {
        return "nothing".to_owned();
    }
    let names: Vec<&str> = exits
        .iter()
        .map(|exit| match exit {
            DisabledExit::Hlt => "HLT",
            DisabledExit::Pause => "PAUSE",
            DisabledExit::Mwait => "MWAIT",
        })
        .collect();
    names.join(", ")
}
