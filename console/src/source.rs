//! Asks the node how it is, and carries out what the operator confirmed.
//!
//! One task looks at the node, and begins a task for each request ([`link`]): a look is never older than its interval because a
//! request takes long. A part that does not answer within [`PATIENCE`] leaves its reason in the snapshot and is asked again at
//! the next look; nothing here ends because a part of the node is down.

mod link;
mod proc;
mod trouble;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axion_api::client;
use axion_api::host::PowerAction;
use axion_api::init::{self, LogEntry};
use axion_api::install;
use axion_api::keys::{Answer, Call};
use axion_api::vm::Vm;
use axion_core::config::{Effective, Secret};
use axion_core::paths;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::link::{Learnt, Link, Outcome};
use crate::app::trouble::{Ask, Trouble};
use crate::node::{InitFacts, Local, PoolFacts, Profile, Snapshot, locked_datasets};

/// How long a part of the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks while someone is at the keyboard, or the node boots.
const ATTENDED: Duration = Duration::from_secs(1);
/// Between two looks otherwise.
const UNATTENDED: Duration = Duration::from_secs(5);
/// Between two looks at the boot profile: the agent reads some thousand files for it.
const PROFILE_INTERVAL: Duration = Duration::from_secs(30);
/// Between two looks at the pools while someone is there, and otherwise: init runs `zpool` for it.
const POOLS_INTERVALS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(120));
/// How long after the last key somebody is taken to be there.
const STAY: Duration = Duration::from_secs(120);
/// Why a part that has not come up yet does not answer.
const NO_SOCKET: &str = "its socket is not there yet";
/// Log lines asked for at once.
const LOG_BATCH: u32 = 500;

/// What the operator wants of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Stop the node; the operator has confirmed it.
    Power(PowerAction),
    /// Remove the first token; the operator has noted it.
    ForgetToken,
    /// Forget the recovery passphrase; the operator has noted it.
    ForgetRecovery,
    /// Unlock the node's state.
    Unlock(Secret),
    /// Load the key of this dataset.
    LoadKey(String, Secret),
    /// Compare the node with its boot profile now.
    CheckProfile,
    /// Put the boot profile in force again.
    ApplyProfile,
    /// Something for a node in trouble, from the console on this line.
    Trouble(Ask, String),
    /// Something about an installation on a disk.
    Install(install::Call),
}

/// What is new.
#[derive(Debug)]
pub enum Update {
    /// The node as it is.
    Look(Box<Snapshot>),
    /// Log lines after the last ones.
    Log(Vec<LogEntry>),
    /// What became of a request, for people.
    Answer(String),
    /// What is to be asked next.
    Trouble(Box<Trouble>),
    /// What init says to the installer, or why it says nothing.
    Installer(Result<install::Answer, String>),
}

/// Looks at the node.
pub struct Source {
    link: Link,
    last_log: u64,
    cpu: Option<proc::CpuTimes>,
    local: Local,
    profile: Option<Profile>,
    profile_due: Instant,
    pools: Option<Vec<PoolFacts>>,
    pools_due: Instant,
    locked: Vec<String>,
    recovery: Option<Secret>,
    attended_until: Instant,
}

impl Source {
    /// Looks at the node whose files are below `root`. Nothing is opened yet.
    pub fn new(root: &Path) -> Self {
        Self {
            link: Link::new(root),
            last_log: 0,
            cpu: None,
            local: Local::default(),
            profile: None,
            profile_due: Instant::now(),
            pools: None,
            pools_due: Instant::now(),
            locked: Vec::new(),
            recovery: None,
            attended_until: Instant::now() + STAY,
        }
    }

    /// Looks at the node again and again, and carries out what is requested, until nobody listens any more. `keys` is notified of
    /// each key: somebody is there.
    pub async fn run(
        mut self,
        mut requests: mpsc::Receiver<Request>,
        keys: Arc<Notify>,
        updates: mpsc::Sender<Update>,
    ) {
        let mut tasks = JoinSet::new();
        loop {
            let snapshot = self.look().await;
            let booting = snapshot
                .init
                .as_ref()
                .is_ok_and(|facts| facts.boot.ready_us.is_none());
            let installing = matches!(snapshot.install.progress, Some(install::Progress::Running { .. }));
            if updates.send(Update::Look(Box::new(snapshot))).await.is_err() {
                return;
            }
            for entries in self.new_log_entries().await {
                if updates.send(Update::Log(entries)).await.is_err() {
                    return;
                }
            }
            let attended = booting || installing || Instant::now() < self.attended_until;
            let next = Instant::now() + if attended { ATTENDED } else { UNATTENDED };
            loop {
                let outcome = tokio::select! {
                    () = sleep_until(next) => break,
                    () = keys.notified() => {
                        // Who comes sees the node as it is now; who types on does not hurry it.
                        let came = Instant::now() >= self.attended_until;
                        self.attended_until = Instant::now() + STAY;
                        if came {
                            self.pools_due = Instant::now();
                            break;
                        }
                        continue;
                    }
                    request = requests.recv() => {
                        let Some(request) = request else { return };
                        self.begin(&request);
                        tasks.spawn(self.link.clone().carry_out(request));
                        continue;
                    }
                    Some(outcome) = tasks.join_next(), if !tasks.is_empty() => outcome,
                };
                let lost = |error| Update::Answer(format!("The request was lost: {error}."));
                let Outcome { update, learnt } = outcome.unwrap_or_else(|error| lost(error).into());
                self.learn(learnt);
                if updates.send(update).await.is_err() {
                    return;
                }
                break;
            }
        }
    }

    fn begin(&mut self, request: &Request) {
        match request {
            Request::Install(_) => self.attended_until = Instant::now() + STAY,
            Request::ForgetRecovery => self.recovery = None,
            _ => {}
        }
    }

    fn learn(&mut self, learnt: Learnt) {
        match learnt {
            Learnt::Nothing => {}
            Learnt::ProfileChanged => self.profile_due = Instant::now(),
            Learnt::Profile(profile) => self.take_profile(*profile),
            Learnt::PoolsChanged => self.pools_due = Instant::now(),
        }
    }

    /// How the node is now.
    pub async fn look(&mut self) -> Snapshot {
        self.read_local();
        let (load, cpu) = proc::load(&self.link.root, self.cpu.as_ref());
        self.cpu = cpu;
        let vms = self.ask_agent().await;
        if vms.is_ok() {
            self.look_at_profile().await;
            self.look_at_pools().await;
        }
        let init = self.ask_init().await;
        let install = if init.is_ok() {
            self.installation().await
        } else {
            install::Status::default()
        };
        self.look_for_recovery(init.as_ref().is_ok_and(|facts| facts.node.recovery_waits))
            .await;
        Snapshot {
            uptime_minutes: proc::uptime(&self.link.root).as_secs() / 60,
            now_minutes: proc::now().as_secs() / 60,
            load,
            init,
            vms,
            recovery: self.recovery.clone(),
            profile: self.profile.clone(),
            pools: self.pools.clone(),
            locked: self.locked.clone(),
            install,
            local: self.local.clone(),
        }
    }

    async fn ask_init(&mut self) -> Result<InitFacts, String> {
        let facts = match timeout(PATIENCE, self.init_facts()).await {
            Ok(facts) => facts.map_err(|error| plain(&error)),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        };
        if facts.is_err() {
            self.link.init = None;
        }
        facts
    }

    async fn init_facts(&mut self) -> Result<InitFacts, init::Error> {
        let init = self.link.init().await?;
        Ok(InitFacts {
            node: init.node_status().await?,
            boot: init.boot_status().await?,
            units: init.list_units().await?,
        })
    }

    async fn ask_agent(&self) -> Result<Vec<Vm>, String> {
        self.link.agent.vms().await.map_err(|error| match error {
            client::Error::Connect { source, .. } if source.kind() == ErrorKind::NotFound => {
                NO_SOCKET.to_owned()
            }
            client::Error::Connect { source, .. } => source.kind().to_string(),
            other => other.to_string(),
        })
    }

    /// The last answer stays until there is another.
    async fn look_at_profile(&mut self) {
        if Instant::now() < self.profile_due {
            return;
        }
        // An agent that does not say is asked again at the next look.
        if let Ok(profile) = self.link.profile().await {
            self.take_profile(profile);
        }
    }

    fn take_profile(&mut self, profile: Profile) {
        self.profile = Some(profile);
        self.profile_due = Instant::now() + PROFILE_INTERVAL;
    }

    /// The last answer stays until there is another.
    async fn look_at_pools(&mut self) {
        let now = Instant::now();
        if now < self.pools_due {
            return;
        }
        let (attended, unattended) = POOLS_INTERVALS;
        self.pools_due = now
            + if now < self.attended_until {
                attended
            } else {
                unattended
            };
        if let Ok(pools) = self.link.agent.pools().await {
            self.pools = Some(pools.into_iter().map(PoolFacts::from).collect());
        }
        let is_any = self.pools.as_ref().is_some_and(|pools| !pools.is_empty());
        if !is_any {
            self.locked.clear();
        } else if let Ok(datasets) = self.link.agent.datasets(None).await {
            self.locked = locked_datasets(&datasets);
        }
    }

    /// Batches of log lines that came since the last time.
    pub async fn new_log_entries(&mut self) -> Vec<Vec<LogEntry>> {
        let mut batches = Vec::new();
        // While the connection is down, `look` says so.
        while let Some(init) = self.link.init.clone() {
            let Ok(Ok(entries)) = timeout(PATIENCE, init.logs(self.last_log, LOG_BATCH)).await else {
                break;
            };
            let Some(last) = entries.last() else { break };
            let more =
                entries.len() >= LOG_BATCH as usize && last.sequence > self.last_log && self.last_log > 0;
            self.last_log = last.sequence;
            batches.push(entries);
            if !more {
                break;
            }
        }
        batches
    }

    /// Whether the node can be installed, and how far that is; an init that does not say has nothing to offer.
    async fn installation(&mut self) -> install::Status {
        match timeout(PATIENCE, self.link.install(&install::Call::Status)).await {
            Ok(Ok(install::Answer::Status(status))) => status,
            _ => install::Status::default(),
        }
    }

    /// The recovery passphrase is asked for once, and forgotten when nobody waits for it any more.
    async fn look_for_recovery(&mut self, waits: bool) {
        if !waits {
            self.recovery = None;
        } else if self.recovery.is_none()
            && let Ok(Ok(Answer::Recovery(recovery))) =
                timeout(PATIENCE, self.link.keys(&Call::Recovery { forget: false })).await
        {
            self.recovery = Some(recovery.passphrase.into());
        }
    }

    fn read_local(&mut self) {
        let text = |path| {
            let text = std::fs::read_to_string(below(&self.link.root, path)).ok()?;
            Some(text.trim().to_owned()).filter(|text| !text.is_empty())
        };
        self.local.first_token = text(paths::FIRST_TOKEN);
        // The others are written once in a boot.
        if self.local.fingerprint.is_none() {
            self.local.fingerprint = text(paths::FINGERPRINT);
        }
        if self.local.listen.is_none()
            && let Some(effective) =
                text(paths::EFFECTIVE_CONFIG).and_then(|json| serde_json::from_str::<Effective>(&json).ok())
        {
            self.local.listen = Some(effective.config.api.listen);
            self.local.rejected = effective.rejected.iter().map(ToString::to_string).collect();
            self.local.ignored = effective.ignored.iter().map(ToString::to_string).collect();
        }
    }
}

/// An absolute path of [`paths`] below another root.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn plain(error: &init::Error) -> String {
    match error {
        init::Error::InputOutput(io) if io.kind() == ErrorKind::NotFound => NO_SOCKET.to_owned(),
        init::Error::InputOutput(io) => io.kind().to_string(),
        init::Error::MethodError(_, Some(detail), _) => detail.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
