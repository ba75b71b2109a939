//! Machines for tests, and documents for them.

mod attest;
mod devices;
mod effects;
mod line;
mod plan;
mod refusals;

use super::*;
use crate::config::check;
use crate::topology::{Cpu, NumaNode, SmtState};

/// A node of a machine: cores, memory in GiB.
pub(super) type Node = (u32, u64);

/// A machine with `threads` per core, numbered as Linux does: the first thread of every core, then the second ones.
pub(super) fn machine(nodes: &[Node], threads: u32) -> Topology {
    let cores: u32 = nodes.iter().map(|(cores, _)| cores).sum();
    let mut topology = Topology::default();
    let mut first = 0;
    for (id, (number, memory)) in (0..).zip(nodes) {
        let own = first..first + number;
        first += number;
        let cpus: CpuSet = (0..threads)
            .flat_map(|t| own.clone().map(move |core| core + t * cores))
            .collect();
        topology.nodes.push(NumaNode {
            id,
            cpus: cpus.clone(),
            memory_total: memory << 30,
            memory_free: memory << 30,
            ..NumaNode::default()
        });
        topology.cpus.extend(cpus.iter().map(|cpu| Cpu {
            id: cpu,
            online: true,
            node: id,
            core: cpu % cores,
            siblings: (0..threads).map(|t| cpu % cores + t * cores).collect(),
            ..Cpu::default()
        }));
    }
    topology.cpus.sort_by_key(|cpu| cpu.id);
    topology.cpu_model.vendor = "GenuineIntel".to_owned();
    topology.cpu_model.virtualization = Some("vmx".to_owned());
    topology.cpu_model.gigabyte_pages = true;
    topology.cpu_model.idle_limits = true;
    topology.cpu_model.smt = if threads > 1 {
        SmtState::On
    } else {
        SmtState::Unsupported
    };
    topology.cpu_model.frequency_driver = Some("intel_pstate".to_owned());
    topology.cpu_model.governors = vec!["performance".to_owned(), "powersave".to_owned()];
    topology
}

pub(super) fn declaration(toml: &str) -> Declaration {
    Declaration::new(&check(toml, "test").unwrap())
}

pub(super) fn planned(topology: &Topology, toml: &str) -> Plan {
    plan(topology, &declaration(toml)).unwrap()
}

pub(super) fn refused(topology: &Topology, toml: &str) -> Vec<String> {
    let Refusals(refusals) = plan(topology, &declaration(toml)).unwrap_err();
    refusals.iter().map(Refusal::to_string).collect()
}

/// The arguments as they stand on a command line.
pub(super) fn arguments(plan: &Plan) -> String {
    let texts: Vec<&str> = plan
        .arguments
        .iter()
        .map(|planned| planned.text.as_str())
        .collect();
    texts.join(" ")
}

/// `key text` of each action whose key begins so.
pub(super) fn actions(plan: &Plan, prefix: &str) -> Vec<String> {
    let of_prefix = plan
        .actions
        .iter()
        .filter(|planned| planned.key.starts_with(prefix));
    of_prefix
        .map(|planned| format!("{} {}", planned.key, planned.text))
        .collect()
}
