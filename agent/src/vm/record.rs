//! What the store keeps of a VM, and what clients are shown of it.

use axion_api::init::UnitState;
use axion_api::vm::{DesiredState, Pause, Vm, VmMemory, VmNetStatus, VmSpec, VmState, VmStatus};
use axion_api::vmm::{MachineState, PauseReason};
use axion_core::placement::Placement;
use axion_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};

use super::devices::tap_name;
use super::machines::Machine;
use super::plan::failure;
use crate::init::Unit;
use crate::store::{Entry, kept};

/// Keys of VM records start with this.
pub const PREFIX: &str = "vms/";

/// A VM as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What was asked for.
    pub spec: VmSpec,
    /// Where the VM is to be brought.
    pub goal: Goal,
    /// The VMM's user is `UID_VM_BASE` + slot; no two VMs share one.
    pub slot: u32,
    /// MAC addresses of the interfaces, as in the spec.
    #[serde(default)]
    pub macs: Vec<String>,
    /// Memory that it is to have in all, where that is not `spec.memory`.
    #[serde(default)]
    pub memory: Option<ByteSize>,
    /// Where the VM was last placed. It has the place only while it is to run or has a unit.
    #[serde(default)]
    pub placement: Option<Placement>,
    /// How the last run ended.
    pub end: Option<End>,
    /// When the record was written, microseconds since 1970.
    pub written_unix_us: u64,
}

/// Where a VM is to be brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// It runs.
    Run,
    /// It is off, by its power button.
    PowerOff,
    /// It is off, by cutting its power.
    Cut,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// For people: `guest powered off`.
    pub why: String,
    /// The VMM ended with an error.
    pub failed: bool,
    /// Microseconds since 1970.
    pub unix_us: u64,
}

/// A record that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the record `{key}` in the store cannot be read")]
pub struct RecordError {
    key: String,
    source: serde_json::Error,
}

/// A VM's record and where it is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Name of the VM.
    pub name: String,
    /// Revision of the record.
    pub revision: u64,
    /// The record.
    pub record: Record,
}

/// Key of a VM's record.
pub fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// Name of the unit that a VM runs as.
pub fn unit_name(name: &str) -> String {
    format!("vm-{name}")
}

impl TryFrom<Entry> for Stored {
    type Error = RecordError;

    fn try_from(entry: Entry) -> Result<Self, RecordError> {
        let name = entry.key.strip_prefix(PREFIX).unwrap_or(&entry.key).to_owned();
        let record = kept::read(&entry.key, &entry.value);
        let record = record.map_err(|source| RecordError {
            key: entry.key,
            source,
        })?;
        Ok(Self {
            name,
            revision: entry.revision,
            record,
        })
    }
}

impl Stored {
    /// The VM for clients: its record, its unit, why it could not be started, where it could not, and what its VMM said.
    pub fn view(&self, unit: Option<&Unit>, start_error: Option<&str>, machine: Option<&Machine>) -> Vm {
        let desired = match self.record.goal {
            Goal::Run => DesiredState::Running,
            Goal::PowerOff | Goal::Cut => DesiredState::Stopped,
        };
        Vm {
            name: self.name.clone(),
            revision: self.revision,
            spec: self.record.spec.clone(),
            desired,
            status: self.record.status(unit, start_error, machine),
        }
    }
}

impl Record {
    fn status(&self, unit: Option<&Unit>, start_error: Option<&str>, machine: Option<&Machine>) -> VmStatus {
        let Some(Unit { status: unit, .. }) = unit else {
            return self.status_without_unit(start_error);
        };
        let paused = machine.filter(|machine| machine.status.state == MachineState::Paused);
        let state = match (unit.state, self.goal) {
            (UnitState::Running, Goal::Run) if paused.is_some() => VmState::Paused,
            (UnitState::Running, Goal::Run) if machine.is_some_and(Machine::has_run) => VmState::Running,
            // There is a process; whether it comes to a guest is not known yet.
            (UnitState::Running, Goal::Run) => VmState::Starting,
            (UnitState::Running, _) | (UnitState::Stopping, _) => VmState::Stopping,
            (UnitState::BackOff | UnitState::Failed, _) => VmState::Failed,
            // It has stopped once it is known why.
            (UnitState::Inactive, _) if self.end.is_none() => VmState::Stopping,
            (UnitState::Inactive, _) => VmState::Stopped,
        };
        let exit = match unit.state {
            _ if state == VmState::Stopping => None,
            UnitState::Running | UnitState::Stopping => None,
            UnitState::BackOff => Some(failure(unit)),
            UnitState::Inactive | UnitState::Failed => match &self.end {
                Some(end) => Some(end.why.clone()),
                None if unit.state == UnitState::Failed => Some(failure(unit)),
                None => unit.exit.clone(),
            },
        };
        let paused = paused.filter(|_| state == VmState::Paused);
        VmStatus {
            state,
            pid: unit.pid,
            since_unix_us: paused.map_or(unit.since_unix_us, |machine| machine.since_unix_us),
            exit,
            pause: paused.map(|machine| self.pause(machine)),
            nets: self.nets(),
            memory: self.memory_status(machine),
            placement: self.placement.clone(),
            in_force: machine.and_then(|machine| machine.status.in_force.clone()),
            resets: machine.map(|machine| machine.status.reset_causes),
        }
    }

    fn pause(&self, machine: &Machine) -> Pause {
        match &machine.status.pause_reason {
            Some(PauseReason::DiskFull { disk, .. }) => Pause::DiskFull {
                disk: u32::try_from(*disk).unwrap_or(u32::MAX),
                volume: self.spec.disks.get(*disk).and_then(|disk| disk.volume.clone()),
            },
            Some(PauseReason::Request) | None => Pause::Request,
        }
    }

    /// Memory that it is to have in all.
    pub fn wanted_memory(&self) -> ByteSize {
        self.memory.unwrap_or(self.spec.memory)
    }

    fn memory_status(&self, machine: Option<&Machine>) -> Option<VmMemory> {
        Some(VmMemory {
            wanted: self.wanted_memory(),
            present: machine
                .and_then(|machine| machine.status.memory)
                .map(|memory| ByteSize(memory.present)),
            block: self.spec.memory_block()?,
        })
    }

    fn nets(&self) -> Vec<VmNetStatus> {
        let nets = self.spec.nets.iter().zip(&self.macs).enumerate();
        nets.map(|(index, (net, mac))| VmNetStatus {
            network: net.network.clone(),
            mac: mac.clone(),
            tap: tap_name(self.slot, index),
        })
        .collect()
    }

    fn status_without_unit(&self, start_error: Option<&str>) -> VmStatus {
        let ended = self.end.as_ref();
        let (state, exit) = match (self.goal, start_error) {
            (Goal::Run, Some(error)) => (VmState::Failed, Some(error.to_owned())),
            (Goal::Run, None) => (VmState::Starting, None),
            _ if ended.is_some_and(|end| end.failed) => (VmState::Failed, ended.map(|end| end.why.clone())),
            _ => (VmState::Stopped, ended.map(|end| end.why.clone())),
        };
        let since_unix_us = match ended {
            Some(end) if self.goal != Goal::Run => end.unix_us,
            _ => self.written_unix_us,
        };
        VmStatus {
            state,
            pid: None,
            since_unix_us,
            exit,
            pause: None,
            nets: self.nets(),
            memory: self.memory_status(None),
            placement: self.placement.clone().filter(|_| self.goal == Goal::Run),
            in_force: None,
            resets: None,
        }
    }
}
