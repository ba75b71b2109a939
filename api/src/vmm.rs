//! One VMM process: its config file and its control socket.
//!
//! The control socket speaks HTTP/1.1 over a Unix stream socket:
//!
//! | request                  | answer                                                   |
//! |--------------------------|----------------------------------------------------------|
//! | `GET /v1/vm`             | [`VmmStatus`]                                            |
//! | `GET /v1/vm/metrics`     | [`VmmMetrics`]                                           |
//! | `PUT /v1/vm/power-button`| 204; the guest sees an ACPI power button press           |
//! | `PUT /v1/vm/reset`       | 204; the machine starts anew                             |
//! | `PUT /v1/vm/pause`       | 204; vCPUs stop                                          |
//! | `PUT /v1/vm/resume`      | 204                                                      |
//! | `PUT /v1/vm/stop`        | 204; the power is cut, the process ends                  |
//! | `PUT /v1/vm/balloon`     | 204; [`BalloonSize`] is asked of the guest               |
//! | `PUT /v1/vm/memory`      | 204; the guest is asked to have [`MemorySize`]           |
//!
//! A machine is also paused by itself when a disk's file has no room left on the host ([`PauseReason::DiskFull`]): what
//! the guest wrote is kept, and tried again by a resume, once there is room.
//!
//! To pause, to reset and to stop wait for what devices have in flight. Where that takes longer than 2 s, because a disk's storage
//! does not answer, the answer is 503: the request is carried out once the machine goes on, and until then there is nothing else that
//! it obeys but a `stop`.
//!
//! Errors are `problem::Problem`. The console socket is the guest's serial line as a raw byte stream: a client first gets
//! what the guest printed last (64 KiB are kept), then what it prints; what the client sends is typed into it.
//! SIGTERM is a power button press. The exit status is 0 when the guest powered off or halted (every vCPU with interrupts
//! off, which is noticed within seconds) or `stop` was asked for, 1 on an error;
//! a VMM whose sandbox was violated dies of SIGSYS, its last line on stderr says by which call of which thread.
//!
//! A config says what is wanted ([`placement`] holds the part about hardware), [`VmmStatus::in_force`] what the kernel
//! says is so ([`in_force`]). What cannot be had is an error before the guest runs, with one exception: exits that this
//! host's KVM cannot disable are merely missing from the status.

pub mod in_force;
mod limit;
pub mod metrics;
pub mod placement;
mod reset;

use serde::{Deserialize, Serialize};

use crate::vm::{GuestCpuModel, HugepageSize};
pub use in_force::InForce;
pub use metrics::VmmMetrics;
pub use placement::{CpuTopology, GuestNode, Placement, SandboxMode};
pub use reset::{ResetCause, Resets};

/// Name of the config file in a VM's run directory.
pub const CONFIG_FILE: &str = "config.json";
/// Name of the control socket in a VM's run directory.
pub const API_SOCKET: &str = "api.sock";
/// Name of the console socket in a VM's run directory.
pub const CONSOLE_SOCKET: &str = "console.sock";
/// Name of the socket in a VM's run directory where clients connect to ports of the guest.
pub const VSOCK_SOCKET: &str = "vsock.sock";
/// Last words of a VMM whose guest halted every vCPU with interrupts off, as `halt` does.
pub const GUEST_HALTED: &str = "guest halted";
/// Most network interfaces of a VM.
pub const MOST_NETS: usize = 6;

/// What a VMM process runs (JSON file).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmmConfig {
    /// Name of the VM, for messages.
    pub name: String,
    /// vCPUs.
    pub cpus: u32,
    /// The CPU that the guest sees. A baseline needs a host that has all of it.
    #[serde(default)]
    pub cpu_model: GuestCpuModel,
    /// Guest memory.
    pub memory: MemoryConfig,
    /// What to boot.
    pub boot: BootConfig,
    /// Sockets, cores and threads that the guest sees. Without it: one socket for each guest NUMA node, of cores with one
    /// thread, where the nodes have the same number of vCPUs in order.
    #[serde(default)]
    pub topology: Option<CpuTopology>,
    /// Where threads run.
    #[serde(default)]
    pub placement: Placement,
    /// The guest has its CPUs to itself: HLT, PAUSE and MWAIT do not leave it where KVM allows that, and it is told so
    /// (`KVM_HINTS_REALTIME`). Needs `memory.hugepages` and `placement.vcpus`.
    #[serde(default)]
    pub dedicated: bool,
    /// What the process does with forbidden system calls.
    #[serde(default)]
    pub sandbox: SandboxMode,
    /// Disks, in the order in which the guest finds them; 24 at most.
    #[serde(default)]
    pub disks: Vec<DiskConfig>,
    /// Network interfaces, in the order in which the guest finds them.
    #[serde(default)]
    pub nets: Vec<NetConfig>,
    /// Which device is the console.
    #[serde(default)]
    pub console: ConsoleDevice,
    /// A balloon. Needs ordinary pages (`memory.hugepages`).
    #[serde(default)]
    pub balloon: Option<BalloonConfig>,
    /// Byte streams between the guest and Unix sockets in the run directory.
    #[serde(default)]
    pub vsock: Option<VsockConfig>,
}

/// The virtio-balloon device of a VMM process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BalloonConfig {
    /// Bytes that the guest is asked for at the start: a multiple of 4096, at most `memory.size`.
    pub size: u64,
    /// The guest may take back what it has given when it is out of memory.
    pub deflate_on_oom: bool,
    /// The guest tells of pages that it has not used for a while, which go back to the host until it uses them again.
    pub free_page_reporting: bool,
}

/// Body of `PUT /v1/vm/balloon`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalloonSize {
    /// Bytes that the guest is to give in all: a multiple of 4096, at most its memory.
    pub size: u64,
}

/// The device of a VMM process that is the guest's console: what is typed goes there. The serial device is always there,
/// and what it prints is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleDevice {
    /// The 16550 at COM1: `console=ttyS0`.
    #[default]
    Serial,
    /// virtio-console: `console=hvc0`. It takes a line where the serial device takes a byte.
    Virtio,
}

/// The virtio-vsock device of a VMM process.
///
/// A client of the host connects to [`VSOCK_SOCKET`] and sends `CONNECT PORT` and a line feed; where the guest listens at
/// the port, it gets `OK PORT`, with the port that it comes from, and is connected; otherwise the socket is closed. A
/// guest that connects to a port of the host (CID 2) reaches the socket whose name is [`VSOCK_SOCKET`], `_` and the
/// port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VsockConfig {
    /// Context id of the guest, 3 to 4294967294. It need not be unique.
    pub cid: u32,
}

/// A virtio-blk disk of a VMM process. Its file is locked while the process runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskConfig {
    /// Raw file or block device, by its absolute path. A file's size is a multiple of 512 bytes.
    pub path: String,
    /// The guest cannot write.
    #[serde(default)]
    pub read_only: bool,
    /// Serial number that the guest sees: at most 20 printable ASCII characters.
    #[serde(default)]
    pub serial: Option<String>,
    /// Whether requests go past the host's page cache.
    #[serde(default)]
    pub direct: DirectIo,
    /// Request queues, 1 to 32, each with a thread. Without it one for each vCPU, 4 at most.
    #[serde(default)]
    pub queues: Option<u16>,
}

/// Whether a disk goes past the host's page cache (O_DIRECT).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectIo {
    /// Where the file allows it.
    #[default]
    Auto,
    /// It has to; single requests that are not aligned still use the cache.
    On,
    /// Never.
    Off,
}

/// A virtio-net interface of a VMM process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetConfig {
    /// Name of a tap device that exists and that the VMM's user may open; one of several queues (IFF_MULTI_QUEUE) exactly
    /// where `queues` is more than 1.
    pub tap: String,
    /// MAC address that the guest has: `02:00:00:00:00:01`.
    pub mac: String,
    /// MTU that the guest is told, bytes. Without it the guest decides.
    #[serde(default)]
    pub mtu: Option<u16>,
    /// Queue pairs. Without it 1.
    #[serde(default)]
    pub queues: Option<u16>,
}

/// Guest memory of a VMM process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// Bytes; a multiple of the page size.
    pub size: u64,
    /// Most bytes that the guest may be asked to have (virtio-mem), where it can have more than `size`: by whole blocks
    /// (`axion_core::placement::block_size`), in at most one NUMA node.
    #[serde(default)]
    pub max: Option<u64>,
    /// What backs it.
    #[serde(default)]
    pub hugepages: HugepageSize,
    /// Fill in 4 KiB pages before the guest runs. Hugepages always are.
    #[serde(default)]
    pub prefault: bool,
    /// NUMA nodes of the guest, in order; together they have all of `size`. Empty: one node with all vCPUs, on any host
    /// node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<GuestNode>,
}

/// Direct Linux boot of a VMM process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootConfig {
    /// bzImage, or ELF with a PVH note.
    pub kernel: String,
    /// Initial RAM disk.
    #[serde(default)]
    pub initrd: Option<String>,
    /// Whole kernel command line.
    pub cmdline: String,
}

/// State of the machine in a VMM process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineState {
    /// Memory and devices are being set up.
    Starting,
    /// vCPUs run.
    Running,
    /// vCPUs are stopped.
    Paused,
    /// The machine has ended; the process is about to.
    Stopped,
}

/// Answer of `GET /v1/vm`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmmStatus {
    /// Name of the VM.
    pub name: String,
    /// Version of the VMM.
    pub version: String,
    /// State.
    pub state: MachineState,
    /// Resets since the process started.
    pub resets: u64,
    /// The same by cause, and the last one's.
    #[serde(default)]
    pub reset_causes: Resets,
    /// Microseconds from the process's start to the guest's first instruction, where it has run.
    pub start_us: Option<u64>,
    /// Why the machine ended, once it has.
    pub exit: Option<String>,
    /// Why the machine is paused, while it is.
    #[serde(default)]
    pub pause_reason: Option<PauseReason>,
    /// Disks, as in the config.
    #[serde(default)]
    pub disks: Vec<DiskStatus>,
    /// Network interfaces, as in the config.
    #[serde(default)]
    pub nets: Vec<NetStatus>,
    /// Its console.
    #[serde(default)]
    pub console: ConsoleStatus,
    /// Its balloon, where it has one.
    #[serde(default)]
    pub balloon: Option<BalloonStatus>,
    /// Its socket device, where it has one.
    #[serde(default)]
    pub vsock: Option<VsockStatus>,
    /// Its memory, where that comes and goes.
    #[serde(default)]
    pub memory: Option<MemoryStatus>,
    /// What is in force, once the machine has run.
    #[serde(default)]
    pub in_force: Option<InForce>,
}

/// State of a balloon. Counters begin with the process; the rest is what the present driver says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalloonStatus {
    /// Bytes that are asked of the guest.
    pub target: u64,
    /// Bytes that it has given.
    pub actual: u64,
    /// Bytes that it has given so far, and in [`Self::deflated_bytes`] those that it has taken back.
    pub inflated_bytes: u64,
    /// Bytes that it has taken back so far.
    pub deflated_bytes: u64,
    /// Bytes of free pages that went back to the host so far.
    pub reported_bytes: u64,
    /// Ranges that were no guest memory, or that the kernel did not take.
    pub errors: u64,
    /// How the guest's memory was used when the status was last asked for.
    pub guest: Option<BalloonStatistics>,
}

/// Body of `PUT /v1/vm/memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemorySize {
    /// Bytes that the guest is to have in all: `memory.size` to `memory.max`, by whole blocks.
    pub size: u64,
}

/// Memory that comes and goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// Bytes that the guest starts with, which it keeps.
    pub least: u64,
    /// Bytes that it may have.
    pub most: u64,
    /// Bytes by which it gets and gives back.
    pub block: u64,
    /// Bytes that it is asked to have.
    pub requested: u64,
    /// Bytes that it has.
    pub present: u64,
    /// Requests of the guest that were refused, because of what it is asked for or for want of pages.
    pub refused: u64,
    /// Requests of the guest that no driver should make.
    pub errors: u64,
}

/// What a guest says of its memory, bytes; `None` is what it does not know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BalloonStatistics {
    /// Read from its swap.
    pub swapped_in: Option<u64>,
    /// Written to its swap.
    pub swapped_out: Option<u64>,
    /// Major page faults; a number.
    pub major_faults: Option<u64>,
    /// Minor page faults; a number.
    pub minor_faults: Option<u64>,
    /// Unused.
    pub free: Option<u64>,
    /// All that it has.
    pub total: Option<u64>,
    /// What it could use without swapping.
    pub available: Option<u64>,
    /// What it could get back from its disk caches.
    pub disk_caches: Option<u64>,
}

/// What a console has done since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleStatus {
    /// The device.
    pub device: ConsoleDevice,
    /// Bytes that the guest printed.
    pub printed_bytes: u64,
    /// Bytes that were typed.
    pub typed_bytes: u64,
}

/// What a socket device has done since the process started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsockStatus {
    /// Context id of the guest.
    pub cid: u32,
    /// Connections that are there now.
    pub connections: u64,
    /// Connections that the guest opened.
    pub from_guest: u64,
    /// Connections that clients of the host asked for.
    pub to_guest: u64,
    /// Resets, by either side: of what was refused or has failed, and one at each ordinary end.
    pub resets: u64,
    /// Bytes that the guest sent.
    pub sent_bytes: u64,
    /// Bytes that the guest received.
    pub received_bytes: u64,
}

/// Why a machine is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum PauseReason {
    /// It was asked for.
    Request,
    /// The host has no room for what the guest writes (ENOSPC, EDQUOT). Resume tries again.
    DiskFull {
        /// Place of the disk in the config.
        disk: usize,
        /// Its file.
        path: String,
    },
}

/// State of a network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetStatus {
    /// Its tap device.
    pub tap: String,
    /// Who moves its frames.
    pub path: NetPath,
}

/// Who moves the frames between a tap device and its guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum NetPath {
    /// The kernel (vhost-net), past the VMM: how long frames take is not counted.
    Vhost,
    /// Threads of the VMM.
    Own,
}

impl NetPath {
    /// Its name in answers and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vhost => "vhost",
            Self::Own => "own",
        }
    }
}

/// State of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStatus {
    /// Its file.
    pub path: String,
    /// Bytes.
    pub capacity: u64,
    /// Aligned requests go past the page cache.
    pub direct: bool,
    /// What each queue has done since the process started.
    pub queues: Vec<DiskCounters>,
}

/// What a queue of a disk has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskCounters {
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Discards and zeroings.
    pub discards: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests that had to wait for room on the host.
    pub waits: u64,
}
