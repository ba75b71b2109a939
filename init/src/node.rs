//! What the parts of stage 2 share.

use std::sync::{Arc, Mutex, OnceLock};

use axion_api::init::{BootStatus, NodeStatus, Phase};
use axion_api::recovery::NoticeKind;
use axion_api::storage::PoolEvent;
use axion_core::cmdline::CommandLine;
use axion_core::config::{Boot, Effective};
use axion_core::profile::Plan;
use axion_storage::Storage;
use tokio::sync::{Notify, broadcast, mpsc, watch};
use tokio::task::JoinHandle;

use crate::handover::Handover;
use crate::log::Log;
use crate::names::Names;
use crate::network::{State, Switch};
use crate::power::Verb;
use crate::stage2::TaskError;
use crate::streams::Streams;
use crate::units::{Change, Commands, Units};
use crate::watchdog::Watchdog;

/// Signals that wait for a slow D-Bus peer before it loses some.
const SIGNALS: usize = 256;

/// What D-Bus peers are told.
#[derive(Debug, Clone)]
pub enum Signal {
    /// A unit changed or is gone.
    Unit(Change),
    /// A boot phase ended.
    Phase(Box<Phase>),
    /// There is something to know.
    Notice(NoticeKind, String),
    /// Something happened to a pool.
    Pool(Box<PoolEvent>),
}

/// The running node.
pub struct Node {
    /// The log.
    pub log: Log,
    /// Kernel command line.
    pub cmdline: CommandLine,
    /// What stage 1 found.
    pub handover: Handover,
    /// Machine config, once it is resolved.
    pub config: OnceLock<Effective>,
    /// Services and VMs.
    pub units: Units,
    /// Commands that init runs itself.
    pub commands: Arc<Commands>,
    /// Facts for D-Bus.
    pub status: Mutex<NodeStatus>,
    /// How the boot went.
    pub boot: Mutex<BootStatus>,
    /// Signals to D-Bus peers.
    pub signals: broadcast::Sender<Signal>,
    /// Wishes to go down.
    pub power: mpsc::UnboundedSender<Verb>,
    /// The hardware watchdog.
    pub watchdog: Watchdog,
    /// ZFS, once it is loaded and pools were looked for.
    pub storage: OnceLock<Arc<Storage>>,
    /// The TPM, and keys of encrypted datasets.
    pub keys: crate::keys::Keys,
    /// Datasets that are sent or received.
    pub streams: Mutex<Streams>,
    /// Told when something was done to a pool.
    pub pools_touched: Notify,
    /// KVM while it is being loaded.
    pub kvm: Mutex<Option<JoinHandle<Result<(), TaskError>>>>,
    /// The network as it is.
    pub network: watch::Sender<State>,
    /// What connects guests.
    pub switch: Arc<Switch>,
    /// Names to addresses.
    pub names: Arc<Names>,
    /// The other system disk.
    pub mirror: crate::slot::mirror::Mirror,
    /// Installation on a disk by a person.
    pub installer: crate::install::Installer,
    /// The isolation proof that is being taken.
    pub proof: crate::proof::Status,
    /// Held while the boot profile is put in force again.
    pub applying: tokio::sync::Mutex<()>,
}

impl Node {
    /// A node at the start of stage 2.
    ///
    /// # Errors
    /// Signals cannot be received.
    pub fn new(
        log: Log,
        cmdline: CommandLine,
        handover: Handover,
        power: mpsc::UnboundedSender<Verb>,
    ) -> std::io::Result<Self> {
        let (signals, _) = broadcast::channel(SIGNALS);
        let announce = {
            let signals = signals.clone();
            // Nobody may be listening.
            move |change| drop(signals.send(Signal::Unit(change)))
        };
        let boot = BootStatus {
            kernel_us: handover.kernel_us,
            ready_us: None,
            phases: handover.phases.clone(),
        };
        let status = NodeStatus {
            time_detail: "not measured yet".to_owned(),
            tpm: "not asked yet".to_owned(),
            ..NodeStatus::default()
        };
        let (network, state) = watch::channel(State::default());
        let switch = Arc::new(Switch::new(log.clone()));
        let commands = Arc::new(Commands::default());
        let units = Units::start(log.clone(), switch.clone(), commands.clone(), Arc::new(announce))?;
        Ok(Self {
            units,
            commands,
            log,
            cmdline,
            handover,
            config: OnceLock::new(),
            status: Mutex::new(status),
            boot: Mutex::new(boot),
            signals,
            power,
            watchdog: Watchdog::default(),
            storage: OnceLock::new(),
            keys: crate::keys::Keys::default(),
            streams: Mutex::default(),
            pools_touched: Notify::new(),
            kvm: Mutex::new(None),
            network,
            switch,
            names: Arc::new(Names::new(state)),
            mirror: crate::slot::mirror::Mirror::default(),
            installer: crate::install::Installer::default(),
            proof: crate::proof::Status::default(),
            applying: tokio::sync::Mutex::const_new(()),
        })
    }

    /// The boot profile's plan; none where stage 1's word was lost.
    pub fn plan(&self) -> Option<&Plan> {
        self.handover.profile.as_ref().map(|resolved| &resolved.plan)
    }

    /// Tells D-Bus peers something that needs no answer.
    pub fn notice(&self, about: NoticeKind, text: String) {
        // Nobody may be listening.
        let _ = self.signals.send(Signal::Notice(about, text));
    }

    /// What a failed boot does.
    pub fn on_failure(&self) -> Boot {
        self.config
            .get()
            .map(|c| c.config.boot.clone())
            .unwrap_or_default()
    }
}

/// Held by a test that has a node, or children of its own: a node reaps every child of the process.
#[cfg(test)]
pub static REAPER: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A node to test with; there is only one at a time.
#[cfg(test)]
pub async fn for_tests() -> (
    Arc<Node>,
    mpsc::UnboundedReceiver<Verb>,
    tokio::sync::MutexGuard<'static, ()>,
) {
    let guard = REAPER.lock().await;
    let (power, wishes) = mpsc::unbounded_channel();
    let node = Node::new(Log::open(), CommandLine::default(), Handover::default(), power).unwrap();
    (Arc::new(node), wishes, guard)
}
