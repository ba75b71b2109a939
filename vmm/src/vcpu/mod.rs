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
//!
//! A new thread first takes its place ([`Placement`]) and its sandbox; only those that have both come to the gate.

mod asleep;
mod exits;
mod gate;
mod kick;
mod run;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use kvm_ioctls::VcpuFd;

use crate::devices::bus::Bus;
use crate::devices::ioapic::IoApic;
use crate::placement::{Placed, Placement, PlacementError};
use crate::sandbox::{Role, Sandbox, SandboxError};
use asleep::Asleep;
pub use exits::Exits;
pub use gate::Gate;
use kick::Kick;
pub use kick::install_handler;
use nix::time::{ClockId, clock_gettime};
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

/// What a vCPU's thread needs besides its descriptor.
pub struct Setup {
    /// Index of the vCPU.
    pub id: u32,
    /// Where it runs.
    pub placement: Placement,
    /// What it may do.
    pub sandbox: Sandbox,
    /// What it counts.
    pub exits: Arc<Exits>,
}

/// A vCPU's thread cannot be what it should.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// It cannot run where it should.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// It cannot be restricted.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// It panicked.
    #[error("the thread of vCPU {0} ended before it began")]
    Lost(u32),
}

/// A vCPU in its thread.
pub struct Vcpu {
    id: u32,
    kick: Arc<Kick>,
    asleep: Arc<Asleep>,
    ready: Receiver<Result<Placed, SetupError>>,
    thread: JoinHandle<()>,
}

impl Vcpu {
    /// Starts the thread; it takes its place and waits at the gate.
    ///
    /// # Errors
    /// Where the kernel has no thread left.
    pub fn spawn(setup: Setup, mut fd: VcpuFd, shared: Arc<Shared>) -> io::Result<Self> {
        let kick = Arc::new(Kick::new(&mut fd));
        let theirs = kick.clone();
        let asleep: Arc<Asleep> = Arc::default();
        let looks = asleep.clone();
        let (report, ready) = mpsc::sync_channel(1);
        let id = setup.id;
        let thread = thread::Builder::new()
            .name(format!("vcpu{id}"))
            .stack_size(STACK)
            .spawn(move || {
                let placed = setup.apply();
                let good = placed.is_ok();
                // Whoever waits for it may have given up on another vCPU.
                let _ = report.send(placed);
                let stop = good
                    .then(|| run::run(&mut fd, &theirs, &looks, &shared, &setup.exits))
                    .flatten();
                // Kicks write to memory of the descriptor: they have to end before it is closed.
                theirs.retire();
                drop(fd);
                shared.gate.leave();
                if let Some(stop) = stop {
                    (shared.stopped)(id, stop);
                }
            })?;
        Ok(Self {
            id,
            kick,
            asleep,
            ready,
            thread,
        })
    }

    /// Waits until the thread has its place; says which. To be called once.
    ///
    /// # Errors
    /// [`SetupError`]; the thread has ended then.
    pub fn placed(&self) -> Result<Placed, SetupError> {
        self.ready.recv().unwrap_or(Err(SetupError::Lost(self.id)))
    }

    /// Makes it look at itself; [`Vcpu::is_asleep`] says what it found, a moment later.
    pub fn look(&self) {
        self.asleep.forget();
        self.kick();
    }

    /// Whether it was asleep for good when it last looked at itself.
    pub fn is_asleep(&self) -> bool {
        self.asleep.get()
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

impl Setup {
    fn apply(&self) -> Result<Placed, SetupError> {
        let placed = self.placement.place_vcpu(self.id)?;
        self.sandbox.restrict(Role::Vcpu)?;
        Ok(placed)
    }
}

/// CPU time that a thread of this process has used.
pub fn cpu_time(thread: u32) -> Duration {
    // The clock of a thread by its id (`CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED`, include/linux/posix-timers_types.h).
    let id = i32::try_from(thread).unwrap_or_default();
    let clock = ClockId::from_raw((!id << 3) | 6);
    clock_gettime(clock).map_or(Duration::ZERO, Duration::from)
}

/// Stack of a vCPU thread, bytes.
const STACK: usize = 256 << 10;
