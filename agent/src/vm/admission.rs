//! Who has what of the node, and whether one more VM fits.
//!
//! A VM has its place **from the request to start it until it is off**: while its goal is to run, or while it has a unit.
//! A stopped VM holds nothing, so that more can be defined than run at once; one that restarts by itself, is paused, or is
//! on its way down still has everything. The place is chosen and stored with the goal in one write, before anything is
//! started, and `writing` is held from the look at the others' places until then: two starts never get the same.
//!
//! There is no ledger that is kept: it is made of the records and the units whenever it is asked for, so an agent that was
//! killed has the same one afterwards. A VM that is to be started on a machine that has changed since (another boot profile,
//! fewer hugepages) is placed anew, or waits and says what is missing.

use axion_api::capacity::{Capacity, NodeCapacity, PoolCapacity, Reservation};
use axion_api::problem::{Kind, Problem};
use axion_api::vm::VmSpec;
use axion_core::placement::{self, Core, Free, Ledger, Placement, Refused, Supply, Wish, holds};
use axion_core::quantity::ByteSize;
use axion_core::topology::CpuSet;

use super::record::{Goal, Stored, unit_name};
use super::{Vms, VmsError};
use crate::init::Units;

const MIB: u64 = 1 << 20;

/// What a VM of this spec with so much memory asks of the planner.
pub fn wish(spec: &VmSpec, memory: ByteSize) -> Wish {
    Wish {
        class: spec.class,
        cpus: spec.cpus,
        threads: spec.threads,
        memory: memory.0,
        hugepages: spec.hugepages.page_size(),
        numa: spec.numa,
        nodes: spec.nodes.clone(),
    }
}

/// The place that a VM has.
pub fn held<'a>(stored: &'a Stored, units: &Units) -> Option<&'a Placement> {
    let has = stored.record.goal == Goal::Run || units.contains_key(&unit_name(&stored.name));
    stored.record.placement.as_ref().filter(|_| has)
}

/// The places that VMs have.
pub fn ledger(records: &[Stored], units: &Units) -> Ledger {
    records
        .iter()
        .filter_map(|stored| Some((stored.name.clone(), held(stored, units)?.clone())))
        .collect()
}

/// A place that cannot be had, as an answer.
pub fn problem(kind: Kind, refused: &Refused) -> Problem {
    Problem {
        refusals: refused.refusals().into(),
        ..Problem::new(kind, refused.to_string()).at(format!("/{}", refused.field))
    }
}

impl Vms {
    /// Checks that a VM of this spec could be placed if nobody else had anything.
    pub(super) async fn can_be(&self, spec: &VmSpec) -> Result<(), Problem> {
        let supply = self.inventory.supply().await?.at_rest();
        let fits = |memory| placement::plan(&supply, &Ledger::default(), &wish(spec, memory)).map(drop);
        fits(spec.memory).map_err(|refused| problem(Kind::Invalid, &refused))?;
        let most = spec.memory_max.unwrap_or(spec.memory);
        fits(most).map_err(|refused| Problem {
            pointer: Some("/memory_max".to_owned()),
            ..problem(Kind::Invalid, &refused)
        })
    }

    /// Where a VM goes that is to be started: where it was to be, if that still is to be had, or else a new place. With
    /// `writing` held.
    pub(super) async fn place(&self, stored: &Stored) -> Result<Placement, VmsError> {
        let spec = &stored.record.spec;
        let supply = self.inventory.supply_now().await.map_err(VmsError::Node)?;
        let mut ledger = ledger(&self.records().await?, &*self.init.units()?);
        let own = ledger.release(&stored.name);
        let memory = stored.record.wanted_memory();
        let wish = wish(spec, memory);
        let placement = match own.filter(|own| holds(&supply, &ledger, &wish, own)) {
            Some(own) => own,
            None => placement::plan(&supply, &ledger, &wish).map_err(|e| VmsError::NoPlace(Box::new(e)))?,
        };
        let available = self.inventory.available();
        if wish.hugepages.is_none() && available < wish.memory {
            return Err(VmsError::NoMemory {
                wanted: memory,
                available: ByteSize(available / MIB * MIB),
            });
        }
        Ok(placement)
    }

    /// What the node has for VMs, and who has it.
    pub async fn capacity(&self) -> Result<Capacity, Problem> {
        let supply = self.inventory.supply().await?;
        let ledger = ledger(&self.records().await?, &*self.init.units()?);
        Ok(capacity(&supply, &ledger))
    }
}

/// What `supply` has and `ledger` leaves of it.
fn capacity(supply: &Supply, ledger: &Ledger) -> Capacity {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let node = |free: Free<'_>| {
        let node = free.node;
        let pools = node.pools.iter().map(|pool| PoolCapacity {
            page_size: pool.page_size,
            total: pool.total,
            reserved: ledger.memory(node.id, pool.page_size) / pool.page_size.max(1),
            free: free.bytes(pool.page_size) / pool.page_size.max(1),
        });
        NodeCapacity {
            node: node.id,
            shared_cpus: node.shared.clone(),
            shared_vcpus: count(free.shared_vcpus),
            dedicated_cpus: threads(&node.cores),
            dedicated_free: threads(free.cores.iter().copied()),
            cores: count(node.cores.len()),
            cores_free: count(free.cores.len()),
            memory: node.memory,
            memory_free: free.memory,
            hugepages: pools.collect(),
        }
    };
    Capacity {
        host_cpus: supply.host.clone(),
        nodes: Free::of(supply, ledger).into_iter().map(node).collect(),
        reservations: ledger
            .iter()
            .map(|(vm, placement)| Reservation {
                vm: vm.to_owned(),
                placement: placement.clone(),
            })
            .collect(),
    }
}

fn threads<'a>(cores: impl IntoIterator<Item = &'a Core>) -> CpuSet {
    cores.into_iter().flat_map(|core| core.threads.iter()).collect()
}
