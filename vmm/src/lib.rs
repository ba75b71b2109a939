//! One virtual machine under KVM, as one process.
//!
//! The machine is PCI-only and hardware-reduced: local APICs of KVM, an I/O APIC of ours, kvm-clock, ACPI, a 16550 for the
//! console, and nothing older. It boots Linux directly.
//!
//! | module      | what it holds                                                              |
//! |-------------|----------------------------------------------------------------------------|
//! | [`config`]  | the config file and its validation against this host                       |
//! | [`control`] | the control thread: API and console sockets, signals                       |
//! | [`machine`] | the machine thread: lives of the machine, resets, which request when       |
//! | [`vcpu`]    | vCPU threads: running, pausing, exits                                      |
//! | [`kvm`]     | what KVM offers, VMs and vCPUs in it, interrupts into it                   |
//! | [`arch`]    | address map, CPUID, registers at the entry                                 |
//! | [`memory`]  | guest memory: admission, hugepages, binding to host nodes                  |
//! | [`numa`]    | which memory and vCPUs are of which guest node                             |
//! | [`placement`] | CPUs and priorities of threads                                           |
//! | [`sandbox`] | what the process may still do once all is open                             |
//! | [`boot`]    | kernels and initrds into guest memory                                      |
//! | [`acpi`]    | the tables that describe the machine to the guest                          |
//! | [`devices`] | devices on the I/O port and memory buses                                   |
//! | [`log`]     | lines on stderr                                                            |
//! | [`pci`]     | PCI Express: configuration space, BARs, MSI-X                              |
//!
//! Threads: `axion-vmm` (control, the main thread), `machine`, `vcpu0`, `vcpu1` …, `disk0.0` … (one a queue),
//! `net0.0` … (one a queue pair), `vsock`, `balloon`, `memory`. The
//! guest's memory and every value that a device register sees are hostile; the control and console sockets belong to the node's
//! own services.
//!
//! `unsafe` is confined to `memory::mapping`, `memory::policy`, `memory::window`, `kvm::memory`, `vcpu::kick`,
//! `placement::affinity`, `sandbox::process`, `sandbox::violation`, and `engine` and `direct` of `devices::virtio::blk`,
//! and `tap` and `vhost` of `devices::virtio::net`.

pub mod acpi;
pub mod arch;
pub mod boot;
pub mod config;
pub mod control;
pub mod devices;
pub mod kvm;
pub mod log;
pub mod machine;
pub mod memory;
pub mod numa;
pub mod pci;
pub mod placement;
pub mod sandbox;
pub mod vcpu;

use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use config::ConfigError;
use control::{Control, ControlError};
use devices::serial::Console;
use machine::{Exit, Handle, MachineError, Sockets};
use placement::PlacementError;
use sandbox::{Needs, Role, Sandbox, SandboxError};

/// Version of the VMM.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The VMM failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The config.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Sockets and signals.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// CPUs of the threads.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The machine.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// Runs the VM of `run_dir` to its end. `started` is when the process began. Changes the process's umask, signals, CPUs,
/// root directory and privileges, for good: once in a process, from its only thread.
///
/// # Errors
/// [`Error`], whose [`chain`] is meant for the operator.
pub fn run(run_dir: &Path, started: Instant) -> Result<Exit, Error> {
    // The sandbox changes what the root is: no relative path and no symbolic link would be what it was. A directory that is
    // not there is named by whoever reads its config.
    let run_dir = &run_dir.canonicalize().unwrap_or_else(|_| run_dir.to_owned());
    let plan = config::load(run_dir)?;
    let console = Console::new().map_err(ControlError::Resources)?;
    let mut control = Control::new(run_dir, console.clone())?;
    let vsock = plan.vsock.map(|config| control.add_vsock(run_dir, config));
    let sockets = Sockets {
        console,
        vsock: vsock.transpose()?.map(Arc::new),
    };
    vcpu::install_handler().map_err(|errno| ControlError::Resources(errno.into()))?;
    plan.placement.keep_house()?;
    let needs = Needs {
        cpus: plan.topology.cpus(),
        fifo_priority: plan.placement.fifo_priority(),
    };
    let sandbox = Sandbox::enter(plan.sandbox, run_dir, needs)?;
    let machine = Handle::spawn(plan, sockets, sandbox.clone(), started).map_err(ControlError::Resources)?;
    sandbox.restrict(Role::Control)?;
    control.serve(machine)
}

/// An error with all its causes, on one line.
pub fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod fuzz;
