//! What is known of the node, and what that means for an operator.

mod pool;

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use axion_api::init::{BootStatus, NodeStatus, Outcome, UnitState, UnitStatus};
use axion_api::keys::StateLock;
use axion_api::profile::HostProfile;
use axion_api::vm::{Pause, Vm, VmState};
use axion_core::config::{ProfileMode, Secret};
use axion_core::profile::{Attestation, Item, ItemState, Standing};
use axion_core::proof::Proof;
use axion_core::topology::CpuSet;

pub use pool::{DeviceFacts, PoolFacts, locked_datasets};

/// What one look at the node found. Values are rounded to what the screen shows, so that two looks at an idle node are
/// equal and nothing is painted.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Whole minutes since the kernel started.
    pub uptime_minutes: u64,
    /// The node's clock, whole minutes since 1970.
    pub now_minutes: u64,
    /// CPU and memory.
    pub load: Load,
    /// What init says, or why it does not answer.
    pub init: Result<InitFacts, String>,
    /// What the agent says of VMs, or why it does not answer.
    pub vms: Result<Vec<Vm>, String>,
    /// The recovery passphrase of the state, while nobody has confirmed that they noted it.
    pub recovery: Option<Secret>,
    /// Pools, once the agent has said how they are.
    pub pools: Option<Vec<PoolFacts>>,
    /// Encrypted datasets that wait for a key of their own, by name; the node's own are in [`Snapshot::state_lock`].
    pub locked: Vec<String>,
    /// What became of the boot profile, once the agent has said so.
    pub profile: Option<Profile>,
    /// Installation on a disk.
    pub install: axion_api::install::Status,
    /// What lies in `/run/axion`.
    pub local: Local,
}

/// What became of the boot profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// How the plan came to be.
    pub standing: Standing,
    /// Its mode.
    pub mode: ProfileMode,
    /// CPUs for workloads.
    pub isolated: CpuSet,
    /// The worst state of any item.
    pub state: ItemState,
    /// Every item, the worst first.
    pub items: Vec<Item>,
    /// What the last isolation proof said, where there is one.
    pub proof: Option<Proved>,
}

/// Items of the profile that a problem names.
const NAMED: usize = 3;
/// The boot's task that compared the node with its plan; what the agent said since then is newer.
const ATTESTATION: &str = "attestation";

/// What an isolation proof said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proved {
    /// Every CPU is left alone.
    Quiet,
    /// These are not.
    Disturbed(CpuSet),
}

impl Proved {
    /// Of the last proof; none where no CPU was measured, or none is meant to be quiet.
    pub fn of(proof: &Proof) -> Option<Self> {
        if proof.is_met() {
            return Some(Self::Quiet);
        }
        let promised = proof.mode == ProfileMode::Hpc && !proof.cpus.is_empty();
        promised.then(|| Self::Disturbed(proof.missed()))
    }
}

impl From<HostProfile> for Profile {
    fn from(profile: HostProfile) -> Self {
        let Attestation { state, mut items } = profile.attestation;
        items.sort_by_key(|item| Reverse(item.state));
        Self {
            standing: profile.standing,
            mode: profile.plan.mode,
            isolated: profile.plan.isolated,
            state,
            items,
            proof: None,
        }
    }
}

impl Profile {
    /// What was divided: `hpc, CPUs 1-3 for VMs`.
    pub fn division(&self) -> String {
        match (self.standing, self.isolated.is_empty()) {
            (Standing::Off, _) => "off".to_owned(),
            (Standing::Refused, _) => "not put in force".to_owned(),
            (Standing::Planned, true) => format!("{}, no CPU set apart", self.mode),
            (Standing::Planned, false) => format!("{}, CPUs {} for VMs", self.mode, self.isolated),
        }
    }

    /// What is wrong with it, if anything.
    pub fn trouble(&self) -> Option<String> {
        if self.standing == Standing::Refused {
            return Some("refused, see axctl profile show".to_owned());
        }
        let wrong = self.items.iter().filter(|item| item.state == self.state).count();
        let items = if wrong == 1 { "item" } else { "items" };
        match self.state {
            ItemState::Ok => None,
            state => Some(format!("{wrong} {items}: {}", state.word())),
        }
    }

    /// Items that are not as planned, by their keys.
    fn problem(&self) -> Option<String> {
        let wrong: Vec<&str> = self
            .items
            .iter()
            .filter(|item| item.state != ItemState::Ok)
            .map(|item| item.key.as_str())
            .collect();
        let more = wrong.len().saturating_sub(NAMED);
        let keys = wrong.get(..NAMED).unwrap_or(&wrong).join(", ");
        match (self.state, more) {
            (ItemState::Ok, _) => None,
            (state, 0) => Some(format!(
                "Boot profile {}: {keys}. Page 6 says what mends it.",
                state.word()
            )),
            (state, more) => Some(format!(
                "Boot profile {}: {keys} and {more} more. Page 6 says what mends them.",
                state.word()
            )),
        }
    }
}

/// Something that waits for a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// The node's state.
    State {
        /// Nothing is there yet: what is typed becomes the passphrase.
        is_new: bool,
    },
    /// A dataset, and what is below it.
    Dataset(String),
}

impl Lock {
    /// For people.
    pub fn words(&self) -> String {
        match self {
            Self::State { .. } => "the node's state".to_owned(),
            Self::Dataset(name) => format!("dataset {name}"),
        }
    }
}

/// How busy the node is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Share of all CPUs' time in use since the last look, percent.
    pub cpu_percent: Option<u8>,
    /// CPUs that take work.
    pub cpus: usize,
    /// Memory that the kernel manages, MiB.
    pub memory_mib: u64,
    /// Memory in use, MiB.
    pub used_mib: u64,
}

/// What init says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitFacts {
    /// The running node.
    pub node: NodeStatus,
    /// How it booted.
    pub boot: BootStatus,
    /// Services and transient units.
    pub units: Vec<UnitStatus>,
}

/// What lies in `/run/axion`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    /// Fingerprint of the node's CA, `sha256:…`.
    pub fingerprint: Option<String>,
    /// The token that the agent made at first boot, while nobody has confirmed that they noted it.
    pub first_token: Option<String>,
    /// Where the API listens, by the effective machine config.
    pub listen: Option<SocketAddr>,
    /// Machine config documents that were refused: source, line, reason.
    pub rejected: Vec<String>,
    /// What this version does not know, and has left out of documents that are in force.
    pub ignored: Vec<String>,
}

/// The node in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Init does not answer.
    Unknown,
    /// The last boot phase has not ended.
    Booting,
    /// Everything is as it should be.
    Ready,
    /// It works, but see [`Snapshot::problems`].
    Degraded,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            uptime_minutes: 0,
            now_minutes: 0,
            load: Load::default(),
            init: Err("not asked yet".to_owned()),
            vms: Err("not asked yet".to_owned()),
            recovery: None,
            pools: None,
            locked: Vec::new(),
            profile: None,
            install: axion_api::install::Status::default(),
            local: Local::default(),
        }
    }
}

impl Snapshot {
    /// The node in one word.
    pub fn condition(&self) -> Condition {
        match &self.init {
            Err(_) => Condition::Unknown,
            Ok(facts) if facts.boot.ready_us.is_none() => Condition::Booting,
            Ok(_) if self.problems().is_empty() => Condition::Ready,
            Ok(_) => Condition::Degraded,
        }
    }

    /// Whether the last boot phase has ended.
    pub fn is_ready(&self) -> bool {
        self.init
            .as_ref()
            .is_ok_and(|facts| facts.boot.ready_us.is_some())
    }

    /// What an operator should look at, worst first, each one line of plain language.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match &self.init {
            Err(why) => problems.push(format!(
                "Init does not answer ({why}). This console keeps trying."
            )),
            Ok(facts) => {
                problems.extend(
                    facts
                        .units
                        .iter()
                        .filter(|u| !u.transient)
                        .filter_map(unit_problem),
                );
                problems.extend(facts.node.state_lock.as_ref().map(locked));
                problems.extend(facts.boot_problems(self.profile.is_some()));
            }
        }
        problems.extend(self.profile.as_ref().and_then(Profile::problem));
        problems.extend(self.agent_problem());
        problems.extend(
            self.local
                .rejected
                .iter()
                .map(|why| format!("Machine config refused: {why}")),
        );
        let ignored = self.local.ignored.iter();
        problems.extend(ignored.map(|what| format!("Machine config, left out: {what}")));
        let failed = self
            .vms
            .iter()
            .flatten()
            .filter(|vm| vm.status.state == VmState::Failed);
        problems.extend(failed.map(|vm| {
            let why = vm.status.exit.as_deref().unwrap_or("no reason known");
            format!("VM {} failed: {why}", vm.name)
        }));
        // One that was asked to stand still is nobody's problem.
        let stuck = |vm: &&Vm| matches!(vm.status.pause, Some(Pause::DiskFull { .. }));
        let stuck = self.vms.iter().flatten().filter(stuck);
        problems.extend(stuck.filter_map(|vm| {
            let why = vm.status.pause.as_ref()?;
            Some(format!("VM {} stands still: {why}", vm.name))
        }));
        problems
    }

    /// A silent agent is worth a word only when nothing else explains it.
    fn agent_problem(&self) -> Option<String> {
        let why = self.vms.as_ref().err()?;
        let facts = self
            .init
            .as_ref()
            .ok()
            .filter(|facts| facts.boot.ready_us.is_some())?;
        let agent = facts.units.iter().find(|unit| unit.name == "agent");
        let explained = agent.and_then(unit_problem).is_some();
        (!explained).then(|| {
            format!("The agent does not answer ({why}). Running VMs go on. This console keeps trying.")
        })
    }

    /// Names of the VMs that run, as far as anyone knows: init's transient units tell even when the agent is silent.
    pub fn running_vms(&self) -> Vec<&str> {
        match (&self.vms, &self.init) {
            (Ok(vms), _) => {
                let up = |vm: &&Vm| !matches!(vm.status.state, VmState::Stopped | VmState::Failed);
                vms.iter().filter(up).map(|vm| vm.name.as_str()).collect()
            }
            (Err(_), Ok(facts)) => {
                let up = facts
                    .units
                    .iter()
                    .filter(|u| matches!(u.state, UnitState::Running | UnitState::Stopping));
                up.filter_map(|unit| unit.name.strip_prefix("vm-")).collect()
            }
            (Err(_), Err(_)) => Vec::new(),
        }
    }

    /// What can be unlocked here: the node's state, then datasets.
    pub fn locks(&self) -> Vec<Lock> {
        let state = self.state_lock().map(|lock| Lock::State { is_new: lock.is_new });
        let datasets = self.locked.iter().cloned().map(Lock::Dataset);
        state.into_iter().chain(datasets).collect()
    }

    /// Why the node's state is locked, where it is.
    pub fn state_lock(&self) -> Option<&StateLock> {
        self.init.as_ref().ok()?.node.state_lock.as_ref()
    }

    /// Addresses of the host, in the order of its interfaces.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let details = self
            .init
            .iter()
            .flat_map(|facts| &facts.node.network)
            .map(|(_, detail)| detail.as_str());
        details.flat_map(addresses_in).collect()
    }

    /// Where a client reaches the API.
    pub fn api_urls(&self) -> Vec<String> {
        let port = self
            .local
            .listen
            .map_or(axion_api::DEFAULT_PORT, |listen| listen.port());
        let bound = self
            .local
            .listen
            .map(|listen| listen.ip())
            .filter(|ip| !ip.is_unspecified());
        let reachable = bound.map_or_else(|| self.addresses(), |ip| vec![ip]);
        reachable
            .into_iter()
            .map(|ip| format!("https://{}", SocketAddr::new(ip, port)))
            .collect()
    }
}

impl InitFacts {
    fn boot_problems(&self, attested_since: bool) -> impl Iterator<Item = String> {
        self.boot
            .phases
            .iter()
            .filter(|phase| phase.outcome != Outcome::Ok)
            .flat_map(move |phase| {
                let tasks = phase.tasks.iter();
                let tasks = tasks.filter(move |task| !(attested_since && task.name == ATTESTATION));
                tasks.filter_map(|task| {
                    Some(format!(
                        "Boot task {} failed: {}",
                        task.name,
                        task.error.as_deref()?
                    ))
                })
            })
    }
}

fn locked(lock: &StateLock) -> String {
    let what = if lock.is_new {
        "a new passphrase"
    } else {
        "the passphrase"
    };
    format!("State locked: {}. Press u and type {what}.", lock.reason)
}

fn unit_problem(unit: &UnitStatus) -> Option<String> {
    let end = unit.exit.as_deref().unwrap_or("ended");
    match unit.state {
        UnitState::Failed => Some(format!("Service {} is down: it {end}", unit.name)),
        UnitState::BackOff => Some(format!(
            "Service {} {end} and is about to be started again",
            unit.name
        )),
        UnitState::Inactive | UnitState::Running | UnitState::Stopping => None,
    }
}

/// The addresses with a prefix length in a line for people (`10.0.2.15/24 by DHCP`), link-local ones left out.
fn addresses_in(detail: &str) -> impl Iterator<Item = IpAddr> {
    detail.split([' ', ',', ';']).filter_map(|word| {
        let address: IpAddr = word.split_once('/')?.0.parse().ok()?;
        let link_local = match address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        (!link_local).then_some(address)
    })
}

#[cfg(test)]
pub(crate) mod tests;
