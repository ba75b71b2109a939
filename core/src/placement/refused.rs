//! Why a VM has no place, and what it could have instead.

use std::fmt;

use super::ledger::{Free, Ledger};
use super::plan::{Failure, place};
use super::{NumaPolicy, Supply, Wish};
use crate::config::PageSize;
use crate::profile::Refusal;
use crate::quantity::ByteSize;

/// What a node may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Isolated cores.
    Cores,
    /// CPUs of shared VMs.
    SharedCpus,
    /// Hugepages of a size.
    Hugepages(PageSize),
    /// Ordinary memory.
    Memory,
}

/// What one node lacks for its part of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Host node.
    pub node: u32,
    /// What of.
    pub resource: Resource,
    /// Cores, CPUs, pages, or bytes of ordinary memory that are wanted of it.
    pub wanted: u64,
    /// What is free.
    pub available: u64,
    /// What there is in all.
    pub total: u64,
    /// The most that the VM could ask for as far as this node is concerned: vCPUs, or bytes of memory. 0: nothing.
    pub nearest: u64,
}

impl Shortage {
    /// The field of the VM that asks for it.
    pub const fn field(&self) -> &'static str {
        match self.resource {
            Resource::Cores | Resource::SharedCpus => "cpus",
            Resource::Hugepages(_) | Resource::Memory => "memory",
        }
    }

    fn nearest(&self) -> Option<String> {
        (self.nearest > 0).then(|| match self.resource {
            Resource::Cores | Resource::SharedCpus => cpus(self.nearest),
            Resource::Hugepages(_) | Resource::Memory => memory(self.nearest),
        })
    }
}

fn cpus(cpus: u64) -> String {
    format!("cpus = {cpus}")
}

fn memory(bytes: u64) -> String {
    format!("memory = \"{}\"", ByteSize(bytes))
}

/// Whole MiB: what is left of ordinary memory is a number of bytes that nobody wants to read.
fn mebibytes(bytes: u64) -> ByteSize {
    ByteSize(bytes >> 20 << 20)
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node,
            resource,
            wanted,
            available,
            total,
            ..
        } = self;
        match resource {
            Resource::Cores => write!(
                f,
                "node {node}: isolated cores: {wanted} wanted, {available} free of {total}"
            ),
            Resource::SharedCpus => write!(
                f,
                "node {node}: CPUs for shared VMs: {wanted} wanted, there are {total}"
            ),
            Resource::Hugepages(size) => write!(
                f,
                "node {node}: pages of {size}: {wanted} wanted, {available} free of {total}"
            ),
            Resource::Memory => write!(
                f,
                "node {node}: memory: {} wanted, {} free of {}",
                ByteSize(*wanted),
                mebibytes(*available),
                mebibytes(*total)
            ),
        }
    }
}

/// A VM that cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refused {
    /// The field of the VM that is at fault.
    pub field: &'static str,
    /// Why, in general.
    pub reason: String,
    /// What each node lacks.
    pub shortages: Vec<Shortage>,
    /// Changes of the VM each of which, alone, would give it a place now.
    pub instead: Vec<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        for (index, shortage) in self.shortages.iter().enumerate() {
            write!(f, "{} {shortage}", if index == 0 { ":" } else { ";" })?;
        }
        if self.instead.is_empty() {
            return Ok(());
        }
        write!(f, "; possible: {}", self.instead.join(" or "))
    }
}

impl Refused {
    pub(super) fn at(field: &'static str, reason: impl Into<String>, instead: Option<&str>) -> Self {
        Self {
            field,
            reason: reason.into(),
            shortages: Vec::new(),
            instead: instead.map(str::to_owned).into_iter().collect(),
        }
    }

    /// One by one, for programs.
    pub fn refusals(&self) -> Vec<Refusal> {
        let refusal = |shortage: &Shortage| Refusal {
            key: shortage.field().to_owned(),
            reason: shortage.to_string(),
            nearest: shortage.nearest(),
        };
        self.shortages.iter().map(refusal).collect()
    }
}

/// What `failure` is for people, with alternatives that were tried.
pub(super) fn explain(supply: &Supply, ledger: &Ledger, wish: &Wish, failure: Failure) -> Refused {
    let Failure {
        parts,
        shortages,
        field,
        reason,
    } = failure;
    let reason = reason.unwrap_or_else(|| match parts {
        1 => "no node has room for the VM".to_owned(),
        _ => format!("no {parts} nodes have room for an equal part of the VM each"),
    });
    let field = shortages.first().map_or(field, Shortage::field);
    Refused {
        field,
        reason,
        shortages,
        instead: alternatives(supply, ledger, wish),
    }
}

fn alternatives(supply: &Supply, ledger: &Ledger, wish: &Wish) -> Vec<String> {
    let fits = |wish: &Wish| place(supply, ledger, wish).is_ok();
    let mut found = Vec::new();
    let fewer = (1..wish.cpus).rev().find(|cpus| {
        fits(&Wish {
            cpus: *cpus,
            ..wish.clone()
        })
    });
    found.extend(fewer.map(|fewer| cpus(fewer.into())));
    let less = sizes(supply, ledger, wish).into_iter().find(|memory| {
        fits(&Wish {
            memory: *memory,
            ..wish.clone()
        })
    });
    found.extend(less.map(memory));
    let spread = Wish {
        numa: NumaPolicy::Spread,
        ..wish.clone()
    };
    if wish.numa == NumaPolicy::Single && fits(&spread) {
        found.push("numa = \"spread\"".to_owned());
    }
    let anywhere = Wish {
        nodes: Vec::new(),
        ..wish.clone()
    };
    if !wish.nodes.is_empty() && fits(&anywhere) {
        found.push("any node".to_owned());
    }
    found
}

/// Sizes of memory less than the wanted one that some nodes could just give, the largest first.
fn sizes(supply: &Supply, ledger: &Ledger, wish: &Wish) -> Vec<u64> {
    let step = wish.step();
    let page = wish.page_size();
    let left: Vec<u64> = Free::of(supply, ledger)
        .iter()
        .filter(|free| wish.nodes.is_empty() || wish.nodes.contains(&free.node.id))
        .map(|free| free.bytes(page) / step * step)
        .collect();
    let most = match wish.numa {
        NumaPolicy::Single => 1,
        NumaPolicy::Spread => left.len(),
    };
    let mut sizes: Vec<u64> = left
        .iter()
        .flat_map(|least| (1u64..).take(most).map(|parts| parts.saturating_mul(*least)))
        .filter(|size| *size > 0 && *size < wish.memory)
        .collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes.dedup();
    sizes
}
