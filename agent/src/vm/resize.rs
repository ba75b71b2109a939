//! More and less memory for VMs.
//!
//! ```text
//! asked for more:  place of the new size ─ stored with it ─ VMM asked ─────────────────── guest takes it
//! asked for less:  new size stored ─ VMM asked ─ guest gives back ─ VMM says so ─ place of the new size
//! ```
//!
//! A VM's place is therefore never smaller than what its guest has or may take: the VMM lets it have no more than was asked
//! last. Whatever is lost on the way (an agent that is killed, a VMM that was started anew and knows of nothing) is
//! made up for at the next look at the machine ([`Vms::follow_memory`]).

use axion_api::problem::{Kind, Problem};
use axion_api::vm::Vm;
use axion_api::vmm::{API_SOCKET, MemoryStatus};
use axion_core::placement::resize;
use axion_core::quantity::ByteSize;

use super::admission::{held, ledger, problem};
use super::{Vms, VmsError, control, validate};
use crate::events::unix_us;
use crate::log::chain;

const MIB: u64 = 1 << 20;

impl Vms {
    /// Wants a VM to have `size` of memory in all.
    pub async fn set_memory(&self, name: &str, size: ByteSize) -> Result<Vm, Problem> {
        {
            let _writing = self.writing.lock().await;
            let mut stored = self.existing(name).await?;
            if stored.record.spec.memory_max.is_none() {
                let detail = format!(
                    "the memory of VM `{name}` neither grows nor shrinks; its spec has to have `memory_max`"
                );
                return Err(Problem::new(Kind::Conflict, detail));
            }
            validate::memory_size(&stored.record.spec, size)
                .map_err(|detail| Problem::new(Kind::Invalid, detail).at("/size"))?;
            let units = self.init.units()?;
            if let Some(placement) = held(&stored, &units) {
                let present: u64 = placement.nodes.iter().map(|part| part.memory).sum();
                if size.0 > present {
                    let supply = self.inventory.supply_now().await?;
                    let ledger = ledger(&self.records().await?, &units);
                    let grown = resize(&supply, &ledger, placement, size.0)
                        .map_err(|refused| problem(Kind::InsufficientCapacity, &refused))?;
                    let (more, available) = (size.0 - present, self.inventory.available());
                    if stored.record.spec.hugepages.page_size().is_none() && available < more {
                        return Err(VmsError::NoMemory {
                            wanted: ByteSize(more),
                            available: ByteSize(available / MIB * MIB),
                        }
                        .into());
                    }
                    stored.record.placement = Some(grown);
                }
            }
            stored.record.memory = Some(size);
            stored.record.written_unix_us = unix_us();
            self.write(&stored).await?;
        }
        // The VMM is asked, and what it says of it is there for the answer.
        self.look_at(name).await;
        self.get(name).await
    }

    /// What the VMM of a VM says of its memory: asks it for what is wanted, where that is something else, and frees what the
    /// guest has given back.
    pub(super) async fn follow_memory(&self, name: &str, memory: MemoryStatus) {
        if let Err(error) = self.settle_memory(name, memory).await {
            tracing::warn!("memory of VM {name}: {}", chain(&error));
        }
    }

    async fn settle_memory(&self, name: &str, memory: MemoryStatus) -> Result<(), VmsError> {
        let Some(stored) = self.record(name).await? else {
            return Ok(());
        };
        let wanted = stored.record.wanted_memory().0;
        if memory.requested != wanted {
            let asked = control::set_memory(self.socket(name, API_SOCKET), wanted);
            if let Err(error) = self.reach(name, asked).await {
                // It is asked again when it is looked at again.
                tracing::warn!("memory of VM {name}: {}", chain(&error));
            }
            return Ok(());
        }
        let reserved = |stored: &super::record::Stored| {
            let placement = stored.record.placement.as_ref()?;
            match placement.nodes.as_slice() {
                [part] if part.memory > wanted => Some(part.memory),
                _ => None,
            }
        };
        if memory.present > wanted || reserved(&stored).is_none() {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        // What was read before may be another one by now; then there is another look.
        if self.record(name).await?.as_ref() != Some(&stored) {
            return Ok(());
        }
        let mut stored = stored;
        if let Some([part]) = stored
            .record
            .placement
            .as_mut()
            .map(|place| place.nodes.as_mut_slice())
        {
            part.memory = wanted;
        }
        self.write(&stored).await?;
        Ok(())
    }
}
