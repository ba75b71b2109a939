//! vCPU threads.
//!
//! Each vCPU has a thread `vcpuN` that owns its KVM descriptor. All of a machine share one [`Gate`]:
//!
//! ```text
//!          close           open
//! running ------> closed ------> running        kick = immediate_exit + signal, makes KVM_RUN return EINTR
//!    \              /
//!     `--> shut <--'                            the thread ends
//! ```
//!
//! The gate is looked at before the first entry and after each EINTR only: whoever changes it kicks every vCPU, so the
//! path of ordinary exits pays nothing for it.

mod gate;
mod kick;
mod run;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use kvm_ioctls::VcpuFd;

use crate::devices::bus::Bus;
use crate::devices::ioapic::IoApic;
pub use gate::Gate;
use kick::Kick;
pub use kick::install_handler;
pub use run::{Stop, VcpuError};

/// What the vCPUs of a machine share.
pub struct Shared {
    /// I/O ports.
    pub ports: Bus,
    /// Memory-mapped registers.
    pub memory: Bus,
    /// Gets the ends of level-triggered interrupts.
    pub ioapic: Arc<IoApic>,
    /// Lets vCPUs run.
    pub gate: Gate,
    /// Is told why a vCPU stopped by itself.
    pub stopped: Box<dyn Fn(u32, Stop) + Send + Sync>,
}

/// A vCPU in its thread.
pub struct Vcpu {
    kick: Arc<Kick>,
    thread: JoinHandle<()>,
}

impl Vcpu {
    /// Starts the thread; it waits at the gate.
    ///
    /// # Errors
    /// Where the kernel has no thread left.
    pub fn spawn(id: u32, mut fd: VcpuFd, shared: Arc<Shared>) -> io::Result<Self> {
        let kick = Arc::new(Kick::new(&mut fd));
        let theirs = kick.clone();
        let thread = thread::Builder::new()
            .name(format!("vcpu{id}"))
            .stack_size(STACK)
            .spawn(move || {
                // Kicks write to memory of the descriptor: they have to end before it is closed.
                let stop = run::run(&mut fd, &theirs, &shared);
                theirs.retire();
                drop(fd);
                shared.gate.leave();
                if let Some(stop) = stop {
                    (shared.stopped)(id, stop);
                }
            })?;
        Ok(Self { kick, thread })
    }

    /// Makes it look at the gate.
    pub fn kick(&self) {
        self.kick.send(&self.thread);
    }

    /// Waits for the end of the thread.
    pub fn join(self) {
        // A thread that panicked has printed why; its machine was told by nobody, and ends here all the same.
        let _ = self.thread.join();
    }
}

/// Stack of a vCPU thread, bytes.
const STACK: usize = 256 << 10;
