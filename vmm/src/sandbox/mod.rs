//! What the process may do once all that it needs is open. The guest is hostile: whoever breaks out of it finds a process
//! that can hardly do more than the guest could.
//!
//! | layer             | what is left                                                                        |
//! |-------------------|-------------------------------------------------------------------------------------|
//! | seccomp           | per thread, the system calls of its work ([`filters`]); any other ends the process  |
//! | Landlock          | of the file system, the run directory and what sysfs says about memory; no TCP, no  |
//! |                   | abstract socket and no signal to others                                             |
//! | namespaces        | no process, no network, no mount, no System V IPC, no host name of the host's; a    |
//! |                   | root directory with nothing but what Landlock leaves                                |
//! | capabilities      | none, and none to be gained (`no_new_privs`, empty bounding set)                    |
//! | resource limits   | no core file, no message queue, no more descriptors than the machine can need       |
//!
//! ```text
//! config read, files, /dev/kvm, sockets open
//!   --> Sandbox::enter   process-wide, while it has one thread: limits, namespaces, Landlock, capabilities
//!   --> machine thread   memory mapped and filled in --> socket device's thread: restrict(Sockets)
//!                                                    --> restrict(Machine) --> device threads: restrict(Device)
//!                                                                          --> vCPU threads: placed --> restrict(Vcpu)
//!   --> control thread   restrict(Control)
//! ```
//!
//! Filters add up: a thread has those of the thread that started it too. The machine thread starts those of vCPUs and
//! devices, so its filter allows what theirs do; that of the socket device, which alone may make and connect sockets, it
//! starts before it has a filter. What a device opens, it opens before, and its threads are there before its
//! driver is. That goes for io_uring too: the machine thread makes a disk's rings, restricted to what disks do, and their threads
//! can make none. What it calls on the thread of a vCPU belongs in the list of vCPUs, and what its own threads call in that of
//! devices.
//!
//! What the service manager has done before: own uid and gid, a cgroup, a session, a PID namespace, no new privileges, limits.
//! An own user namespace is what an unprivileged process needs to get the others; where the host forbids it
//! (`user.max_user_namespaces`), they are missing, and the status says so. A PID namespace holds the children of whoever
//! makes it, so that the service manager has to; this process is number 1 there, to which the kernel lets no signal through that
//! it has no handler for, SIGKILL from outside and faults of its own excepted.

pub mod filters;

mod files;
mod process;
mod root;
mod violation;

use std::io;
use std::path::Path;
use std::sync::Arc;

use axion_api::vmm::SandboxMode;
use axion_api::vmm::in_force::{Coverage, SandboxState};
use axion_sandbox::calls::{self, BpfProgram};
use axion_sandbox::{capabilities, files::RulesetError};

pub use filters::Role;

/// The sandbox cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A filter cannot be made.
    #[error("sandbox: cannot make the system call filter of the {role} thread")]
    Filter {
        /// Whose filter.
        role: &'static str,
        /// Cause.
        source: calls::BackendError,
    },
    /// A filter cannot be applied.
    #[error("sandbox: cannot apply the system call filter of the {role} thread")]
    Apply {
        /// Whose filter.
        role: &'static str,
        /// Cause.
        source: calls::ApplyError,
    },
    /// Landlock.
    #[error("sandbox: cannot restrict the file system")]
    Files(#[source] RulesetError),
    /// A call failed.
    #[error("sandbox: cannot {what}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// Cause.
        source: io::Error,
    },
}

/// What the process needs of its limits.
#[derive(Debug, Clone, Copy)]
pub struct Needs {
    /// vCPUs.
    pub cpus: u32,
    /// Real-time priority of vCPU threads.
    pub fifo_priority: Option<u8>,
}

/// The sandbox of this process.
#[derive(Clone)]
pub struct Sandbox {
    programs: Arc<Programs>,
    state: SandboxState,
}

struct Programs {
    control: BpfProgram,
    machine: BpfProgram,
    vcpu: BpfProgram,
    device: BpfProgram,
    sockets: BpfProgram,
    /// For the one that starts threads.
    threads: BpfProgram,
}

impl Sandbox {
    /// Restricts the process, whose only thread calls this; threads are restricted by [`Sandbox::restrict`]. The path of
    /// `run_dir` is absolute and has no symbolic link in it.
    ///
    /// # Errors
    /// [`SandboxError`]. Landlock and namespaces that this host does not have are no error; see [`Sandbox::state`].
    pub fn enter(mode: SandboxMode, run_dir: &Path, needs: Needs) -> Result<Self, SandboxError> {
        let compile = |role| filters::compile(role, mode);
        let programs = Programs {
            control: compile(Role::Control)?,
            machine: compile(Role::Machine)?,
            vcpu: compile(Role::Vcpu)?,
            device: compile(Role::Device)?,
            sockets: compile(Role::Sockets)?,
            threads: filters::threads_only()?,
        };
        let call = |what| move |source| SandboxError::Call { what, source };
        violation::install().map_err(call("handle SIGSYS"))?;
        process::limit(needs).map_err(call("lower the resource limits"))?;
        process::settle_arenas().map_err(call("settle the arenas of memory"))?;
        let mut namespaces = process::unshare();
        if process::has_own_pids() {
            namespaces.push("pid".to_owned());
        }
        let own_mounts = namespaces.iter().any(|name| name == "mnt");
        let closed = own_mounts && mode == SandboxMode::Enforce;
        let empty_root = closed && root::replace(run_dir, &files::kept(run_dir)).is_ok();
        process::give_up_privileges().map_err(call("give up gaining privileges"))?;
        let landlock = match mode {
            SandboxMode::Enforce => files::restrict(run_dir).map_err(SandboxError::Files)?,
            SandboxMode::Log => Coverage::None,
        };
        capabilities::drop_all().map_err(call("drop capabilities"))?;
        Ok(Self {
            programs: Arc::new(programs),
            state: SandboxState {
                mode,
                landlock,
                namespaces,
                empty_root,
            },
        })
    }

    /// Restricts the calling thread to the system calls of its `role`, for good.
    ///
    /// # Errors
    /// [`SandboxError::Apply`].
    pub fn restrict(&self, role: Role) -> Result<(), SandboxError> {
        let programs = match role {
            Role::Control => [None, Some(&self.programs.control)],
            Role::Machine => [Some(&self.programs.threads), Some(&self.programs.machine)],
            Role::Vcpu => [None, Some(&self.programs.vcpu)],
            Role::Device => [None, Some(&self.programs.device)],
            Role::Sockets => [None, Some(&self.programs.sockets)],
        };
        for program in programs.into_iter().flatten() {
            calls::apply_filter(program).map_err(|source| SandboxError::Apply {
                role: role.name(),
                source,
            })?;
        }
        Ok(())
    }

    /// What is in force.
    pub fn state(&self) -> SandboxState {
        self.state.clone()
    }
}
