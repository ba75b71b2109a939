//! Virtual machines.
//!
//! ```text
//!  PUT, start, stop, DELETE                      signals, ListUnits
//!        |                                               |
//!        v            watch                              v
//!     [store] -----------------> [reconcile] <-------- [init]
//!   desired state                 plan, act -----------> transient units
//! ```
//!
//! A request is checked ([`validate`]), stored and answered; [`reconcile`] does the rest. [`Vms`] is what the routes
//! call; it writes records and never touches a process, except for what a guest does not notice as a start or a stop:
//! `reset`, `pause`, `resume`. Where a VM goes is decided before it is stored as one that is to run ([`admission`]); what its
//! place, its disks and its networks become for the VMM and for init in [`placed`] and [`devices`], which of these may not
//! be deleted in [`uses`]; [`machines`] watches what VMMs say of themselves, [`kernel`] knows what the kernel says of them,
//! [`resize`] has memory grow and shrink.

pub mod admission;
pub mod control;
mod devices;
mod kernel;
pub mod machines;
mod placed;
pub mod plan;
pub mod reconcile;
pub mod record;
mod resize;
pub mod stats;
mod uses;
pub mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axion_api::init::UnitState;
use axion_api::problem::{Kind, Problem};
use axion_api::vm::{Vm, VmSpec, VmState};
use axion_api::vmm::{API_SOCKET, CONSOLE_SOCKET, VSOCK_SOCKET};
use axion_core::placement::Refused;
use axion_core::quantity::ByteSize;

use self::control::{Command, ControlError, Socket};
use self::machines::Machines;
use self::record::{Goal, Record, RecordError, Stored, key, unit_name};
use crate::events::{Events, unix_us};
use crate::host::Inventory;
use crate::images::Images;
use crate::init::{Init, InitError, Units};
use crate::log::chain;
use crate::networks::{Networks, NetworksError};
use crate::store::{Expect, Precondition, Store, StoreError};
use crate::volumes::{Volumes, VolumesError};

/// How long `DELETE ?force=true` waits for the VMM to end.
const DELETE_WAIT: Duration = Duration::from_secs(20);
/// How long a request waits for the end of the run before to be recorded.
const RECORD_WAIT: Duration = Duration::from_secs(5);

/// Why something cannot be done to a VM, for its own reasons.
#[derive(Debug, thiserror::Error)]
pub enum VmsError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Init.
    #[error(transparent)]
    Init(#[from] InitError),
    /// The VMM's config file.
    #[error("cannot write the VMM's config")]
    Config(#[source] serde_json::Error),
    /// A network.
    #[error(transparent)]
    Network(#[from] NetworksError),
    /// The volumes.
    #[error(transparent)]
    Volumes(#[from] VolumesError),
    /// A volume that was there when the VM was made.
    #[error("there is no volume `{0}`")]
    NoVolume(String),
    /// A place for the VM.
    #[error(transparent)]
    NoPlace(Box<Refused>),
    /// Ordinary memory that was to be free and is in use.
    #[error("the VM needs {wanted} of memory; {available} are free")]
    NoMemory {
        /// What is needed.
        wanted: ByteSize,
        /// What a new process could get.
        available: ByteSize,
    },
    /// What the node is made of.
    #[error("{}", .0.detail)]
    Node(Problem),
    /// Its VMM cannot do it at the moment.
    #[error("{0}")]
    NotYet(String),
    /// What cloud-init is told.
    #[error("cannot make the disk for cloud-init")]
    Seed(#[source] std::io::Error),
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let kind = match error {
            StoreError::Conflict { .. } => Kind::Conflict,
            StoreError::Engine { .. } => Kind::Internal,
        };
        Self::new(kind, chain(&error))
    }
}

impl From<InitError> for Problem {
    fn from(error: InitError) -> Self {
        let kind = match error {
            InitError::Disconnected | InitError::Timeout => Kind::Unavailable,
            InitError::NoSuchUnit(_) => Kind::NotFound,
            InitError::Exists(_) | InitError::Refused(_) => Kind::Conflict,
            InitError::Failed(_) => Kind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<VmsError> for Problem {
    fn from(error: VmsError) -> Self {
        match error {
            VmsError::Store(error) => error.into(),
            VmsError::Init(error) => error.into(),
            VmsError::Network(error) => error.into(),
            VmsError::Volumes(error) => error.into(),
            VmsError::NoVolume(_) | VmsError::NotYet(_) => Self::new(Kind::Conflict, error.to_string()),
            VmsError::NoPlace(refused) => admission::problem(Kind::InsufficientCapacity, &refused),
            VmsError::NoMemory { .. } => {
                Self::new(Kind::InsufficientCapacity, error.to_string()).at("/memory")
            }
            VmsError::Node(problem) => problem,
            VmsError::Record(_) | VmsError::Config(_) | VmsError::Seed(_) => {
                Self::new(Kind::Internal, chain(&error))
            }
        }
    }
}

impl From<ControlError> for Problem {
    fn from(error: ControlError) -> Self {
        match &error {
            ControlError::Refused { status, body } if status.is_client_error() => {
                let said = serde_json::from_str::<Problem>(body);
                Self::new(
                    Kind::Conflict,
                    said.map_or_else(|_| body.clone(), |said| said.detail),
                )
            }
            _ => Self::new(Kind::Unavailable, chain(&error)),
        }
    }
}

/// What VMs are made of.
pub struct Parts {
    /// Desired state.
    pub store: Arc<dyn Store>,
    /// The line to PID 1.
    pub init: Arc<Init>,
    /// What they boot from.
    pub images: Arc<Images>,
    /// Their disks.
    pub volumes: Arc<Volumes>,
    /// What connects them.
    pub networks: Arc<Networks>,
    /// What changed.
    pub events: Arc<Events>,
    /// What the node is.
    pub inventory: Arc<Inventory>,
    /// Their run directories.
    pub vms_run: PathBuf,
}

/// The VMs of a node.
pub struct Vms {
    store: Arc<dyn Store>,
    init: Arc<Init>,
    images: Arc<Images>,
    volumes: Arc<Volumes>,
    networks: Arc<Networks>,
    events: Arc<Events>,
    inventory: Arc<Inventory>,
    vms_run: PathBuf,
    machines: Machines,
    /// Held from the reading of what a write relies on (the record, free slots, images, volumes, networks, units) until
    /// the write.
    writing: tokio::sync::Mutex<()>,
    start_errors: Mutex<BTreeMap<String, String>>,
}

impl Vms {
    /// The VMs made of `parts`.
    pub fn new(parts: Parts) -> Self {
        Self {
            store: parts.store,
            init: parts.init,
            images: parts.images,
            volumes: parts.volumes,
            networks: parts.networks,
            events: parts.events,
            inventory: parts.inventory,
            vms_run: parts.vms_run,
            machines: Machines::default(),
            writing: tokio::sync::Mutex::default(),
            start_errors: Mutex::default(),
        }
    }

    fn run_directory(&self, name: &str) -> PathBuf {
        self.vms_run.join(name)
    }

    fn set_start_error(&self, name: &str, error: Option<String>) {
        let mut errors = self.start_errors.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => errors.insert(name.to_owned(), error),
            None => errors.remove(name),
        };
    }

    fn view(&self, stored: &Stored, units: &Units) -> Vm {
        let errors = self.start_errors.lock().unwrap_or_else(PoisonError::into_inner);
        let unit = units.get(&unit_name(&stored.name));
        let machine = unit
            .and_then(|unit| unit.status.pid)
            .and_then(|pid| self.machines.get(&stored.name, pid));
        stored.view(
            unit,
            errors.get(&stored.name).map(String::as_str),
            machine.as_ref(),
        )
    }

    async fn records(&self) -> Result<Vec<Stored>, VmsError> {
        let entries = self.store.list(record::PREFIX).await?;
        Ok(entries
            .into_iter()
            .map(Stored::try_from)
            .collect::<Result<_, _>>()?)
    }

    async fn record(&self, name: &str) -> Result<Option<Stored>, VmsError> {
        Ok(self
            .store
            .get(&key(name))
            .await?
            .map(Stored::try_from)
            .transpose()?)
    }

    /// Writes a record over the revision that it was read with; 0: there is none yet. Answers the new revision.
    async fn write(&self, stored: &Stored) -> Result<u64, VmsError> {
        let expect = if stored.revision == 0 {
            Expect::Absent
        } else {
            Expect::Revision(stored.revision)
        };
        let value = serde_json::to_vec(&stored.record).map_err(VmsError::Config)?;
        Ok(self.store.put(&key(&stored.name), value, expect).await?)
    }

    async fn existing(&self, name: &str) -> Result<Stored, Problem> {
        validate::name(name)?;
        self.record(name).await?.ok_or_else(|| {
            let detail =
                format!("there is no VM `{name}`; GET /v1/vms lists them, PUT /v1/vms/{name} creates it");
            Problem::new(Kind::NotFound, detail)
        })
    }

    /// Every VM, by name.
    pub async fn list(&self) -> Result<Vec<Vm>, Problem> {
        let units = self.init.units()?;
        Ok(self
            .records()
            .await?
            .iter()
            .map(|stored| self.view(stored, &units))
            .collect())
    }

    /// One VM.
    pub async fn get(&self, name: &str) -> Result<Vm, Problem> {
        let stored = self.existing(name).await?;
        Ok(self.view(&stored, &*self.init.units()?))
    }

    /// Creates a VM, or replaces the spec of one that is off. Answers it and whether it is new.
    pub async fn put(
        &self,
        name: &str,
        spec: VmSpec,
        condition: &Precondition,
    ) -> Result<(Vm, bool), Problem> {
        validate::name(name)?;
        validate::spec(&spec)?;
        self.can_be(&spec).await?;
        self.wait_until_recorded(name).await?;
        let _writing = self.writing.lock().await;
        let units = self.init.units()?;
        let found = self.record(name).await?;
        condition.check("VM", name, found.as_ref().map(|stored| stored.revision))?;
        self.parts_exist(name, &spec).await?;
        let unit = units.get(&unit_name(name));
        let mut stored = match found {
            // The same again is done already.
            Some(stored) if stored.record.spec == spec => return Ok((self.view(&stored, &units), false)),
            Some(stored) if unit.is_some() || stored.record.goal == Goal::Run => {
                let state = self.view(&stored, &units).status.state;
                let detail = format!("VM `{name}` is {state}; its spec can be replaced when it is stopped");
                return Err(Problem::new(Kind::Conflict, detail));
            }
            Some(mut stored) => {
                stored.record.macs = self.macs(name, &spec).await?;
                stored.record.spec = spec;
                stored.record.memory = None;
                stored.record.placement = None;
                stored
            }
            None if unit.is_some() => {
                let detail = format!(
                    "unit `{}` runs without a record; choose another name",
                    unit_name(name)
                );
                return Err(Problem::new(Kind::Conflict, detail));
            }
            None => Stored {
                name: name.to_owned(),
                revision: 0,
                record: self.new_record(name, spec).await?,
            },
        };
        let new = stored.revision == 0;
        stored.record.written_unix_us = unix_us();
        stored.revision = self.write(&stored).await?;
        Ok((self.view(&stored, &units), new))
    }

    async fn new_record(&self, name: &str, spec: VmSpec) -> Result<Record, Problem> {
        let records = self.records().await?;
        let taken = |slot: &u32| records.iter().any(|stored| stored.record.slot == *slot);
        // One more than there are records, so that one is free.
        let slot = (0..=u32::try_from(records.len()).unwrap_or(u32::MAX)).find(|slot| !taken(slot));
        let slot = slot.ok_or_else(|| Problem::new(Kind::InsufficientCapacity, "there are too many VMs"))?;
        Ok(Record {
            macs: self.macs(name, &spec).await?,
            spec,
            goal: Goal::PowerOff,
            slot,
            memory: None,
            placement: None,
            end: None,
            written_unix_us: unix_us(),
        })
    }

    /// Wants a VM to run.
    pub async fn start(&self, name: &str) -> Result<Vm, Problem> {
        self.wait_until_recorded(name).await?;
        let _writing = self.writing.lock().await;
        let mut stored = self.existing(name).await?;
        let units = self.init.units()?;
        if stored.record.goal == Goal::Run {
            return Ok(self.view(&stored, &units));
        }
        if units.contains_key(&unit_name(name)) {
            let detail = format!("VM `{name}` is on its way down; start it when it is stopped");
            return Err(Problem::new(Kind::Conflict, detail));
        }
        self.parts_exist(name, &stored.record.spec).await?;
        stored.record.placement = Some(self.place(&stored).await?);
        self.set_start_error(name, None);
        stored.record.goal = Goal::Run;
        stored.record.end = None;
        stored.record.written_unix_us = unix_us();
        stored.revision = self.write(&stored).await?;
        Ok(self.view(&stored, &units))
    }

    /// Wants a VM to be off: by its power button, or by cutting its power. Asked again, it is pressed again.
    pub async fn stop(&self, name: &str, force: bool) -> Result<Vm, Problem> {
        let _writing = self.writing.lock().await;
        let mut stored = self.existing(name).await?;
        let units = self.init.units()?;
        if stored.record.goal != Goal::Run && !units.contains_key(&unit_name(name)) {
            return Ok(self.view(&stored, &units));
        }
        if !force && self.view(&stored, &units).status.state == VmState::Paused {
            let detail = format!(
                "VM `{name}` is paused and cannot hear its power button; resume it first, or stop it with force"
            );
            return Err(Problem::new(Kind::Conflict, detail));
        }
        // A cut is not taken back by a later, gentler request.
        let cut = force || stored.record.goal == Goal::Cut;
        stored.record.goal = if cut { Goal::Cut } else { Goal::PowerOff };
        stored.record.written_unix_us = unix_us();
        stored.revision = self.write(&stored).await?;
        Ok(self.view(&stored, &units))
    }

    /// Presses the reset button.
    pub async fn reset(&self, name: &str) -> Result<Vm, Problem> {
        self.command(name, Command::Reset).await
    }

    /// Has the guest stand still.
    pub async fn pause(&self, name: &str) -> Result<Vm, Problem> {
        self.command(name, Command::Pause).await
    }

    /// Has the guest go on.
    pub async fn resume(&self, name: &str) -> Result<Vm, Problem> {
        self.command(name, Command::Resume).await
    }

    async fn command(&self, name: &str, command: Command) -> Result<Vm, Problem> {
        let vm = self.get(name).await?;
        self.must_run(&vm)?;
        let sent = control::send(self.socket(name, API_SOCKET), command);
        self.reach(name, sent).await?;
        self.look_at(name).await;
        self.get(name).await
    }

    /// The console socket of a VM that runs.
    pub async fn console(&self, name: &str) -> Result<Socket, Problem> {
        let vm = self.get(name).await?;
        self.must_run(&vm)?;
        Ok(self.socket(name, CONSOLE_SOCKET))
    }

    /// Asks a guest for `size` of its memory, until its next start.
    pub async fn set_balloon(&self, name: &str, size: ByteSize) -> Result<Vm, Problem> {
        let vm = self.get(name).await?;
        self.must_run(&vm)?;
        if vm.spec.balloon.is_none() {
            let detail = format!("VM `{name}` has no balloon; its spec has to have one");
            return Err(Problem::new(Kind::Conflict, detail));
        }
        validate::devices::balloon_size(&vm.spec, size)
            .map_err(|detail| Problem::new(Kind::Invalid, detail).at("/size"))?;
        let asked = control::set_balloon(self.socket(name, API_SOCKET), size.0);
        self.reach(name, asked).await?;
        Ok(vm)
    }

    /// Where clients of the guest's ports connect, for a VM that runs and has them.
    pub async fn vsock(&self, name: &str) -> Result<Socket, Problem> {
        let vm = self.get(name).await?;
        self.must_run(&vm)?;
        if vm.spec.vsock.is_none() {
            let detail = format!("VM `{name}` has no socket device; its spec has to have a `vsock`");
            return Err(Problem::new(Kind::Conflict, detail));
        }
        Ok(self.socket(name, VSOCK_SOCKET))
    }

    fn must_run(&self, vm: &Vm) -> Result<(), Problem> {
        if vm.status.pid.is_some() {
            return Ok(());
        }
        let detail = format!("VM `{}` is {}; it must run for that", vm.name, vm.status.state);
        Err(Problem::new(Kind::Conflict, detail))
    }

    /// Deletes a VM that is off, or, with `force`, cuts its power first.
    pub async fn delete(&self, name: &str, condition: &Precondition, force: bool) -> Result<(), Problem> {
        condition.check("VM", name, Some(self.existing(name).await?.revision))?;
        if force {
            self.stop(name, true).await?;
            let down = tokio::time::timeout(DELETE_WAIT, self.wait_until_off(name)).await;
            down.map_err(|_| {
                let detail = format!("VM `{name}` did not end within {} s", DELETE_WAIT.as_secs());
                Problem::new(Kind::Unavailable, detail)
            })??;
        }
        self.wait_until_recorded(name).await?;
        let _writing = self.writing.lock().await;
        let stored = self.existing(name).await?;
        let units = self.init.units()?;
        if !Self::is_off(&stored, &units) {
            let state = self.view(&stored, &units).status.state;
            let detail = format!("VM `{name}` is {state}; stop it first, or delete it with ?force=true");
            return Err(Problem::new(Kind::Conflict, detail));
        }
        Ok(self.store.delete(&key(name), stored.revision).await?)
    }

    /// Whether a VM has no unit, and none is to come.
    fn is_off(stored: &Stored, units: &Units) -> bool {
        stored.record.goal != Goal::Run && !units.contains_key(&unit_name(&stored.name))
    }

    async fn wait_until_off(&self, name: &str) -> Result<(), Problem> {
        self.wait_until(name, Self::is_off).await
    }

    /// Waits, for a short time only, until the end of a run that has ended is recorded and its unit gone: clients see that
    /// the VM is off before that, and may go on at once.
    async fn wait_until_recorded(&self, name: &str) -> Result<(), Problem> {
        let ended = |units: &Units| {
            let unit = units.get(&unit_name(name));
            unit.is_some_and(|unit| matches!(unit.status.state, UnitState::Inactive | UnitState::Failed))
        };
        let recorded = self.wait_until(name, |_, units| !ended(units));
        // What follows says why it cannot be done, if so.
        tokio::time::timeout(RECORD_WAIT, recorded)
            .await
            .unwrap_or(Ok(()))
    }

    /// Waits until a VM is as wished, or is no more.
    async fn wait_until(&self, name: &str, wish: impl Fn(&Stored, &Units) -> bool) -> Result<(), Problem> {
        let (mut records, mut units) = (self.store.watch(), self.init.watch());
        loop {
            records.borrow_and_update();
            units.borrow_and_update();
            match self.record(name).await? {
                Some(stored) if !wish(&stored, &*self.init.units()?) => {}
                _ => return Ok(()),
            }
            tokio::select! {
                _ = records.changed() => {}
                _ = units.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
