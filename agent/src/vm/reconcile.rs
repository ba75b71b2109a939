//! Brings each VM where its record says, by init's hand.
//!
//! One task reads records and units, asks [`plan`] what is to be done, and does it; different VMs side by side, one thing
//! at a time for each. It wakes when a record, a unit or a machine changed, an action ended, or a pause is over. It holds nothing
//! that is not in the store or at init but the pauses between attempts, so the agent may be killed and started at will.
//! Units that look like VMs and have no record are left alone.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Duration;

use axion_api::event::What;
use axion_api::init::{TransientUnit, UnitCpus, UnitState};
use axion_api::problem::Problem;
use axion_api::vm::{ConsoleKind, RestartPolicy, Vm, VmSpec};
use axion_api::vmm::{
    API_SOCKET, BalloonConfig, BootConfig, CONFIG_FILE, ConsoleDevice, MemoryConfig, VmmConfig, VsockConfig,
};
use axion_core::paths;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::control::{self, Command, ControlError};
use super::devices::{Devices, devices};
use super::placed;
use super::plan::{Action, plan};
use super::record::{End, Goal, Record, Stored, unit_name};
use super::{Vms, VmsError};
use crate::init::{InitError, Units, answer};
use crate::log::chain;
use crate::volumes::Place;

/// Between two presses of the power button; a guest that is still booting does not hear the first.
const PRESS_INTERVAL: Duration = Duration::from_secs(5);
/// Until it is pressed again where it was not there to be pressed.
const NOT_YET: Duration = Duration::from_secs(1);
/// Presses, after which the guest is left to itself until it is asked to stop again.
const PRESSES: u32 = 6;
/// Pauses after something failed.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What init waits between SIGTERM (the power button) and SIGKILL when the node goes down.
const STOP_TIMEOUT_MS: u32 = 30_000;
/// Kernel arguments of every guest, behind its console: one that reboots or panics starts anew at once, and in ways that its VMM
/// can tell apart (`ResetCause`).
const CMDLINE: &str = "reboot=k,panic_warm panic=-1";

/// The task's own memory.
#[derive(Default)]
struct Memory {
    /// Attempts at the present action of a VM.
    attempts: BTreeMap<String, Attempts>,
    /// VMs with an action under way.
    busy: BTreeSet<String>,
    /// What clients were last told.
    told: BTreeMap<String, Vm>,
    /// Units without a record that were reported.
    strays: BTreeSet<String>,
    /// The store or init failed at the last pass.
    failing: bool,
}

/// Attempts at one action for one revision of the record; another one begins anew.
struct Attempts {
    revision: u64,
    action: Discriminant<Action>,
    count: u32,
    /// `None`: there is no further one.
    not_before: Option<Instant>,
}

struct Done {
    name: String,
    revision: u64,
    action: Action,
    result: Result<(), VmsError>,
}

/// Reconciles for ever.
pub async fn run(vms: Arc<Vms>) {
    let mut memory = Memory::default();
    let mut actions: JoinSet<Done> = JoinSet::new();
    let (mut records, mut units) = (vms.store.watch(), vms.init.watch());
    let mut machines = vms.machines.watch();
    loop {
        records.borrow_and_update();
        units.borrow_and_update();
        machines.borrow_and_update();
        match memory.pass(&vms, &mut actions).await {
            Ok(()) => memory.failing = false,
            Err(error) if !memory.failing => {
                memory.failing = true;
                tracing::warn!("cannot reconcile VMs: {}", chain(&error));
            }
            Err(_) => {}
        }
        let wake = memory.next_attempt();
        tokio::select! {
            _ = records.changed() => {}
            _ = units.changed() => {}
            _ = machines.changed() => {}
            Some(done) = actions.join_next(), if !actions.is_empty() => match done {
                Ok(done) => memory.finish(&vms, done),
                Err(error) => tracing::error!("an action on a VM was lost: {error}"),
            },
            () = async { tokio::time::sleep_until(wake.unwrap_or_else(Instant::now)).await }, if wake.is_some() => {}
        }
    }
}

impl Memory {
    async fn pass(&mut self, vms: &Arc<Vms>, actions: &mut JoinSet<Done>) -> Result<(), VmsError> {
        let units = vms.init.units()?;
        let records = vms.records().await?;
        self.report_strays(&records, &units);
        self.attempts.retain(|name, attempts| {
            records
                .iter()
                .any(|stored| stored.name == *name && stored.revision == attempts.revision)
        });
        self.tell(vms, &records, &units);
        for stored in records {
            let unit = units.get(&unit_name(&stored.name));
            let action = plan(&stored.record, unit);
            if action == Action::Rest
                || self.busy.contains(&stored.name)
                || self.must_wait(&stored.name, &action)
            {
                continue;
            }
            self.busy.insert(stored.name.clone());
            actions.spawn(act(vms.clone(), stored, action));
        }
        Ok(())
    }

    fn must_wait(&self, name: &str, action: &Action) -> bool {
        let attempts = self
            .attempts
            .get(name)
            .filter(|attempts| attempts.action == discriminant(action));
        attempts.is_some_and(|attempts| attempts.not_before.is_none_or(|time| Instant::now() < time))
    }

    fn next_attempt(&self) -> Option<Instant> {
        let idle = self
            .attempts
            .iter()
            .filter(|(name, _)| !self.busy.contains(*name));
        idle.filter_map(|(_, attempts)| attempts.not_before)
            .filter(|time| *time > Instant::now())
            .min()
    }

    /// Notes how an action ended and when it may be tried again.
    fn finish(&mut self, vms: &Vms, done: Done) {
        let Done {
            name,
            revision,
            action,
            result,
        } = done;
        self.busy.remove(&name);
        let kind = discriminant(&action);
        let same = |attempts: &Attempts| attempts.revision == revision && attempts.action == kind;
        let before = self
            .attempts
            .remove(&name)
            .filter(same)
            .map_or(0, |attempts| attempts.count);
        let is_early = matches!(result, Err(VmsError::NotYet(_)));
        let count = before.saturating_add(u32::from(!is_early));
        let pause = match (&action, &result) {
            (Action::PressPower, Ok(())) if count >= PRESSES => {
                tracing::warn!("VM {name} did not power off; stop it with force to cut its power");
                None
            }
            (Action::PressPower | Action::CutPower, Ok(())) => Some(PRESS_INTERVAL),
            (_, Ok(())) => {
                vms.set_start_error(&name, None);
                return;
            }
            (_, Err(VmsError::NotYet(why))) => {
                tracing::debug!("VM {name}: its power button cannot be pressed yet: {why}");
                Some(NOT_YET)
            }
            (_, Err(error)) => {
                tracing::warn!("VM {name}: {}", chain(error));
                let doublings = before.min(10);
                Some((FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE))
            }
        };
        if let (Action::Start, Err(error)) = (&action, &result) {
            vms.set_start_error(&name, Some(format!("cannot be started: {}", chain(error))));
        }
        let not_before = pause.map(|pause| Instant::now() + pause);
        self.attempts.insert(
            name,
            Attempts {
                revision,
                action: kind,
                count,
                not_before,
            },
        );
    }

    /// Publishes what changed for clients.
    fn tell(&mut self, vms: &Vms, records: &[Stored], units: &Units) {
        let mut present = BTreeMap::new();
        for stored in records {
            let vm = vms.view(stored, units);
            if self.told.get(&vm.name) != Some(&vm) {
                vms.events.publish(What::Vm(Box::new(without_texts(&vm))));
            }
            present.insert(vm.name.clone(), vm);
        }
        for name in self.told.keys().filter(|name| !present.contains_key(*name)) {
            vms.set_start_error(name, None);
            vms.events.publish(What::VmDeleted { name: name.clone() });
        }
        self.told = present;
    }

    fn report_strays(&mut self, records: &[Stored], units: &Units) {
        let known: BTreeSet<String> = records.iter().map(|stored| unit_name(&stored.name)).collect();
        let strays: BTreeSet<String> = units
            .keys()
            .filter(|name| name.starts_with("vm-") && !known.contains(*name))
            .cloned()
            .collect();
        for name in strays.difference(&self.strays) {
            tracing::warn!("unit {name} looks like a VM and has no record; it is left alone");
        }
        self.strays = strays;
    }
}

/// A VM for the events, of which a thousand are kept: without what cloud-init is told, which is long and may be secret.
fn without_texts(vm: &Vm) -> Vm {
    let mut vm = vm.clone();
    vm.spec.cloud_init = None;
    vm
}

async fn act(vms: Arc<Vms>, stored: Stored, action: Action) -> Done {
    let name = stored.name.clone();
    let revision = stored.revision;
    let result = match &action {
        Action::Rest => Ok(()),
        Action::Start => start(&vms, &stored).await,
        Action::PressPower => press_power(&vms, &name).await,
        Action::CutPower => cut_power(&vms, &name).await,
        Action::Record(end) => record_end(&vms, &stored, end.clone()).await,
        Action::Forget => remove(&vms, &name).await,
    };
    Done {
        name,
        revision,
        action,
        result,
    }
}

async fn start(vms: &Vms, stored: &Stored) -> Result<(), VmsError> {
    // Until the unit is in the picture, so that nobody deletes a VM that is being started.
    let _writing = vms.writing.lock().await;
    if vms.record(&stored.name).await?.as_ref() != Some(stored) {
        return Ok(());
    }
    let mut stored = stored.clone();
    let placement = vms.place(&stored).await?;
    if stored.record.placement.as_ref() != Some(&placement) {
        stored.record.placement = Some(placement);
        stored.revision = vms.write(&stored).await?;
    }
    let stored = &stored;
    let networks: BTreeSet<&str> = stored
        .record
        .spec
        .nets
        .iter()
        .map(|net| net.network.as_str())
        .collect();
    for network in networks {
        vms.networks.ensure(network).await?;
    }
    let unit = unit(vms, stored).await?;
    match answer(vms.init.proxy()?.start_transient_unit(&unit)).await {
        Ok(status) => tracing::info!("VM {} starts as process {}", stored.name, status.pid.unwrap_or(0)),
        // It was started before, and the answer was lost.
        Err(InitError::Exists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(vms.init.refresh().await?)
}

/// The transient unit that runs a VM.
async fn unit(vms: &Vms, stored: &Stored) -> Result<TransientUnit, VmsError> {
    let Stored { name, record, .. } = stored;
    let uid = paths::UID_VM_BASE.saturating_add(record.slot);
    let directory = vms.run_directory(name);
    let networks = vms.networks.specs().await?;
    let disks = &record.spec.disks;
    let names = disks.iter().filter_map(|disk| disk.volume.as_deref());
    let places = vms.volumes.places(names).await?;
    let Devices {
        disks,
        nets,
        volumes,
        taps,
        mut files,
    } = devices(stored, &directory, &networks, &places, |digest| {
        vms.images.path(digest)
    })?;
    let mut config = VmmConfig {
        disks,
        nets,
        ..config(vms, name, record)
    };
    let mut cpus = UnitCpus::default();
    if let Some(placement) = &record.placement {
        placed::configure(&mut config, &record.spec, placement);
        cpus = placed::cpus(&record.spec, placement);
    }
    let written = disks_in_memory(&record.spec, &places);
    let memory_max = config.memory_limit().saturating_add(written);
    let config = serde_json::to_vec_pretty(&config).map_err(VmsError::Config)?;
    files.insert(0, (CONFIG_FILE.to_owned(), config));
    Ok(TransientUnit {
        name: unit_name(name),
        description: format!("VM {name}"),
        argv: vec![
            paths::VMM.to_owned(),
            "--run-dir".to_owned(),
            directory.to_string_lossy().into_owned(),
        ],
        env: Vec::new(),
        uid,
        gid: uid,
        groups: vec![paths::GROUP_KVM],
        run_directory: format!("vms/{name}"),
        files,
        max_restarts: match record.spec.restart {
            RestartPolicy::Never => 0,
            RestartPolicy::OnFailure => u32::MAX,
        },
        stop_timeout_ms: STOP_TIMEOUT_MS,
        volumes,
        taps,
        cpus,
        memory_max,
    })
}

/// What a guest may write to disks whose files lie in memory: it is the memory of whoever writes, in the kernel's account.
fn disks_in_memory(spec: &VmSpec, places: &BTreeMap<String, Place>) -> u64 {
    let writable = spec.disks.iter().filter(|disk| !disk.read_only);
    let places = writable.filter_map(|disk| places.get(disk.volume.as_deref()?));
    places.fold(0, |sum, place| sum.saturating_add(place.memory))
}

/// What the VMM runs, but for its devices and its place.
fn config(vms: &Vms, name: &str, record: &Record) -> VmmConfig {
    let spec = &record.spec;
    let image = |image: &axion_api::vm::ImageRef, builtin: &str| match image.0.parse() {
        Ok(digest) => vms.images.path(digest).to_string_lossy().into_owned(),
        Err(_) => builtin.to_owned(),
    };
    let (console, terminal) = match spec.console {
        ConsoleKind::Serial => (ConsoleDevice::Serial, "ttyS0"),
        ConsoleKind::Virtio => (ConsoleDevice::Virtio, "hvc0"),
    };
    VmmConfig {
        name: name.to_owned(),
        cpus: spec.cpus,
        cpu_model: spec.cpu_model,
        memory: MemoryConfig {
            size: spec.memory.0,
            max: spec.memory_max.map(|max| max.0),
            hugepages: spec.hugepages,
            ..Default::default()
        },
        boot: BootConfig {
            kernel: image(&spec.boot.kernel, paths::GUEST_KERNEL),
            initrd: (spec.boot.initrd.0 != "none").then(|| image(&spec.boot.initrd, paths::GUEST_INITRD)),
            cmdline: format!("console={terminal} {CMDLINE} {}", spec.boot.cmdline)
                .trim_end()
                .to_owned(),
        },
        disks: Vec::new(),
        nets: Vec::new(),
        console,
        vsock: spec.vsock.map(|vsock| VsockConfig { cid: vsock.cid }),
        balloon: spec.balloon.map(|balloon| BalloonConfig {
            size: balloon.size.0,
            deflate_on_oom: balloon.deflate_on_oom,
            free_page_reporting: balloon.free_page_reporting,
        }),
        topology: None,
        placement: Default::default(),
        dedicated: false,
        sandbox: Default::default(),
    }
}

async fn press_power(vms: &Vms, name: &str) -> Result<(), VmsError> {
    let press = control::send(vms.socket(name, API_SOCKET), Command::PowerButton);
    match vms.reach(name, press).await {
        Ok(()) | Err(ControlError::Ended) => Ok(()),
        // The VMM is well and will do it: its guest has not begun, or is reset.
        Err(error) if matches!(&error, ControlError::Refused { status, .. } if status.is_client_error()) => {
            Err(VmsError::NotYet(Problem::from(error).detail))
        }
        Err(error) => {
            // A VMM whose control socket is dead may still hear SIGTERM, and is ended by init where not.
            tracing::warn!("VM {name}: {}; asking init to stop it", chain(&error));
            answer(vms.init.proxy()?.stop_unit(&unit_name(name))).await?;
            Ok(vms.init.refresh().await?)
        }
    }
}

async fn cut_power(vms: &Vms, name: &str) -> Result<(), VmsError> {
    let unit = unit_name(name);
    // First, so that init does not take the kill for a failure and start the VM again.
    answer(vms.init.proxy()?.stop_unit(&unit)).await?;
    match answer(vms.init.proxy()?.kill_unit(&unit)).await {
        // It ended in between.
        Ok(()) | Err(InitError::NoSuchUnit(_)) => {}
        Err(error) => {
            let down = answer(vms.init.proxy()?.get_unit(&unit)).await?;
            if matches!(
                down.state,
                UnitState::Running | UnitState::Stopping | UnitState::BackOff
            ) {
                return Err(error.into());
            }
        }
    }
    Ok(vms.init.refresh().await?)
}

async fn record_end(vms: &Vms, planned: &Stored, end: End) -> Result<(), VmsError> {
    let writing = vms.writing.lock().await;
    if vms.record(&planned.name).await?.as_ref() != Some(planned) {
        return Ok(());
    }
    tracing::info!("VM {} ended: {}", planned.name, end.why);
    let mut stored = planned.clone();
    stored.record.end = Some(end);
    if stored.record.goal == Goal::Run {
        stored.record.goal = Goal::PowerOff;
    }
    vms.write(&stored).await?;
    drop(writing);
    remove(vms, &stored.name).await
}

async fn remove(vms: &Vms, name: &str) -> Result<(), VmsError> {
    match answer(vms.init.proxy()?.remove_unit(&unit_name(name))).await {
        Ok(()) | Err(InitError::NoSuchUnit(_)) => Ok(vms.init.refresh().await?),
        Err(error) => Err(error.into()),
    }
}
