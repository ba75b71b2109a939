//! `org.axion.Init1`: what PID 1 offers to the services of its own node.
//!
//! D-Bus, peer-to-peer over the Unix socket `axion_core::paths::INIT_SOCKET`; there is no bus. The kernel's word
//! (`SO_PEERCRED`) says who the peer is: root, the agent and the console may call everything.
//!
//! Units are services that init starts by itself (`agent`, `console@ttyS0`) and **transient** ones that the agent asks
//! for (`vm-hello`). A transient unit that has ended keeps its last status until it is removed, so an agent that was
//! restarted in between still learns why.

use serde::{Deserialize, Serialize};

use crate::keys::StateLock;
use crate::recovery::MissingFirmware;

/// Well-known object path.
pub const PATH: &str = "/org/axion/Init1";
/// Interface name.
pub const INTERFACE: &str = "org.axion.Init1";

/// What a unit is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type), zvariant(signature = "s"))]
#[serde(rename_all = "kebab-case")]
pub enum UnitState {
    /// Not started, or ended as it should.
    Inactive,
    /// Its process runs.
    Running,
    /// It was asked to end.
    Stopping,
    /// It ended unexpectedly and will be started again after a pause.
    BackOff,
    /// It ended with an error and stays down.
    Failed,
}

impl std::fmt::Display for UnitState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Inactive => "inactive",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::BackOff => "back-off",
            Self::Failed => "failed",
        })
    }
}

/// A unit as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct UnitStatus {
    /// Name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Asked for by the agent rather than part of the node.
    pub transient: bool,
    /// State.
    pub state: UnitState,
    /// Process, while there is one.
    pub pid: Option<u32>,
    /// Times it was started again by itself.
    pub restarts: u32,
    /// When it entered the state, microseconds since 1970.
    pub since_unix_us: u64,
    /// How it last ended: `exited with status 1`, `killed by SIGSEGV`.
    pub exit: Option<String>,
    /// Exit status of the last run, where it ended by itself.
    pub exit_status: Option<i32>,
    /// Last line that the last run wrote to the log.
    #[serde(default)]
    pub last_line: Option<String>,
}

/// A transient unit to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct TransientUnit {
    /// Name: 1 to 64 of a-z, 0-9, `-`, `@`.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Program and arguments; the program is an absolute path.
    pub argv: Vec<String>,
    /// Environment, `KEY=value`; nothing else is inherited.
    pub env: Vec<String>,
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Directory below `/run/axion` that is made for the unit (owned by its user, mode 2750, group axion, so that the agent
    /// reaches sockets in it), made its working directory, and removed with the unit. Empty: none.
    pub run_directory: String,
    /// Files written into `run_directory` before the start (name, contents), readable by the unit.
    pub files: Vec<(String, Vec<u8>)>,
    /// Times it is started again when it ended with an error; 0: never.
    pub max_restarts: u32,
    /// Milliseconds between SIGTERM and SIGKILL.
    pub stop_timeout_ms: u32,
    /// Volumes that the unit may open while it exists; no two units have the same one.
    pub volumes: Vec<VolumeGrant>,
    /// Tap devices that are made for the unit before its start and removed with it.
    pub taps: Vec<Tap>,
    /// What it may use of the CPUs.
    pub cpus: UnitCpus,
    /// Most memory that it may use, bytes (memory.max); at the limit all of its processes are killed. 0: no limit.
    pub memory_max: u64,
}

/// What a unit may use of the CPUs (cgroup-v2.rst). As a whole it is what a unit gets that does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct UnitCpus {
    /// CPUs that it may run on, as in `0-3,8` (cpuset.cpus); empty: those of all VMs.
    pub list: String,
    /// Share of CPU time among the VMs when there is not enough (cpu.weight), 1 to 10000; 0: 100.
    pub weight: u32,
    /// Most CPU time, percent of one CPU (cpu.max), up to 1000000; 0: all.
    pub limit_percent: u32,
}

/// A volume that is handed to a unit: its primary group, and nobody else's, may open the file or the device while the unit
/// exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct VolumeGrant {
    /// Its name: of a file in `axion_core::paths::VOLUMES`, or of a zvol.
    pub name: String,
    /// The pool that the zvol is in; empty: it is a file.
    pub pool: String,
    /// Whether the unit may write.
    pub writable: bool,
}

/// A tap device that is made for a unit: only its user may open it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct Tap {
    /// Name: `vm`, a number, `-`, a number; 15 bytes at most.
    pub name: String,
    /// The bridge that it is a port of, made by `EnsureBridge`.
    pub bridge: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Several queues (IFF_MULTI_QUEUE).
    pub multi_queue: bool,
}

/// A bridge that guests are connected by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct Bridge {
    /// Name: `ax-` and 1 to 12 of a-z, 0-9 and `-`.
    pub name: String,
    /// MTU in bytes, 576 to 9216.
    pub mtu: u32,
    /// Address of the host with its prefix length; empty: none.
    pub address: String,
    /// Interface that leads outside, by its name or MAC address; empty: none.
    pub uplink: String,
    /// Take the uplink even if the host is reached by it.
    pub force: bool,
}

/// How a boot phase or task ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type), zvariant(signature = "s"))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it should.
    Ok,
    /// A best-effort task failed; the boot went on.
    Degraded,
    /// An essential task failed; the boot stopped.
    Failed,
}

/// A boot phase that has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct Phase {
    /// 1 (from the initramfs) or 2 (from the root).
    pub stage: u8,
    /// Name.
    pub name: String,
    /// Microseconds from the kernel's start to the phase's start.
    pub start_us: u64,
    /// Microseconds it took.
    pub duration_us: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Its tasks.
    pub tasks: Vec<Task>,
}

/// A task of a boot phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct Task {
    /// Name.
    pub name: String,
    /// Whether the boot stops when it fails.
    pub essential: bool,
    /// Microseconds it took.
    pub duration_us: u64,
    /// What went wrong, where it did.
    pub error: Option<String>,
}

/// How the node booted, so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct BootStatus {
    /// Microseconds from the kernel's start to init's first instruction.
    pub kernel_us: u64,
    /// Microseconds from the kernel's start to the end of the last phase; `None` while booting.
    pub ready_us: Option<u64>,
    /// Phases that have ended.
    pub phases: Vec<Phase>,
}

/// Facts about the running node that only init knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct NodeStatus {
    /// Host name in force.
    pub hostname: String,
    /// Stable identity of the machine: 32 hex digits.
    pub machine_id: String,
    /// Whether `/var/lib/axion` survives a reboot.
    pub persistent_state: bool,
    /// Whether the clock was set by NTP in this boot.
    pub time_synchronized: bool,
    /// Why the clock is not in step, where it is not.
    pub time_detail: String,
    /// Seconds in which the hardware watchdog fires when it is not fed; 0: there is none.
    pub watchdog_seconds: u32,
    /// Interfaces: name, state for people (`10.0.2.15/24 by DHCP`, `no link`).
    pub network: Vec<(String, String)>,
    /// The TPM, for people: `IFX 7.85, boot profile in PCR 15`; `none`.
    pub tpm: String,
    /// Secure Boot, for people: `on, kernel lockdown integrity`; `off`.
    pub secure_boot: String,
    /// Why the node's state is locked, where it is.
    pub state_lock: Option<StateLock>,
    /// A recovery passphrase was made in this boot and nobody has said that it is noted.
    pub recovery_waits: bool,
    /// Firmware that drivers asked for and did not get.
    pub missing_firmware: Vec<MissingFirmware>,
    /// Why the mirror of the system disk does not follow, for people; empty: it does, or there is none.
    pub mirror_degraded: String,
}

/// Whether an isolation proof is being taken. What came of it is in `axion_core::paths::PROOF`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct ProofStatus {
    /// One is.
    pub running: bool,
    /// Why the last one in this boot came to nothing, where it did.
    pub error: Option<String>,
}

/// A line of the node's log: kernel, init and services.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "dbus", derive(zbus::zvariant::Type))]
pub struct LogEntry {
    /// Grows by one with each line; a gap means lines that the ring has dropped.
    pub sequence: u64,
    /// Microseconds since 1970.
    pub unix_us: u64,
    /// Syslog severity (RFC 5424 §6.2.1): 0 emergency to 7 debug.
    pub severity: u8,
    /// `kernel`, `init`, or the unit's name.
    pub source: String,
    /// Text without a line end.
    pub message: String,
}

#[cfg(feature = "dbus")]
pub use proxy::{Error, InitProxy, connect};

#[cfg(feature = "dbus")]
mod proxy {
    use crate::recovery::NoticeKind;
    use zbus::{Fd, OwnedFd};

    use super::{BootStatus, Bridge, LogEntry, NodeStatus, Phase, ProofStatus, TransientUnit, UnitStatus};

    /// A D-Bus call to init that failed. `zbus::fdo::Error` names tell what: `UnknownObject`: no such unit,
    /// `InvalidArgs`: refused for its arguments, `FileExists`: a unit of that name exists, `Failed`: the rest.
    pub type Error = zbus::Error;

    /// Proxy of `org.axion.Init1`.
    #[zbus::proxy(
        interface = "org.axion.Init1",
        default_service = "org.axion.Init1",
        default_path = "/org/axion/Init1"
    )]
    pub trait Init {
        /// Every unit.
        fn list_units(&self) -> zbus::Result<Vec<UnitStatus>>;
        /// One unit.
        fn get_unit(&self, name: &str) -> zbus::Result<UnitStatus>;
        /// Starts a unit that is down.
        fn start_unit(&self, name: &str) -> zbus::Result<()>;
        /// Stops a unit: SIGTERM, then SIGKILL. Returns when the signal was sent.
        fn stop_unit(&self, name: &str) -> zbus::Result<()>;
        /// SIGKILL to every process of a unit.
        fn kill_unit(&self, name: &str) -> zbus::Result<()>;
        /// Stops a unit and starts it again.
        fn restart_unit(&self, name: &str) -> zbus::Result<()>;
        /// Makes and starts a transient unit.
        fn start_transient_unit(&self, unit: &TransientUnit) -> zbus::Result<UnitStatus>;
        /// Forgets a transient unit that is down and removes its run directory.
        fn remove_unit(&self, name: &str) -> zbus::Result<()>;
        /// Makes a bridge, or brings one to what is asked for; taps that are its ports stay. Fails where the host is reached
        /// by the uplink, unless forced.
        fn ensure_bridge(&self, bridge: &Bridge) -> zbus::Result<()>;
        /// Removes a bridge, where there is one; its uplink gets its own configuration back.
        fn remove_bridge(&self, name: &str) -> zbus::Result<()>;
        /// Does something with pools, datasets or snapshots: the JSON of a [`crate::storage::Call`]; the JSON of a
        /// [`crate::storage::Answer`]. It answers when it is done, which may take minutes.
        fn storage(&self, call: &str) -> zbus::Result<String>;
        /// Does something with the TPM or the keys that it keeps: the JSON of a [`crate::keys::Call`]; the JSON of a
        /// [`crate::keys::Answer`].
        fn keys(&self, call: &str) -> zbus::Result<String>;
        /// Does something about an installation on a disk: the JSON of a [`crate::install::Call`]; the JSON of a
        /// [`crate::install::Answer`].
        fn install(&self, call: &str) -> zbus::Result<String>;
        /// Tells or changes what an installed node starts: the JSON of a [`crate::update::Call`]; the JSON of a
        /// [`crate::update::Answer`].
        fn update(&self, call: &str) -> zbus::Result<String>;
        /// Tells or replaces the machine config that the node keeps: the JSON of a [`crate::config::Call`]; the JSON of a
        /// [`crate::config::Answer`].
        fn machine_config(&self, call: &str) -> zbus::Result<String>;
        /// Checks an image and writes it to the slot that is free: a memory file that is sealed against changes
        /// (memfd_create(2)), and the JSON of a [`crate::update::Staging`]; the JSON of a [`crate::update::Answer`], which may
        /// take a minute.
        fn stage_update(&self, image: Fd<'_>, staging: &str) -> zbus::Result<String>;
        /// Tells or does something about a node in trouble: the JSON of a [`crate::recovery::Call`]; the JSON of a
        /// [`crate::recovery::Answer`].
        fn recovery(&self, call: &str) -> zbus::Result<String>;
        /// Writes what `content` has to a file on a USB stick (one of [`crate::recovery::Call::Sticks`]); for the console alone. The
        /// JSON of a [`crate::recovery::Answer`].
        fn save_to_stick(&self, device: &str, name: &str, content: OwnedFd) -> zbus::Result<String>;
        /// Puts a root shell in the place of the console on `line`, where the machine config allows it; for the console alone. The
        /// JSON of a [`crate::recovery::Answer`].
        fn open_rescue_shell(&self, line: &str) -> zbus::Result<String>;
        /// Begins to send or receive a dataset: the JSON of a [`crate::storage::Stream`]; a number, and the end of a pipe to read
        /// the stream from or write it to. Closing it ends the stream.
        fn begin_stream(&self, stream: &str) -> zbus::Result<(u64, OwnedFd)>;
        /// Waits for the end of a stream: the JSON of a [`crate::storage::Answer`].
        fn end_stream(&self, number: u64) -> zbus::Result<String>;
        /// Opens the zvol of a volume for reading and writing.
        fn open_volume(&self, pool: &str, name: &str) -> zbus::Result<OwnedFd>;
        /// How the node booted.
        fn boot_status(&self) -> zbus::Result<BootStatus>;
        /// Facts about the running node.
        fn node_status(&self) -> zbus::Result<NodeStatus>;
        /// Log lines after sequence number `after`, oldest first, at most `limit`; with `after` 0 the last `limit` ones.
        fn logs(&self, after: u64, limit: u32) -> zbus::Result<Vec<LogEntry>>;
        /// Performs the actions of the boot profile's plan again whose items are not as planned, but for what would disturb a VM;
        /// the JSON of a [`crate::profile::Applied`]. Fails while the node boots and while another such call is under way.
        fn apply_profile(&self) -> zbus::Result<String>;
        /// Begins an isolation proof of so many seconds; returns at once. Fails where one is being taken, or no CPU is free for
        /// it.
        fn start_proof(&self, seconds: u32) -> zbus::Result<()>;
        /// Whether a proof is being taken.
        fn proof_status(&self) -> zbus::Result<ProofStatus>;
        /// What the virtual functions of the boot profile have, as rtnetlink tells it: the JSON of an
        /// [`axion_core::profile::FunctionSettings`].
        fn virtual_functions(&self) -> zbus::Result<String>;
        /// What the node uses of its disks and interfaces, which a boot profile must not give away: the JSON of a
        /// [`axion_core::profile::HostUses`].
        fn host_uses(&self) -> zbus::Result<String>;
        /// Stops everything in order and restarts the machine.
        fn reboot(&self) -> zbus::Result<()>;
        /// Stops everything in order and powers the machine off.
        fn power_off(&self) -> zbus::Result<()>;
        /// A unit changed state.
        #[zbus(signal)]
        fn unit_changed(&self, unit: UnitStatus) -> zbus::Result<()>;
        /// A transient unit was removed.
        #[zbus(signal)]
        fn unit_removed(&self, name: String) -> zbus::Result<()>;
        /// There is something to know.
        #[zbus(signal)]
        fn noticed(&self, about: NoticeKind, text: String) -> zbus::Result<()>;
        /// A boot phase ended.
        #[zbus(signal)]
        fn phase_finished(&self, phase: Phase) -> zbus::Result<()>;
        /// Something happened to a pool: the JSON of a [`crate::storage::PoolEvent`].
        #[zbus(signal)]
        fn pool_changed(&self, event: String) -> zbus::Result<()>;
    }

    /// Connects to init's socket at `path`.
    ///
    /// # Errors
    /// The socket is not there or refuses the peer.
    pub async fn connect(path: &str) -> zbus::Result<InitProxy<'static>> {
        let stream = std::os::unix::net::UnixStream::connect(path)
            .map_err(|e| zbus::Error::InputOutput(std::sync::Arc::new(e)))?;
        let connection = zbus::connection::Builder::unix_stream(stream)
            .p2p()
            .build()
            .await?;
        InitProxy::new(&connection).await
    }
}
