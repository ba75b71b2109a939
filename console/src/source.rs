//! Asks the node how it is, and carries out what the operator confirmed.
//!
//! One task owns all connections. A part that does not answer within [`PATIENCE`] leaves its reason in the snapshot and is
//! asked again at the next look; nothing here ends because a part of the node is down.

mod proc;
mod trouble;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axion_api::client::{self, Client};
use axion_api::host::PowerAction;
use axion_api::init::{self, InitProxy, LogEntry};
use axion_api::install;
use axion_api::keys::{Answer, Call, UnlockRequest};
use axion_api::storage::Key;
use axion_api::vm::Vm;
use axion_core::config::{Effective, Secret, is_hex_key};
use axion_core::paths;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::app::trouble::{Ask, Trouble};
use crate::node::{InitFacts, Local, PoolFacts, Profile, Proved, Snapshot, locked_datasets};

/// How long a part of the node may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Deriving a key from a passphrase and sealing it takes so long at most.
const UNLOCKED: Duration = Duration::from_secs(60);
/// Putting the boot profile in force takes so long at most.
const APPLIED: Duration = Duration::from_secs(150);
/// Looking at every disk takes so long at most.
const CHECKED: Duration = Duration::from_secs(60);
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
    /// A key was pressed: somebody is there.
    Attended,
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

/// The connections to the node's parts.
pub struct Source {
    root: PathBuf,
    init: Option<InitProxy<'static>>,
    agent: Client,
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
    /// Connections to the node whose files are below `root`. Nothing is opened yet.
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            init: None,
            agent: Client::unix(below(root, paths::AGENT_SOCKET)).with_timeout(PATIENCE),
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

    /// Looks at the node again and again until nobody listens any more.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Request>, updates: mpsc::Sender<Update>) {
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
                let request = tokio::select! {
                    () = sleep_until(next) => break,
                    request = requests.recv() => request,
                };
                let update = match request {
                    None => return,
                    Some(Request::Attended) => {
                        // Who comes sees the node as it is now; who types on does not hurry it.
                        let came = Instant::now() >= self.attended_until;
                        self.attended_until = Instant::now() + STAY;
                        if came {
                            self.pools_due = Instant::now();
                            break;
                        }
                        continue;
                    }
                    Some(Request::Power(action)) => Update::Answer(self.stop_node(action).await),
                    Some(Request::ForgetToken) => Update::Answer(self.forget_token()),
                    Some(Request::ForgetRecovery) => Update::Answer(self.forget_recovery().await),
                    Some(Request::Unlock(key)) => Update::Answer(self.unlock(&key).await),
                    Some(Request::LoadKey(dataset, key)) => {
                        Update::Answer(self.load_key(&dataset, &key).await)
                    }
                    Some(Request::CheckProfile) => Update::Answer(self.check_profile().await),
                    Some(Request::ApplyProfile) => Update::Answer(self.apply_profile().await),
                    Some(Request::Trouble(ask, line)) => self.trouble(ask, &line).await,
                    Some(Request::Install(call)) => {
                        self.attended_until = Instant::now() + STAY;
                        Update::Installer(self.install(&call).await)
                    }
                };
                if updates.send(update).await.is_err() {
                    return;
                }
                break;
            }
        }
    }

    /// How the node is now.
    pub async fn look(&mut self) -> Snapshot {
        self.read_local();
        let (load, cpu) = proc::load(&self.root, self.cpu.as_ref());
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
            uptime_minutes: proc::uptime(&self.root).as_secs() / 60,
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
            self.init = None;
        }
        facts
    }

    async fn init_facts(&mut self) -> Result<InitFacts, init::Error> {
        let init = self.init().await?;
        Ok(InitFacts {
            node: init.node_status().await?,
            boot: init.boot_status().await?,
            units: init.list_units().await?,
        })
    }

    async fn init(&mut self) -> Result<InitProxy<'static>, init::Error> {
        if let Some(init) = &self.init {
            return Ok(init.clone());
        }
        let socket = below(&self.root, paths::INIT_SOCKET);
        let init = init::connect(&socket.to_string_lossy()).await?;
        self.init = Some(init.clone());
        Ok(init)
    }

    async fn ask_agent(&self) -> Result<Vec<Vm>, String> {
        self.agent.vms().await.map_err(|error| match error {
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
        let _ = self.read_profile().await;
    }

    async fn read_profile(&mut self) -> Result<(), client::Error> {
        let profile = self.agent.profile().await?;
        let proof = self.agent.proof().await.ok().and_then(|proofs| proofs.last);
        self.profile = Some(Profile {
            proof: proof.as_ref().and_then(Proved::of),
            ..profile.into()
        });
        self.profile_due = Instant::now() + PROFILE_INTERVAL;
        Ok(())
    }

    /// Compares the node with its boot profile, and says in words what came of it.
    async fn check_profile(&mut self) -> String {
        match self.read_profile().await {
            Ok(()) => match self.profile.as_ref().and_then(Profile::trouble) {
                None => "Checked: every item is as planned.".to_owned(),
                Some(trouble) => format!("Checked: {trouble}."),
            },
            Err(error) => format!("Not checked: {error}."),
        }
    }

    /// Puts the boot profile in force again, and says in words what came of it.
    async fn apply_profile(&mut self) -> String {
        let patient = self.agent.clone().with_timeout(APPLIED);
        let applied = match patient.apply_profile().await {
            Ok(applied) => applied,
            Err(error) => return format!("Nothing was put in force: {error}."),
        };
        // What it shows is newer than the last look.
        self.profile_due = Instant::now();
        let done = match applied.done.as_slice() {
            [] => "Nothing was to be done".to_owned(),
            keys => format!("In force again: {}", keys.join(", ")),
        };
        match applied.left.as_slice() {
            [] => format!("{done}."),
            [left, ..] => format!("{done}. {} left: {}.", left.key, left.reason),
        }
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
        if let Ok(pools) = self.agent.pools().await {
            self.pools = Some(pools.into_iter().map(PoolFacts::from).collect());
        }
        let is_any = self.pools.as_ref().is_some_and(|pools| !pools.is_empty());
        if !is_any {
            self.locked.clear();
        } else if let Ok(datasets) = self.agent.datasets(None).await {
            self.locked = locked_datasets(&datasets);
        }
    }

    /// Batches of log lines that came since the last time.
    pub async fn new_log_entries(&mut self) -> Vec<Vec<LogEntry>> {
        let mut batches = Vec::new();
        // While the connection is down, `look` says so.
        while let Some(init) = self.init.clone() {
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

    /// Stops the node and says in words what became of it.
    async fn stop_node(&mut self, action: PowerAction) -> String {
        match timeout(PATIENCE, self.power(action)).await {
            Ok(Ok(())) if action == PowerAction::Reboot => {
                "Rebooting: everything is being stopped in order.".to_owned()
            }
            Ok(Ok(())) => "Powering off: everything is being stopped in order.".to_owned(),
            Ok(Err(error)) => format!("Init did not do it: {}. Nothing was stopped.", plain(&error)),
            // It may be too busy with stopping things to say so.
            Err(_) => format!(
                "Init did not confirm within {} s; it may have begun.",
                PATIENCE.as_secs()
            ),
        }
    }

    fn forget_token(&self) -> String {
        match std::fs::remove_file(below(&self.root, paths::FIRST_TOKEN)) {
            Ok(()) => "The token is no longer shown.".to_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound => "The token was gone already.".to_owned(),
            Err(error) => format!(
                "The token could not be removed from {}: {error}",
                paths::FIRST_TOKEN
            ),
        }
    }

    /// Has init answer a call about keys; its refusal, or why it does not answer, is the error.
    async fn keys(&mut self, call: &Call) -> Result<Answer, String> {
        let text = serde_json::to_string(call).map_err(|error| error.to_string())?;
        let asked = async { self.init().await?.keys(&text).await };
        let answer = timeout(UNLOCKED, asked).await;
        let late = |_| format!("init does not answer within {} s", UNLOCKED.as_secs());
        let answer = answer.map_err(late)?.map_err(|error| plain(&error))?;
        match serde_json::from_str(&answer) {
            Ok(Answer::Problem(problem)) => Err(problem.detail),
            Ok(answer) => Ok(answer),
            Err(_) => Err("init answered something else than was asked".to_owned()),
        }
    }

    /// Has init answer a call about an installation.
    async fn install(&mut self, call: &install::Call) -> Result<install::Answer, String> {
        let text = serde_json::to_string(call).map_err(|error| error.to_string())?;
        let asked = async { self.init().await?.install(&text).await };
        let late = |_| format!("init does not answer within {} s", CHECKED.as_secs());
        let answer = timeout(CHECKED, asked).await.map_err(late)?;
        let answer = answer.map_err(|error| plain(&error))?;
        serde_json::from_str(&answer).map_err(|_| "init answered something else than was asked".to_owned())
    }

    /// Whether the node can be installed, and how far that is; an init that does not say has nothing to offer.
    async fn installation(&mut self) -> install::Status {
        match timeout(PATIENCE, self.install(&install::Call::Status)).await {
            Ok(Ok(install::Answer::Status(status))) => status,
            _ => install::Status::default(),
        }
    }

    /// The recovery passphrase is asked for once, and forgotten when nobody waits for it any more.
    async fn look_for_recovery(&mut self, waits: bool) {
        if !waits {
            self.recovery = None;
        } else if self.recovery.is_none()
            && let Ok(Answer::Recovery(recovery)) = self.keys(&Call::Recovery { forget: false }).await
        {
            self.recovery = Some(recovery.passphrase.into());
        }
    }

    async fn forget_recovery(&mut self) -> String {
        self.recovery = None;
        match self.keys(&Call::Recovery { forget: true }).await {
            Ok(_) => "The recovery passphrase is no longer shown.".to_owned(),
            Err(why) => format!("The recovery passphrase could not be forgotten: {why}"),
        }
    }

    /// Loads the key of a dataset, and says in words what became of it.
    async fn load_key(&mut self, dataset: &str, typed: &Secret) -> String {
        let patient = self.agent.clone().with_timeout(UNLOCKED);
        // Whatever comes of it, what is locked is looked at anew.
        self.pools_due = Instant::now();
        match patient.load_key(dataset, key_of(typed)).await {
            Ok(()) => format!("The dataset {dataset} is unlocked."),
            Err(client::Error::Problem(problem)) => format!("Not unlocked: {}.", problem.detail),
            Err(error) => format!("Not unlocked: {error}."),
        }
    }

    /// Unlocks the node's state, and says in words what became of it.
    async fn unlock(&mut self, typed: &Secret) -> String {
        let request = UnlockRequest {
            key: key_of(typed),
            seal: true,
        };
        match self.keys(&Call::Unlock { request }).await {
            Ok(_) => "The state is unlocked; the agent starts again with it.".to_owned(),
            Err(why) => format!("Not unlocked: {why}."),
        }
    }

    async fn power(&mut self, action: PowerAction) -> Result<(), init::Error> {
        let init = self.init().await?;
        match action {
            PowerAction::Reboot => init.reboot().await,
            PowerAction::PowerOff => init.power_off().await,
        }
    }

    fn read_local(&mut self) {
        let text = |path| {
            let text = std::fs::read_to_string(below(&self.root, path)).ok()?;
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

/// What was typed, as the key that it looks like.
fn key_of(typed: &Secret) -> Key {
    let text = typed.expose().to_owned();
    if is_hex_key(&text) {
        Key::Hex(text)
    } else {
        Key::Passphrase(text)
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
