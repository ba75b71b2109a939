//! Virtual machines.

mod resources;
mod stats;

use axion_core::config::PageSize;
use axion_core::placement::{NumaPolicy, Placement, VmClass, VmThreads};
use axion_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};

use crate::vmm::{InForce, Resets};
pub use resources::{GuestCpuModel, MemoryRequest, Scheduling, VmMemory};
pub use stats::{
    VmBalloonStats, VmConsoleStats, VmDiskStats, VmExits, VmLatency, VmNetStats, VmStats, VmVcpuStats,
    VmVsockStats,
};

/// What a VM is to be (body of `PUT /v1/vms/{name}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// How it gets its CPUs.
    #[serde(default)]
    pub class: VmClass,
    /// vCPUs: 1 to the CPUs of its class on the nodes that it may be on.
    #[serde(default = "one")]
    pub cpus: u32,
    /// vCPUs of a core, in a dedicated VM on a host whose cores have several threads.
    #[serde(default)]
    pub threads: VmThreads,
    /// How the threads of its vCPUs are scheduled; `fifo` in a dedicated VM only.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// The CPU that the guest sees: the host's, or a baseline that the host has.
    #[serde(default)]
    pub cpu_model: GuestCpuModel,
    /// Guest memory, a multiple of 2 MiB (or of `hugepages`), at least 32 MiB.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// Most memory that it may be asked to have while it runs (virtio-mem); without it, `memory` and never more. More than
    /// `memory` by a multiple of 2 MiB (or of `hugepages`; where much is to come, of more), and on one NUMA node.
    #[serde(default)]
    pub memory_max: Option<ByteSize>,
    /// What backs the guest's memory; hugepages in a dedicated VM.
    #[serde(default)]
    pub hugepages: HugepageSize,
    /// Whether it may be on several NUMA nodes of the host.
    #[serde(default)]
    pub numa: NumaPolicy,
    /// NUMA nodes of the host that it may be on; empty: all.
    #[serde(default)]
    pub nodes: Vec<u32>,
    /// Share of CPU time among shared VMs when there is not enough, 1 to 10000; 100 when absent.
    #[serde(default)]
    pub cpu_weight: Option<u32>,
    /// Most CPU time of a shared VM, percent of one CPU: 1 to 100 for each vCPU. Without it all that is free.
    #[serde(default)]
    pub cpu_limit: Option<u32>,
    /// What it boots.
    #[serde(default)]
    pub boot: BootSource,
    /// What follows when the guest ends.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// Disks, in the order in which the guest finds them (`/dev/vda` …); 16 at most.
    #[serde(default)]
    pub disks: Vec<VmDisk>,
    /// Network interfaces, in the order in which the guest finds them; 6 at most.
    #[serde(default)]
    pub nets: Vec<VmNet>,
    /// Which device is the guest's console.
    #[serde(default)]
    pub console: ConsoleKind,
    /// Byte streams between programs of the guest and of the node, without a network.
    #[serde(default)]
    pub vsock: Option<VmVsock>,
    /// A balloon, by which the guest can be asked for memory. Needs ordinary pages (`hugepages`).
    #[serde(default)]
    pub balloon: Option<VmBalloon>,
    /// What a guest with cloud-init is told, on a read-only disk behind `disks` that is labelled `CIDATA` (NoCloud).
    #[serde(default)]
    pub cloud_init: Option<CloudInit>,
}

const fn one() -> u32 {
    1
}

const fn default_memory() -> ByteSize {
    ByteSize(128 << 20)
}

impl Default for VmSpec {
    fn default() -> Self {
        Self {
            class: VmClass::default(),
            cpus: one(),
            threads: VmThreads::default(),
            scheduling: Scheduling::default(),
            cpu_model: GuestCpuModel::default(),
            memory: default_memory(),
            memory_max: None,
            hugepages: HugepageSize::default(),
            numa: NumaPolicy::default(),
            nodes: Vec::new(),
            cpu_weight: None,
            cpu_limit: None,
            boot: BootSource::default(),
            restart: RestartPolicy::default(),
            disks: Vec::new(),
            nets: Vec::new(),
            console: ConsoleKind::default(),
            vsock: None,
            balloon: None,
            cloud_init: None,
        }
    }
}

/// A disk of a VM: a volume or an image, one of the two.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct VmDisk {
    /// Name of a volume (`PUT /v1/volumes/{name}`), which no other VM may have.
    pub volume: Option<String>,
    /// `sha256:` and the digest of an uploaded image, which any number of VMs may have; the guest cannot write to it.
    pub image: Option<String>,
    /// The guest cannot write.
    pub read_only: bool,
    /// Serial number that the guest sees: 1 to 20 printable ASCII characters without blanks.
    pub serial: Option<String>,
}

/// A network interface of a VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct VmNet {
    /// Name of a network (`PUT /v1/networks/{name}`).
    pub network: String,
    /// MAC address, `02:00:00:00:00:01`. Without it one that stays the same for this machine, VM and place in the list.
    pub mac: Option<String>,
    /// MTU that the guest is told, bytes: 576 to the network's. Without it the network's.
    pub mtu: Option<u16>,
    /// Queue pairs, 1 to the number of vCPUs, 16 at most. Without it one for each vCPU, 4 at most.
    pub queues: Option<u16>,
}

/// A guest's console.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ConsoleKind {
    /// A serial line: `console=ttyS0`. Every guest has a driver for it.
    #[default]
    Serial,
    /// virtio-console: `console=hvc0`. Faster where much is printed.
    Virtio,
}

/// The socket device of a VM (AF_VSOCK in the guest).
///
/// Its sockets on the node are in `/run/axion/vms/{name}`: a client connects to `vsock.sock`, sends `CONNECT PORT` and a
/// line feed, gets `OK` and a port, and is connected; the guest reaches what listens at `vsock.sock_PORT` by connecting to
/// that port of the host (CID 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct VmVsock {
    /// Context id of the guest, 3 to 4294967294. It need not be unique.
    pub cid: u32,
}

impl Default for VmVsock {
    fn default() -> Self {
        Self { cid: 3 }
    }
}

/// The balloon of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct VmBalloon {
    /// What the guest is asked for at its start; at most its memory.
    pub size: ByteSize,
    /// The guest may take back what it has given when it is out of memory.
    pub deflate_on_oom: bool,
    /// Pages that the guest has not used for a while go back to the node until it uses them again.
    pub free_page_reporting: bool,
}

impl Default for VmBalloon {
    fn default() -> Self {
        Self {
            size: ByteSize(0),
            deflate_on_oom: true,
            free_page_reporting: true,
        }
    }
}

/// What cloud-init in a guest is told (its NoCloud data source).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CloudInit {
    /// `user-data`: `#cloud-config` and YAML, or `#!` and a script; at most 64 KiB.
    pub user_data: String,
    /// `meta-data`, YAML; at most 16 KiB. Without it the VM's name as host name, and an instance id that changes with
    /// `user_data` and `network_config`, so that a changed one is applied at the next start.
    pub meta_data: Option<String>,
    /// `network-config`, YAML; at most 16 KiB.
    pub network_config: Option<String>,
}

/// What backs a guest's memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum HugepageSize {
    /// Ordinary 4 KiB pages.
    #[default]
    #[serde(rename = "none")]
    None,
    /// 2 MiB hugetlb pages.
    #[serde(rename = "2MiB")]
    TwoMiB,
    /// 1 GiB hugetlb pages.
    #[serde(rename = "1GiB")]
    OneGiB,
}

impl HugepageSize {
    /// The size of a page; `None` for ordinary pages.
    pub const fn page_size(self) -> Option<PageSize> {
        match self {
            Self::None => None,
            Self::TwoMiB => Some(PageSize::TwoMiB),
            Self::OneGiB => Some(PageSize::OneGiB),
        }
    }
}

/// Direct Linux boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct BootSource {
    /// Guest kernel.
    pub kernel: ImageRef,
    /// Guest initial RAM disk.
    pub initrd: ImageRef,
    /// Appended to the arguments that Axion gives (`console=ttyS0` …).
    pub cmdline: String,
}

/// A file that a guest boots from: `builtin` (what the node's image carries), `none` (initrd only), or `sha256:` and the
/// digest of an uploaded image (`PUT /v1/images/{digest}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct ImageRef(pub String);

impl Default for ImageRef {
    fn default() -> Self {
        Self("builtin".to_owned())
    }
}

/// What follows when a guest ends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It stays stopped.
    #[default]
    Never,
    /// It is started again when its VMM failed, not when the guest powered off.
    OnFailure,
}

/// A VM as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Vm {
    /// Name: 1 to 40 of a-z, 0-9 and `-`, starting with a letter.
    pub name: String,
    /// Changes with every write; for `If-Match`.
    pub revision: u64,
    /// What was asked for.
    pub spec: VmSpec,
    /// Whether it is meant to run.
    pub desired: DesiredState,
    /// What it is doing.
    pub status: VmStatus,
}

impl Vm {
    /// Memory of the guest: what it has, where that is known, and else what it is to have.
    pub fn memory(&self) -> ByteSize {
        let changing = self.status.memory.as_ref();
        changing.map_or(self.spec.memory, |memory| memory.present.unwrap_or(memory.wanted))
    }
}

/// What the operator wants of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum DesiredState {
    /// It is to run.
    Running,
    /// It is to be off.
    Stopped,
}

/// State of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum VmState {
    /// Off.
    Stopped,
    /// Its VMM is being started, or sets up memory and devices: the guest has not begun.
    Starting,
    /// The guest has begun and is not paused.
    Running,
    /// The guest stands still; see `pause`.
    Paused,
    /// The guest was asked to power off.
    Stopping,
    /// Its VMM ended with an error; see `exit`.
    Failed,
}

impl std::fmt::Display for VmState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
            Self::Failed => "failed",
        })
    }
}

/// What a VM is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmStatus {
    /// State.
    pub state: VmState,
    /// Process of its VMM.
    pub pid: Option<u32>,
    /// When it entered the state, microseconds since 1970 by the node's clock.
    pub since_unix_us: u64,
    /// Why it last ended: `guest powered off`, `guest halted`, `killed by SIGKILL`, or the VMM's error.
    pub exit: Option<String>,
    /// Why it stands still, while it is paused.
    pub pause: Option<Pause>,
    /// Its network interfaces, as in the spec.
    #[serde(default)]
    pub nets: Vec<VmNetStatus>,
    /// Its memory, where it grows and shrinks.
    #[serde(default)]
    pub memory: Option<VmMemory>,
    /// Where it is, from its start on until it is off: what it has of the host and nobody else.
    #[serde(default)]
    pub placement: Option<Placement>,
    /// What the kernel made of the placement, as the VMM read it back, while it runs.
    #[serde(default)]
    pub in_force: Option<InForce>,
    /// Its resets since the start by cause, while it runs.
    #[serde(default)]
    pub resets: Option<Resets>,
}

/// Why a guest stands still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(tag = "reason", rename_all = "kebab-case")]
pub enum Pause {
    /// It was asked for.
    Request,
    /// The node has no room for what the guest writes. Nothing is lost; a resume tries again, once there is room.
    DiskFull {
        /// Place of the disk in the spec.
        disk: u32,
        /// Its volume.
        volume: Option<String>,
    },
}

impl std::fmt::Display for Pause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request => f.write_str("asked for"),
            Self::DiskFull { disk, volume } => {
                write!(f, "no room on the node for what the guest writes to disk {disk}")?;
                volume
                    .as_ref()
                    .map_or(Ok(()), |volume| write!(f, " (volume {volume})"))
            }
        }
    }
}

/// A network interface of a VM as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmNetStatus {
    /// Its network.
    pub network: String,
    /// MAC address that the guest has.
    pub mac: String,
    /// The host's end of it, while the VM runs: a tap device.
    pub tap: String,
}

/// Body of `PUT /v1/vms/{name}/balloon`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BalloonRequest {
    /// What the guest is to give in all, a multiple of 4 KiB, at most its memory. Until the VM's next start.
    pub size: ByteSize,
}

/// Body of `POST /v1/vms/{name}/stop`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct StopRequest {
    /// Cut the power instead of pressing the power button.
    pub force: bool,
}

/// An uploaded guest kernel or initrd (`GET /v1/images`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Image {
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}
