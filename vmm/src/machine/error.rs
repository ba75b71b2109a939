//! What can go wrong with a machine.

use std::io;

use crate::acpi;
use crate::boot::BootError;
use crate::devices::bus::Overlap;
use crate::devices::virtio::balloon::backing::PAGE;
use crate::devices::virtio::transport::FunctionError;
use crate::devices::virtio::worker::WorkerError;
use crate::kvm::KvmError;
use crate::memory::MemoryError;
use crate::pci::TooManyFunctions;
use crate::sandbox::SandboxError;
use crate::vcpu::{SetupError, VcpuError};

/// The machine ended by an error.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// Guest memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Kernel, initrd or command line.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// ACPI tables.
    #[error(transparent)]
    Acpi(#[from] acpi::TooLarge),
    /// KVM.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// Two devices at one address.
    #[error(transparent)]
    Devices(#[from] Overlap),
    /// The thread of a device.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// A virtio device.
    #[error(transparent)]
    Function(#[from] FunctionError),
    /// More devices than the PCI bus takes.
    #[error(transparent)]
    Pci(#[from] TooManyFunctions),
    /// No thread for a vCPU.
    #[error("cannot start the thread of vCPU {id}")]
    Thread {
        /// The vCPU.
        id: u32,
        /// Cause.
        source: io::Error,
    },
    /// The thread of a vCPU is not what it should be.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The sandbox of the machine thread.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// A vCPU failed.
    #[error("vCPU {id} failed")]
    Vcpu {
        /// The vCPU.
        id: u32,
        /// Cause.
        source: VcpuError,
    },
    /// Memory is gone that the guest believes to have; the log says why.
    #[error(
        "the host could neither take back all the memory that the guest gave nor put back what it had taken of it"
    )]
    MemoryLost,
    /// The machine thread could not be started, or panicked.
    #[error("machine thread: {0}")]
    Lost(String),
}

/// The balloon cannot be what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BalloonError {
    /// There is none.
    #[error("the machine has no balloon; its config has to have one")]
    None,
    /// A size that it cannot have.
    #[error("size: {size} is not allowed; a multiple of {PAGE} bytes, at most the memory's {memory}")]
    Size {
        /// Bytes that were asked for.
        size: u64,
        /// Bytes of guest memory.
        memory: u64,
    },
}
