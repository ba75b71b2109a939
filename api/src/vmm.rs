//! One VMM process: its config file and its control socket.
//!
//! The control socket speaks HTTP/1.1 over a Unix stream socket:
//!
//! | request                  | answer                                                   |
//! |--------------------------|----------------------------------------------------------|
//! | `GET /v1/vm`             | [`VmmStatus`]                                            |
//! | `PUT /v1/vm/power-button`| 204; the guest sees an ACPI power button press           |
//! | `PUT /v1/vm/reset`       | 204; the machine starts anew                             |
//! | `PUT /v1/vm/pause`       | 204; vCPUs stop                                          |
//! | `PUT /v1/vm/resume`      | 204                                                      |
//! | `PUT /v1/vm/stop`        | 204; the power is cut, the process ends                  |
//!
//! Errors are `problem::Problem`. The console socket is the guest's serial line as a raw byte stream: a client first gets
//! what the guest printed last (64 KiB are kept), then what it prints; what the client sends is typed into it.
//! SIGTERM is a power button press. The exit status is 0 when the guest powered off or `stop` was asked for, 1 on an error.

use serde::{Deserialize, Serialize};

use crate::vm::HugepageSize;

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
}

/// Guest memory of a VMM process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryConfig {
    /// Bytes; a multiple of the page size.
    pub size: u64,
    /// What backs it.
    #[serde(default)]
    pub hugepages: HugepageSize,
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
}
