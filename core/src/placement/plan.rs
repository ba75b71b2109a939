//! From what a VM asks for to where it goes.

use super::ledger::{Free, Ledger, PAGE};
use super::refused::{Refused, Resource, Shortage, explain};
use super::select::{self, Cost, number};
use super::{LEAST_MEMORY, NodePart, NumaPolicy, Placement, Supply, VmClass, VmThreads, Wish};
use crate::config::PageSize;
use crate::quantity::ByteSize;
use crate::topology::CpuSet;

/// Most nodes of a guest.
const MOST_NODES: u32 = 16;
/// Distance to another node of a guest whose vCPUs move over all of its nodes: near to none, far from none (the least that
/// ACPI has for another node).
const EVEN: u8 = 11;

/// Why [`place`] found nothing.
pub(super) struct Failure {
    /// Into how many parts the VM was to be divided.
    pub parts: u32,
    /// What each node lacks.
    pub shortages: Vec<Shortage>,
    /// The field at fault, where no node lacks anything.
    pub field: &'static str,
    /// Why, where it is no lack.
    pub reason: Option<String>,
}

/// What each node has to have for an equal part of a VM.
struct Part<'w> {
    wish: &'w Wish,
    /// How many there are.
    count: u32,
    /// vCPUs; in a shared VM the most of a part.
    cpus: u32,
    /// Bytes.
    memory: u64,
    /// vCPUs of a core.
    threads: u32,
}

impl Wish {
    /// Bytes of the pages that back its memory.
    pub(super) fn page_size(&self) -> u64 {
        self.hugepages.map_or(PAGE, PageSize::bytes)
    }
}

/// Finds a place for a VM beside those in `ledger`.
///
/// # Errors
/// What is missing on each node, and what is possible instead.
pub fn plan(supply: &Supply, ledger: &Ledger, wish: &Wish) -> Result<Placement, Refused> {
    check(supply, wish)?;
    place(supply, ledger, wish).map_err(|failure| explain(supply, ledger, wish, failure))
}

/// Whether a VM that asks for `wish` can be where `placement` says, beside those in `ledger`: the machine may be another one
/// than that for which it was planned.
pub fn holds(supply: &Supply, ledger: &Ledger, wish: &Wish, placement: &Placement) -> bool {
    let free = Free::of(supply, ledger);
    let memory = placement.nodes.iter().map(|part| part.memory).sum::<u64>();
    let asked = placement.class == wish.class
        && placement.count() == usize::try_from(wish.cpus).unwrap_or(usize::MAX)
        && memory == wish.memory
        && placement.page_size == wish.page_size();
    let room = placement.nodes.iter().all(|part| {
        let node = free.iter().find(|free| free.node.id == part.host_node);
        node.is_some_and(|free| free.bytes(placement.page_size) >= part.memory)
    });
    let cores: CpuSet = free
        .iter()
        .flat_map(|free| &free.cores)
        .flat_map(|core| core.threads.iter())
        .collect();
    let own = match placement.class {
        VmClass::Dedicated => placement.cpus.is_subset(&supply.host),
        VmClass::Shared => {
            let shared: CpuSet = supply.nodes.iter().flat_map(|node| node.shared.iter()).collect();
            placement.cpus.is_subset(&shared)
        }
    };
    asked && room && own && !placement.cpus.is_empty() && placement.reserved.is_subset(&cores)
}

/// What can be said without looking at what is free.
fn check(supply: &Supply, wish: &Wish) -> Result<(), Refused> {
    if supply.nodes.is_empty() {
        return Err(Refused::at("nodes", "the machine shows no node", None));
    }
    if wish.cpus == 0 {
        return Err(Refused::at("cpus", "a VM has at least 1 vCPU", Some("cpus = 1")));
    }
    let step = wish.step();
    let size = ByteSize(wish.memory);
    if wish.memory < LEAST_MEMORY {
        let reason = format!("{size}; at least {} are needed", ByteSize(LEAST_MEMORY));
        return Err(Refused::at("memory", reason, None));
    }
    if !wish.memory.is_multiple_of(step) {
        let reason = format!("{size}; it must be a multiple of {}", ByteSize(step));
        return Err(Refused::at("memory", reason, None));
    }
    if let Some(unknown) = wish.nodes.iter().find(|id| supply.node(**id).is_none()) {
        let there: CpuSet = supply.nodes.iter().map(|node| node.id).collect();
        let reason = format!("node {unknown} does not exist; there are {there}");
        return Err(Refused::at("nodes", reason, None));
    }
    if wish.class == VmClass::Shared {
        return Ok(());
    }
    if wish.hugepages.is_none() {
        let reason = "the memory of a dedicated VM is hugepages of 2MiB or 1GiB";
        return Err(Refused::at("hugepages", reason, Some("hugepages = \"2MiB\"")));
    }
    if supply.nodes.iter().all(|node| node.cores.is_empty()) {
        let reason = "no core of this node's machine is isolated, and dedicated VMs run on nothing else; \
                      `profile.mode = \"hpc\"` in the machine config isolates cores";
        return Err(Refused::at("class", reason, Some("class = \"shared\"")));
    }
    Ok(())
}

/// Finds a place on as few nodes as possible.
pub(super) fn place(supply: &Supply, ledger: &Ledger, wish: &Wish) -> Result<Placement, Failure> {
    let allowed = |free: &Free<'_>| wish.nodes.is_empty() || wish.nodes.contains(&free.node.id);
    let nodes: Vec<Free<'_>> = Free::of(supply, ledger).into_iter().filter(allowed).collect();
    let most = match wish.numa {
        NumaPolicy::Single => 1,
        NumaPolicy::Spread => number(nodes.len()).clamp(1, MOST_NODES),
    };
    let mut failure = None;
    for count in 1..=most {
        let tried = Part::new(supply, wish, count).and_then(|part| part.place(supply, &nodes));
        match tried {
            Ok(placement) => return Ok(placement),
            // What cannot be divided says less than what is missing.
            Err(tried) if failure.is_none() || tried.reason.is_none() => failure = Some(tried),
            Err(_) => {}
        }
    }
    Err(failure.unwrap_or(Failure {
        parts: 1,
        shortages: Vec::new(),
        field: "nodes",
        reason: None,
    }))
}

impl<'w> Part<'w> {
    fn new(supply: &Supply, wish: &'w Wish, count: u32) -> Result<Self, Failure> {
        let uneven = |field, reason| {
            Err(Failure {
                parts: count,
                shortages: Vec::new(),
                field,
                reason: Some(reason),
            })
        };
        let parts = u64::from(count);
        let memory = wish.memory / parts;
        if !wish.memory.is_multiple_of(parts * wish.step()) || memory < LEAST_MEMORY {
            let reason = format!(
                "{} cannot be divided into {count} equal parts of whole pages",
                ByteSize(wish.memory)
            );
            return uneven("memory", reason);
        }
        let mut part = Self {
            wish,
            count,
            cpus: wish.cpus.div_ceil(count),
            memory,
            threads: 1,
        };
        if wish.class == VmClass::Shared {
            return Ok(part);
        }
        if !wish.cpus.is_multiple_of(count) {
            let reason = format!("{} vCPUs cannot be divided into {count} equal parts", wish.cpus);
            return uneven("cpus", reason);
        }
        let mut cores = supply.nodes.iter().flat_map(|node| &node.cores);
        let smt = cores.any(|core| core.threads.len() > 1);
        let whole = part.cpus.is_multiple_of(2);
        part.threads = match wish.threads {
            VmThreads::All if smt && !whole => {
                let reason = format!(
                    "a core has 2 threads: {} vCPUs on a node do not fill cores",
                    part.cpus
                );
                return uneven("threads", reason);
            }
            VmThreads::All | VmThreads::Auto if smt && whole => 2,
            VmThreads::All | VmThreads::Auto | VmThreads::One => 1,
        };
        Ok(part)
    }

    fn cores(&self) -> usize {
        usize::try_from(self.cpus / self.threads.max(1)).unwrap_or(usize::MAX)
    }

    /// Free cores that have the threads.
    fn suited<'a>(&self, free: &Free<'a>) -> Vec<&'a super::Core> {
        let threads = usize::try_from(self.threads).unwrap_or(usize::MAX);
        let cores = free.cores.iter().copied();
        cores.filter(|core| core.threads.len() >= threads).collect()
    }

    fn place(&self, supply: &Supply, nodes: &[Free<'_>]) -> Result<Placement, Failure> {
        let mut shortages = Vec::new();
        let mut fitting: Vec<(Cost, &Free<'_>)> = Vec::new();
        for free in nodes {
            let lacking = self.lacking(free);
            if lacking.is_empty() {
                fitting.push((self.cost(free), free));
            }
            shortages.extend(lacking);
        }
        let count = usize::try_from(self.count).unwrap_or(usize::MAX);
        let chosen = select::nodes(&fitting, count);
        let placement = chosen.and_then(|chosen| match self.wish.class {
            VmClass::Shared => Some(self.shared(supply, &chosen)),
            VmClass::Dedicated => self.dedicated(supply, &chosen),
        });
        placement.ok_or(Failure {
            parts: self.count,
            shortages,
            field: "numa",
            reason: None,
        })
    }

    /// What a node lacks.
    fn lacking(&self, free: &Free<'_>) -> Vec<Shortage> {
        let node = free.node;
        let parts = u64::from(self.count);
        let shortage = |resource, wanted: u64, available: u64, total: u64, each: u64| Shortage {
            node: node.id,
            resource,
            wanted,
            available,
            total,
            nearest: available.saturating_mul(each).saturating_mul(parts),
        };
        let cpus = match self.wish.class {
            VmClass::Dedicated => shortage(
                Resource::Cores,
                long(self.cores()),
                long(self.suited(free).len()),
                long(node.cores.len()),
                self.threads.into(),
            ),
            VmClass::Shared => {
                let there = long(node.shared.len());
                shortage(Resource::SharedCpus, self.cpus.into(), there, there, 1)
            }
        };
        let memory = match self.wish.hugepages {
            Some(size) => shortage(
                Resource::Hugepages(size),
                self.memory / size.bytes(),
                free.bytes(size.bytes()) / size.bytes(),
                node.pool(size.bytes()).map_or(0, |pool| pool.total),
                size.bytes(),
            ),
            None => {
                let step = self.wish.step();
                let left = free.memory / step * step;
                shortage(Resource::Memory, self.memory, left, node.memory, 1)
            }
        };
        let lacks = |shortage: &Shortage| shortage.available < shortage.wanted;
        [cpus, memory].into_iter().filter(lacks).collect()
    }

    /// What is left of a node with its part. A shared VM goes where the vCPUs have the most of a CPU first.
    fn cost(&self, free: &Free<'_>) -> Cost {
        let left = free.bytes(self.wish.page_size()).saturating_sub(self.memory);
        let cpus = match self.wish.class {
            VmClass::Dedicated => long(self.suited(free).len().saturating_sub(self.cores())),
            VmClass::Shared => {
                let vcpus = long(free.shared_vcpus).saturating_add(self.cpus.into());
                vcpus.saturating_mul(1000) / long(free.node.shared.len()).max(1)
            }
        };
        (cpus, left, free.node.id)
    }

    /// vCPUs of each part, in order.
    fn vcpus(&self) -> Vec<CpuSet> {
        let total = self.wish.cpus;
        let (each, more) = (total / self.count, total % self.count);
        let mut next = 0;
        let part = |index: u32| {
            let first = next;
            next += each + u32::from(index < more);
            (first..next).collect()
        };
        (0..self.count).map(part).collect()
    }

    fn parts(&self, bound: bool, chosen: &[&Free<'_>], distance: impl Fn(u32, u32) -> u8) -> Vec<NodePart> {
        let part = |(free, vcpus): (&&Free<'_>, CpuSet)| NodePart {
            host_node: free.node.id,
            memory: self.memory,
            bound,
            vcpus,
            distances: chosen
                .iter()
                .map(|to| distance(free.node.id, to.node.id))
                .collect(),
        };
        chosen.iter().zip(self.vcpus()).map(part).collect()
    }

    fn shared(&self, supply: &Supply, chosen: &[&Free<'_>]) -> Placement {
        let distance = |from, to| if from == to { LOCAL } else { EVEN };
        let spread = super::GuestTopology {
            sockets: 1,
            cores: self.wish.cpus,
            threads: 1,
            l3_cores: 1,
        };
        Placement {
            class: VmClass::Shared,
            nodes: self.parts(supply.nodes.len() > 1, chosen, distance),
            page_size: self.wish.page_size(),
            vcpus: Vec::new(),
            reserved: CpuSet::default(),
            cpus: chosen.iter().flat_map(|free| free.node.shared.iter()).collect(),
            topology: (self.count > 1).then_some(spread),
        }
    }

    fn dedicated(&self, supply: &Supply, chosen: &[&Free<'_>]) -> Option<Placement> {
        let mut cores = Vec::new();
        for free in chosen {
            let of_node = select::cores(&self.suited(free), self.cores())?;
            cores.extend(of_node.into_iter().map(|core| (free.node.id, core)));
        }
        let threads = usize::try_from(self.threads).unwrap_or(usize::MAX);
        let vcpus = cores
            .iter()
            .flat_map(|(_, core)| core.threads.iter().take(threads));
        let near: CpuSet = chosen.iter().flat_map(|free| free.node.host.iter()).collect();
        let distance = |from, to| match supply.node(from).map(|node| node.distance(to)) {
            _ if from == to => LOCAL,
            Some(distance) => u8::try_from(distance).unwrap_or(FARTHEST).clamp(EVEN, FARTHEST),
            None => FARTHEST,
        };
        Some(Placement {
            class: VmClass::Dedicated,
            nodes: self.parts(true, chosen, distance),
            page_size: self.wish.page_size(),
            vcpus: vcpus.collect(),
            reserved: cores.iter().flat_map(|(_, core)| core.threads.iter()).collect(),
            cpus: if near.is_empty() {
                supply.host.clone()
            } else {
                near
            },
            topology: Some(select::topology(&cores, self.threads)),
        })
    }
}

/// Distance of a node to itself (ACPI 6.5 §5.2.17).
const LOCAL: u8 = 10;
/// The greatest distance to a node that can be reached.
const FARTHEST: u8 = 254;

fn long(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
