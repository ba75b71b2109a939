//! The task that owns the units: takes requests, carries the actions of [`super::state`] out, reaps.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axion_api::init::{UnitStatus, VolumeGrant};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};

use super::cgroup::Cgroup;
use super::commands::Commands;
use super::notify;
use super::run::Run;
use super::run_directory;
use super::spec::Spec;
use super::state::{Action, Event, Unit};
use super::volumes::{VolumeError, Volumes};
use crate::clock;
use crate::failure::chain;
use crate::log::Log;
use crate::network::{Switch, SwitchError};

/// Children taken off the process table before other work gets its turn.
const REAP_BATCH: usize = 256;
/// How long a process that was killed may still be there; one that the kernel cannot end must not hold a shutdown up.
const KILLED: Duration = Duration::from_secs(5);
/// How long a cgroup is waited for whose processes were killed.
const EMPTY_TRIES: u32 = 50;
const EMPTY_PAUSE: Duration = Duration::from_millis(100);

/// A request about a unit that was refused.
#[derive(Debug, thiserror::Error)]
pub enum UnitError {
    /// No such unit.
    #[error("there is no unit `{0}`")]
    Unknown(String),
    /// The name is taken.
    #[error("a unit `{0}` exists")]
    Exists(String),
    /// It has a process, or will have one.
    #[error("unit `{0}` is not down; stop it first")]
    NotDown(String),
    /// It belongs to the node.
    #[error("unit `{0}` is a service of the node and cannot be removed")]
    NotTransient(String),
    /// Its run directory.
    #[error("cannot make the run directory of `{name}`")]
    RunDirectory {
        /// Unit.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A volume is another unit's.
    #[error("volume `{volume}` is in the hands of unit `{unit}`")]
    VolumeTaken {
        /// Volume.
        volume: String,
        /// The unit that has it.
        unit: String,
    },
    /// A volume.
    #[error("cannot hand its volumes to `{name}`")]
    Volume {
        /// Unit.
        name: String,
        /// Why.
        source: VolumeError,
    },
    /// A tap.
    #[error("cannot connect `{name}` to its networks")]
    Tap {
        /// Unit.
        name: String,
        /// Why.
        source: SwitchError,
    },
    /// The node goes down.
    #[error("the node is shutting down")]
    ShuttingDown,
}

type Reply<T> = oneshot::Sender<Result<T, UnitError>>;

enum Request {
    List(oneshot::Sender<Vec<UnitStatus>>),
    Get(String, Reply<UnitStatus>),
    Send(String, Event, Reply<()>),
    Add(Box<Spec>, Reply<UnitStatus>),
    Connected(Box<Spec>, Result<(), SwitchError>, Reply<UnitStatus>),
    Remove(String, Reply<()>),
    Timer(String, u64),
    /// Units of a kind, transient ones or others, are waited for no longer.
    GiveUp(bool),
    ShutDown {
        transient: bool,
        done: oneshot::Sender<()>,
    },
}

/// A change that D-Bus peers are told.
#[derive(Debug, Clone)]
pub enum Change {
    /// A unit is in another state.
    Unit(Box<UnitStatus>),
    /// A transient unit is gone.
    Removed(String),
}

/// Handle of the supervisor.
#[derive(Clone)]
pub struct Units {
    requests: mpsc::UnboundedSender<Request>,
    ready: watch::Receiver<Vec<String>>,
}

impl Units {
    /// Starts the supervisor; `announce` is told of every change, `commands` of the ends of theirs.
    ///
    /// # Errors
    /// Signals cannot be received.
    pub fn start(
        log: Log,
        switch: Arc<Switch>,
        commands: Arc<Commands>,
        announce: Arc<dyn Fn(Change) + Send + Sync>,
    ) -> std::io::Result<Self> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let (ready_sender, ready) = watch::channel(Vec::new());
        let children = signal(SignalKind::child())?;
        let supervisor = Supervisor {
            units: BTreeMap::new(),
            by_pid: HashMap::new(),
            connecting: BTreeMap::new(),
            switch,
            commands,
            volumes: Volumes::default(),
            requests: requests.clone(),
            ready: Arc::new(ready_sender),
            announce,
            log,
            closing: false,
            waiting: Vec::new(),
        };
        tokio::spawn(supervisor.run(receiver, children));
        Ok(Self { requests, ready })
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, UnitError> {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(request(reply));
        // The supervisor lives as long as the node does.
        answer.await.unwrap_or(Err(UnitError::ShuttingDown))
    }

    /// Every unit.
    pub async fn list(&self) -> Vec<UnitStatus> {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(Request::List(reply));
        answer.await.unwrap_or_default()
    }

    /// One unit.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn get(&self, name: &str) -> Result<UnitStatus, UnitError> {
        self.ask(|reply| Request::Get(name.to_owned(), reply)).await
    }

    async fn send(&self, name: &str, event: Event) -> Result<(), UnitError> {
        self.ask(|reply| Request::Send(name.to_owned(), event, reply))
            .await
    }

    /// Starts a unit that is down.
    ///
    /// # Errors
    /// There is none of this name, or the node goes down.
    pub async fn start_unit(&self, name: &str) -> Result<(), UnitError> {
        self.send(name, Event::Start).await
    }

    /// Stops a unit; returns when the signal was sent.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn stop(&self, name: &str) -> Result<(), UnitError> {
        self.send(name, Event::Stop).await
    }

    /// Kills every process of a unit.
    ///
    /// # Errors
    /// There is none of this name.
    pub async fn kill(&self, name: &str) -> Result<(), UnitError> {
        self.send(name, Event::Kill).await
    }

    /// Stops a unit and starts it again.
    ///
    /// # Errors
    /// There is none of this name, or the node goes down.
    pub async fn restart(&self, name: &str) -> Result<(), UnitError> {
        self.send(name, Event::Restart).await
    }

    /// Makes a unit and starts it.
    ///
    /// # Errors
    /// The name or a volume is taken, something that it needs cannot be made, or the node goes down.
    pub async fn add(&self, spec: Spec) -> Result<UnitStatus, UnitError> {
        self.ask(|reply| Request::Add(Box::new(spec), reply)).await
    }

    /// Forgets a transient unit that is down.
    ///
    /// # Errors
    /// There is none of this name, it is not transient, or it is not down.
    pub async fn remove(&self, name: &str) -> Result<(), UnitError> {
        self.ask(|reply| Request::Remove(name.to_owned(), reply)).await
    }

    /// Waits until the unit said that it is ready.
    pub async fn ready(&self, name: &str) {
        let mut ready = self.ready.clone();
        let _ = ready.wait_for(|names| names.iter().any(|n| n == name)).await;
    }

    /// Stops the transient units, or the others, and waits until they are down, their deadlines and a little more at
    /// most; nothing starts any more.
    pub async fn shut_down(&self, transient: bool) {
        let (done, answer) = oneshot::channel();
        let _ = self.requests.send(Request::ShutDown { transient, done });
        let _ = answer.await;
    }
}

struct Supervisor {
    units: BTreeMap<String, Unit>,
    by_pid: HashMap<u32, Run>,
    /// Units whose taps are being made, and their volumes.
    connecting: BTreeMap<String, Vec<VolumeGrant>>,
    switch: Arc<Switch>,
    commands: Arc<Commands>,
    volumes: Volumes,
    requests: mpsc::UnboundedSender<Request>,
    ready: Arc<watch::Sender<Vec<String>>>,
    announce: Arc<dyn Fn(Change) + Send + Sync>,
    log: Log,
    closing: bool,
    waiting: Vec<(bool, oneshot::Sender<()>)>,
}

impl Supervisor {
    async fn run(
        mut self,
        mut requests: mpsc::UnboundedReceiver<Request>,
        mut children: tokio::signal::unix::Signal,
    ) {
        loop {
            tokio::select! {
                Some(request) = requests.recv() => self.take(request),
                _ = children.recv() => {
                    while self.reap() {
                        tokio::task::yield_now().await;
                    }
                }
            }
            self.answer_those_who_wait();
        }
    }

    fn answer_those_who_wait(&mut self) {
        let all_down = |transient: bool| {
            self.units
                .values()
                .filter(|u| u.spec.transient == transient)
                .all(Unit::is_down)
        };
        let (down, waiting): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|(transient, _)| all_down(*transient));
        self.waiting = waiting;
        for (_, done) in down {
            // Whoever asked may have given up.
            let _ = done.send(());
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::List(reply) => {
                let _ = reply.send(self.units.values().map(Unit::status).collect());
            }
            Request::Get(name, reply) => {
                let _ = reply.send(self.find(&name).map(|u| u.status()));
            }
            Request::Send(name, event, reply) => {
                let _ = reply.send(self.request(&name, event));
            }
            Request::Add(spec, reply) => self.add(spec, reply),
            Request::Connected(spec, result, reply) => {
                let _ = reply.send(self.connected(*spec, result));
            }
            Request::Remove(name, reply) => {
                let _ = reply.send(self.remove(&name));
            }
            Request::Timer(name, generation) => self.handle(&name, Event::Timer(generation)),
            Request::GiveUp(transient) => self.waiting.retain(|(kind, _)| *kind != transient),
            Request::ShutDown { transient, done } => {
                self.closing = true;
                let of_kind = self.units.values().filter(|u| u.spec.transient == transient);
                let stopped: Vec<(String, Duration)> = of_kind
                    .map(|u| (u.spec.name.clone(), u.spec.stop_timeout))
                    .collect();
                for (name, _) in &stopped {
                    self.handle(name, Event::Stop);
                }
                self.waiting.push((transient, done));
                let longest = stopped
                    .iter()
                    .map(|(_, timeout)| *timeout)
                    .max()
                    .unwrap_or_default();
                self.later(longest + KILLED, Request::GiveUp(transient));
            }
        }
    }

    fn find(&self, name: &str) -> Result<&Unit, UnitError> {
        self.units
            .get(name)
            .ok_or_else(|| UnitError::Unknown(name.to_owned()))
    }

    fn request(&mut self, name: &str, event: Event) -> Result<(), UnitError> {
        self.find(name)?;
        if self.closing && matches!(event, Event::Start | Event::Restart) {
            return Err(UnitError::ShuttingDown);
        }
        self.handle(name, event);
        Ok(())
    }

    fn add(&mut self, spec: Box<Spec>, reply: Reply<UnitStatus>) {
        if let Err(error) = self.admit(&spec) {
            let _ = reply.send(Err(error));
        } else if spec.taps.is_empty() {
            let _ = reply.send(self.make(*spec));
        } else {
            self.connecting.insert(spec.name.clone(), spec.volumes.clone());
            let (switch, requests) = (self.switch.clone(), self.requests.clone());
            tokio::spawn(async move {
                let result = switch.connect(spec.taps.clone(), spec.uid).await;
                let _ = requests.send(Request::Connected(spec, result, reply));
            });
        }
    }

    /// Whether there may be such a unit now.
    fn admit(&self, spec: &Spec) -> Result<(), UnitError> {
        if self.closing {
            return Err(UnitError::ShuttingDown);
        }
        if self.units.contains_key(&spec.name) || self.connecting.contains_key(&spec.name) {
            return Err(UnitError::Exists(spec.name.clone()));
        }
        let units = self.units.iter().map(|(name, unit)| (name, &unit.spec.volumes));
        for (unit, volumes) in units.chain(&self.connecting) {
            let taken = |wanted: &&VolumeGrant| {
                volumes
                    .iter()
                    .any(|has| (&has.pool, &has.name) == (&wanted.pool, &wanted.name))
            };
            if let Some(volume) = spec.volumes.iter().find(taken) {
                return Err(UnitError::VolumeTaken {
                    volume: volume.name.clone(),
                    unit: unit.clone(),
                });
            }
        }
        Ok(())
    }

    /// Goes on with a unit whose taps were made, or were not.
    fn connected(&mut self, spec: Spec, result: Result<(), SwitchError>) -> Result<UnitStatus, UnitError> {
        self.connecting.remove(&spec.name);
        result.map_err(|source| UnitError::Tap {
            name: spec.name.clone(),
            source,
        })?;
        let taps = spec.taps.clone();
        let made = if self.closing {
            Err(UnitError::ShuttingDown)
        } else {
            self.make(spec)
        };
        if made.is_err() {
            self.switch.disconnect(taps);
        }
        made
    }

    fn make(&mut self, spec: Spec) -> Result<UnitStatus, UnitError> {
        let name = spec.name.clone();
        self.volumes
            .grant(&spec.volumes, spec.gid)
            .map_err(|source| UnitError::Volume {
                name: name.clone(),
                source,
            })?;
        if let Err(source) = run_directory::make(&spec) {
            self.take_back(&name, &spec.volumes);
            return Err(UnitError::RunDirectory { name, source });
        }
        if spec.notifies {
            self.listen(&spec);
        }
        self.units.insert(name.clone(), Unit::new(spec, clock::unix_us()));
        self.handle(&name, Event::Start);
        self.find(&name).map(|u| u.status())
    }

    fn take_back(&self, name: &str, volumes: &[VolumeGrant]) {
        if let Err(error) = self.volumes.revoke(volumes) {
            self.log.warning(&format!("{name}: {}", chain(&error)));
        }
    }

    fn listen(&self, spec: &Spec) {
        let (name, ready, log) = (spec.name.clone(), self.ready.clone(), self.log.clone());
        match notify::listen(&name, spec.uid) {
            Ok(socket) => {
                tokio::spawn(async move {
                    // A service that was started again says it again, and must find someone listening.
                    while notify::ready(&socket).await.is_ok() {
                        ready.send_if_modified(|names| {
                            let first = !names.contains(&name);
                            if first {
                                names.push(name.clone());
                            }
                            first
                        });
                    }
                });
            }
            Err(e) => log.error(&format!("{name}: {}", chain(&e))),
        }
    }

    fn remove(&mut self, name: &str) -> Result<(), UnitError> {
        let unit = self.find(name)?;
        if !unit.spec.transient {
            return Err(UnitError::NotTransient(name.to_owned()));
        }
        if !unit.is_down() {
            return Err(UnitError::NotDown(name.to_owned()));
        }
        if let Some(directory) = &unit.spec.run_directory
            && let Err(e) = std::fs::remove_dir_all(directory)
            && e.kind() != std::io::ErrorKind::NotFound
        {
            self.log
                .warning(&format!("cannot remove {}: {e}", directory.display()));
        }
        self.take_back(name, &unit.spec.volumes);
        self.switch.disconnect(unit.spec.taps.clone());
        let cgroup = Cgroup::of(name, true);
        if !cgroup.remove() {
            tokio::spawn(async move {
                for _ in 0..EMPTY_TRIES {
                    tokio::time::sleep(EMPTY_PAUSE).await;
                    if cgroup.remove() {
                        break;
                    }
                }
            });
        }
        self.units.remove(name);
        (self.announce)(Change::Removed(name.to_owned()));
        Ok(())
    }

    /// Takes up to [`REAP_BATCH`] ended children; whether there may be more.
    fn reap(&mut self) -> bool {
        for _ in 0..REAP_BATCH {
            let Some(child) = self.commands.reap() else {
                return false;
            };
            // Other children are orphans that PID 1 inherited.
            if let Some((pid, status)) = child
                && let Some(run) = self.by_pid.remove(&pid)
            {
                let (exit, last_line) = run.end(status);
                if let Some(unit) = self.units.get_mut(&run.unit) {
                    unit.set_last_line(last_line);
                }
                self.handle(&run.unit, Event::Exited(exit));
            }
        }
        true
    }

    /// Gives an event to a unit and carries out what follows.
    fn handle(&mut self, name: &str, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let Some(unit) = self.units.get_mut(name) else {
                return;
            };
            let before = unit.status();
            let actions = unit.handle(event, clock::since_start(), clock::unix_us());
            let after = unit.status();
            if after != before {
                self.report(&before, &after);
            }
            for action in actions {
                events.extend(self.act(name, action));
            }
        }
    }

    /// Makes a request to itself after some time.
    fn later(&self, after: Duration, request: Request) {
        let requests = self.requests.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let _ = requests.send(request);
        });
    }

    fn report(&self, before: &UnitStatus, after: &UnitStatus) {
        let name = &after.name;
        if after.pid.is_none() && before.pid.is_some() || after.exit != before.exit {
            self.log.info(&format!(
                "unit {name} {}, now {}",
                after.exit.as_deref().unwrap_or_default(),
                after.state
            ));
        } else if let (Some(pid), None) = (after.pid, before.pid) {
            self.log.info(&format!("unit {name} started, process {pid}"));
        }
        (self.announce)(Change::Unit(Box::new(after.clone())));
    }

    fn act(&mut self, name: &str, action: Action) -> Option<Event> {
        let unit = self.units.get(name)?;
        match action {
            Action::Spawn if self.closing => None,
            Action::Spawn => match Run::start(&unit.spec, &self.log) {
                Ok((pid, run)) => {
                    self.by_pid.insert(pid, run);
                    Some(Event::Spawned(pid))
                }
                Err(e) => Some(Event::SpawnFailed(chain(&e))),
            },
            Action::Terminate => {
                if let Some(pid) = unit.pid().and_then(|pid| i32::try_from(pid).ok()) {
                    // It may have ended this moment; then the reaper says so.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
                }
                None
            }
            Action::Kill => {
                Cgroup::of(name, unit.spec.transient).kill();
                None
            }
            Action::Arm(after, generation) => {
                self.later(after, Request::Timer(name.to_owned(), generation));
                None
            }
        }
    }
}
