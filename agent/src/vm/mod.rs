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
//! call; it writes records and never touches a process, except to press `reset`.

pub mod control;
pub mod plan;
pub mod reconcile;
pub mod record;
pub mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::vm::{Vm, VmSpec};
use axion_api::vmm::{API_SOCKET, CONSOLE_SOCKET};

use self::record::{Goal, Record, RecordError, Stored, key, unit_name};
use crate::events::{Events, unix_us};
use crate::host::Inventory;
use crate::images::{Digest, Images};
use crate::init::{Init, InitError, Units};
use crate::log::chain;
use crate::store::{Expect, Store, StoreError};

/// How long `DELETE ?force=true` waits for the VMM to end.
const DELETE_WAIT: Duration = Duration::from_secs(20);

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
            VmsError::Record(_) | VmsError::Config(_) => Self::new(Kind::Internal, chain(&error)),
        }
    }
}

/// What a writer requires of the present revision (RFC 9110 §13.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// `If-None-Match: *`: there is no such VM.
    Absent,
    /// `If-Match: *`: there is one.
    Present,
    /// `If-Match: "REVISION"`.
    Revision(u64),
}

impl Precondition {
    fn check(&self, name: &str, found: Option<u64>) -> Result<(), Problem> {
        let holds = match self {
            Self::None => true,
            Self::Absent => found.is_none(),
            Self::Present => found.is_some(),
            Self::Revision(revision) => found == Some(*revision),
        };
        if holds {
            return Ok(());
        }
        let there = match found {
            Some(revision) => format!("VM `{name}` has revision {revision}"),
            None => format!("there is no VM `{name}`"),
        };
        let wanted = match self {
            Self::Absent => "the request wants it absent (If-None-Match: *)".to_owned(),
            Self::Revision(revision) => format!("the request is for revision {revision} (If-Match)"),
            _ => "the request wants it present (If-Match: *)".to_owned(),
        };
        Err(Problem::new(
            Kind::PreconditionFailed,
            format!("{there}; {wanted}"),
        ))
    }
}

/// The VMs of a node.
pub struct Vms {
    store: Arc<dyn Store>,
    init: Arc<Init>,
    images: Arc<Images>,
    events: Arc<Events>,
    inventory: Arc<Inventory>,
    vms_run: PathBuf,
    /// Held from the reading of what a write relies on (the record, free slots, images, units) until the write.
    writing: tokio::sync::Mutex<()>,
    start_errors: Mutex<BTreeMap<String, String>>,
}

impl Vms {
    /// The VMs whose run directories are in `vms_run`.
    pub fn new(
        store: Arc<dyn Store>,
        init: Arc<Init>,
        images: Arc<Images>,
        events: Arc<Events>,
        inventory: Arc<Inventory>,
        vms_run: PathBuf,
    ) -> Self {
        Self {
            store,
            init,
            images,
            events,
            inventory,
            vms_run,
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
        stored.view(
            units.get(&unit_name(&stored.name)),
            errors.get(&stored.name).map(String::as_str),
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
        validate::spec(&spec, &self.inventory.limits().await)?;
        let _writing = self.writing.lock().await;
        let units = self.init.units()?;
        let found = self.record(name).await?;
        condition.check(name, found.as_ref().map(|stored| stored.revision))?;
        self.images_exist(&spec).await?;
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
                stored.record.spec = spec;
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
                record: self.new_record(spec).await?,
            },
        };
        let new = stored.revision == 0;
        stored.record.written_unix_us = unix_us();
        stored.revision = self.write(&stored).await?;
        Ok((self.view(&stored, &units), new))
    }

    async fn new_record(&self, spec: VmSpec) -> Result<Record, Problem> {
        let records = self.records().await?;
        let taken = |slot: &u32| records.iter().any(|stored| stored.record.slot == *slot);
        // One more than there are records, so that one is free.
        let slot = (0..=u32::try_from(records.len()).unwrap_or(u32::MAX)).find(|slot| !taken(slot));
        let slot = slot.ok_or_else(|| Problem::new(Kind::InsufficientCapacity, "there are too many VMs"))?;
        Ok(Record {
            spec,
            goal: Goal::PowerOff,
            slot,
            end: None,
            written_unix_us: unix_us(),
        })
    }

    async fn images_exist(&self, spec: &VmSpec) -> Result<(), Problem> {
        for (pointer, image) in [
            ("/boot/kernel", &spec.boot.kernel),
            ("/boot/initrd", &spec.boot.initrd),
        ] {
            if let Ok(digest) = image.0.parse::<Digest>()
                && !self.images.contains(digest).await
            {
                let detail = format!("there is no image {digest}; upload it with PUT /v1/images/{digest}");
                return Err(Problem::new(Kind::Invalid, detail).at(pointer));
            }
        }
        Ok(())
    }

    /// Wants a VM to run.
    pub async fn start(&self, name: &str) -> Result<Vm, Problem> {
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
        self.images_exist(&stored.record.spec).await?;
        validate::capacity(&stored.record.spec, &self.inventory.free().await)?;
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
        // A cut is not taken back by a later, gentler request.
        let cut = force || stored.record.goal == Goal::Cut;
        stored.record.goal = if cut { Goal::Cut } else { Goal::PowerOff };
        stored.record.written_unix_us = unix_us();
        stored.revision = self.write(&stored).await?;
        Ok(self.view(&stored, &units))
    }

    /// Presses the reset button.
    pub async fn reset(&self, name: &str) -> Result<Vm, Problem> {
        let vm = self.get(name).await?;
        self.must_run(&vm)?;
        let socket = self.run_directory(name).join(API_SOCKET);
        let sent = control::send(socket, control::Command::Reset).await;
        sent.map_err(|error| Problem::new(Kind::Unavailable, chain(&error)))?;
        Ok(vm)
    }

    /// The console socket of a VM that runs.
    pub async fn console(&self, name: &str) -> Result<PathBuf, Problem> {
        let vm = self.get(name).await?;
        self.must_run(&vm)?;
        Ok(self.run_directory(name).join(CONSOLE_SOCKET))
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
        condition.check(name, Some(self.existing(name).await?.revision))?;
        if force {
            self.stop(name, true).await?;
            let down = tokio::time::timeout(DELETE_WAIT, self.wait_until_off(name)).await;
            down.map_err(|_| {
                let detail = format!("VM `{name}` did not end within {} s", DELETE_WAIT.as_secs());
                Problem::new(Kind::Unavailable, detail)
            })??;
        }
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
        let (mut records, mut units) = (self.store.watch(), self.init.watch());
        loop {
            records.borrow_and_update();
            units.borrow_and_update();
            match self.record(name).await? {
                Some(stored) if !Self::is_off(&stored, &*self.init.units()?) => {}
                _ => return Ok(()),
            }
            tokio::select! {
                _ = records.changed() => {}
                _ = units.changed() => {}
            }
        }
    }

    /// Deletes an image that no VM boots from.
    pub async fn delete_image(&self, digest: Digest) -> Result<(), Problem> {
        let _writing = self.writing.lock().await;
        let text = digest.to_string();
        let user = self.records().await?.into_iter().find(|stored| {
            let boot = &stored.record.spec.boot;
            boot.kernel.0 == text || boot.initrd.0 == text
        });
        if let Some(user) = user {
            let detail = format!("image {text} is used by VM `{}`", user.name);
            return Err(Problem::new(Kind::Conflict, detail));
        }
        let deleted = self.images.delete(digest).await;
        match deleted.map_err(|error| Problem::new(Kind::Internal, chain(&error)))? {
            true => Ok(()),
            false => Err(Problem::new(
                Kind::NotFound,
                format!("there is no image {text}; GET /v1/images lists them"),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
