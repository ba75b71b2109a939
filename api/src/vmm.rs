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
//!
//! Errors are `problem::Problem`. The console socket is the guest's serial line as a raw byte stream: a client first gets
//! what the guest printed last (64 KiB are kept), then what it prints; what the client sends is typed into it.
//! SIGTERM is a power button press. The exit status is 0 when the guest powered off or `stop` was asked for, 1 on an error;
//! a VMM whose sandbox was violated dies of SIGSYS, its last line on stderr says by which call of which thread.
//!
//! A config says what is wanted ([`placement`] holds the part about hardware), [`VmmStatus::in_force`] what the kernel
//! says is so ([`in_force`]). What cannot be had is an error before the guest runs, with one exception: exits that this
//! host's KVM cannot disable are merely missing from the status.

pub mod in_force;
pub mod placement;

use serde::{Deserialize, Serialize};

use crate::vm::HugepageSize;
pub use in_force::{InForce, VmmMetrics};
pub use placement::{CpuTopology, GuestNode, Placement, SandboxMode};

/// Name of the config file in a VM's run directory.
pub const CONFIG_FILE: &str = "config.json";
/// Name of the control socket in a VM's run directory.
pub const API_SOCKET: &str = "api.sock";
/// Name of the console socket in a VM's run directory.
pub const CONSOLE_SOCKET: &str = "console.sock";

/// What a VMM process runs (JSON file).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmmConfig {
    /// Name of the VM, for messages.
    pub name: String,
    /// vCPUs.
    pub cpus: u32,
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
}

/// Guest memory of a VMM process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// Bytes; a multiple of the page size.
    pub size: u64,
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
    /// Microseconds from the process's start to the guest's first instruction, where it has run.
    pub start_us: Option<u64>,
    /// Why the machine ended, once it has.
    pub exit: Option<String>,
    /// What is in force, once the machine has run.
    #[serde(default)]
    pub in_force: Option<InForce>,
}
