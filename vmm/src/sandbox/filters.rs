//! The system calls of each kind of thread.
//!
//! A call that is not listed raises SIGSYS, whose handler says which call of which thread it was and lets the signal end the
//! process. Where the arguments make a call dangerous, they are part of the rule: no memory becomes executable, no process is
//! started, signals are those that the VMM itself uses, and a vCPU thread can do no more to KVM than run.
//!
//! clone3 hides its arguments in memory, where a filter does not see them. It is answered with ENOSYS; glibc then uses
//! clone.

use axion_api::vmm::SandboxMode;
use axion_sandbox::calls::{
    self, Action, BpfProgram, EXACT, EXECUTABLE, MISSING,
    Rule::{self, Any, If},
    SET_NAME, SET_NONBLOCKING, THREAD,
};
use nix::libc;

use super::SandboxError;

/// What a thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sockets and signals.
    Control,
    /// Lives of the machine.
    Machine,
    /// A vCPU.
    Vcpu,
    /// Work of a device.
    Device,
    /// The socket device's work.
    Sockets,
}

impl Role {
    /// Its name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Machine => "machine",
            Self::Vcpu => "vCPU",
            Self::Device => "device",
            Self::Sockets => "sockets",
        }
    }

    fn rules(self) -> Vec<&'static [Rule]> {
        match self {
            Self::Control => vec![COMMON, CONTROL],
            Self::Machine => vec![COMMON, VCPU, THREADS, DEVICE, MACHINE],
            Self::Vcpu => vec![COMMON, VCPU],
            Self::Device => vec![COMMON, DEVICE],
            Self::Sockets => vec![COMMON, SOCKETS],
        }
    }
}

/// Type and number of an ioctl, without direction and size.
const REQUEST: u32 = 0xffff;
/// Type of an ioctl.
const REQUEST_TYPE: u32 = 0xff00;
/// Type of KVM's ioctls.
const KVM: u32 = 0xae00;
/// Type of vhost's ioctls.
const VHOST: u32 = 0xaf00;
/// `TUNSETOFFLOAD`.
const SET_OFFLOAD: u32 = 0x4004_54d0;
/// `TUNSETQUEUE`.
const SET_QUEUE: u32 = 0x4004_54d9;
/// `PR_GET_NAME`: the last words name the thread.
const GET_NAME: u32 = 16;
/// `PR_SET_NO_NEW_PRIVS`.
const SET_NO_NEW_PRIVS: u32 = 38;
/// `SECCOMP_SET_MODE_FILTER`.
const SET_FILTER: u32 = 1;
/// `AF_UNIX`.
const AF_UNIX: u32 = 1;
/// `F_GETFD`: std looks whether a descriptor is open before it closes it, where debug assertions are on.
const GET_FD_FLAGS: u32 = 1;
/// Signals that the VMM sends: SIGUSR1 kicks vCPUs, SIGABRT and SIGSYS end the process.
const SIGNALS: [u32; 3] = [10, 6, 31];

/// Memory, locks, time, descriptors that are open, the end.
const COMMON: &[Rule] = &[
    Any(libc::SYS_brk),
    Any(libc::SYS_clock_gettime),
    Any(libc::SYS_close),
    Any(libc::SYS_eventfd2),
    Any(libc::SYS_exit),
    Any(libc::SYS_exit_group),
    If(libc::SYS_fcntl, 1, EXACT, GET_FD_FLAGS),
    Any(libc::SYS_futex),
    Any(libc::SYS_getpid),
    Any(libc::SYS_getrandom),
    Any(libc::SYS_gettid),
    Any(libc::SYS_madvise),
    If(libc::SYS_mmap, 2, EXECUTABLE, 0),
    If(libc::SYS_mprotect, 2, EXECUTABLE, 0),
    Any(libc::SYS_mremap),
    Any(libc::SYS_munmap),
    If(libc::SYS_prctl, 0, EXACT, GET_NAME),
    Any(libc::SYS_read),
    Any(libc::SYS_restart_syscall),
    Any(libc::SYS_rt_sigprocmask),
    Any(libc::SYS_rt_sigreturn),
    Any(libc::SYS_sched_yield),
    Any(libc::SYS_sigaltstack),
    If(libc::SYS_tgkill, 2, EXACT, SIGNALS[0]),
    If(libc::SYS_tgkill, 2, EXACT, SIGNALS[1]),
    If(libc::SYS_tgkill, 2, EXACT, SIGNALS[2]),
    Any(libc::SYS_write),
];

/// Connections, epoll, the end of sockets and lock; interrupts of the console's UART.
const CONTROL: &[Rule] = &[
    Any(libc::SYS_accept4),
    Any(libc::SYS_epoll_ctl),
    Any(libc::SYS_epoll_wait),
    Any(libc::SYS_epoll_pwait),
    Any(libc::SYS_flock),
    If(libc::SYS_ioctl, 1, EXACT, SET_NONBLOCKING),
    If(libc::SYS_ioctl, 1, REQUEST, KVM | 0xa5), // KVM_SIGNAL_MSI
    Any(libc::SYS_pread64),                      // what KVM counts
    Any(libc::SYS_recvfrom),
    Any(libc::SYS_sendto),
    Any(libc::SYS_unlink),
];

/// Running, and what devices do on the thread of the vCPU that touches their registers.
/// Rules of a call are looked at in order: running comes first.
const VCPU: &[Rule] = &[
    If(libc::SYS_ioctl, 1, REQUEST, KVM | 0x80), // KVM_RUN
    If(libc::SYS_ioctl, 1, REQUEST, KVM | 0x6a), // KVM_SET_GSI_ROUTING
    If(libc::SYS_ioctl, 1, REQUEST, KVM | 0x76), // KVM_IRQFD
    If(libc::SYS_ioctl, 1, REQUEST, KVM | 0x79), // KVM_IOEVENTFD
    If(libc::SYS_ioctl, 1, REQUEST, KVM | 0x81), // KVM_GET_REGS
    If(libc::SYS_ioctl, 1, REQUEST, KVM | 0x98), // KVM_GET_MP_STATE
    If(libc::SYS_ioctl, 1, REQUEST, KVM | 0xa5), // KVM_SIGNAL_MSI
    If(libc::SYS_ioctl, 1, REQUEST, KVM | 0xad), // KVM_KVMCLOCK_CTRL
    If(libc::SYS_ioctl, 1, EXACT, SET_OFFLOAD),
    If(libc::SYS_ioctl, 1, EXACT, SET_QUEUE),
    If(libc::SYS_ioctl, 1, REQUEST, VHOST), // VHOST_GET_FEATURES, VHOST_SET_FEATURES
    If(libc::SYS_ioctl, 1, REQUEST, VHOST | 0x03), // VHOST_SET_MEM_TABLE
    If(libc::SYS_ioctl, 1, REQUEST, VHOST | 0x10), // VHOST_SET_VRING_NUM
    If(libc::SYS_ioctl, 1, REQUEST, VHOST | 0x11), // VHOST_SET_VRING_ADDR
    If(libc::SYS_ioctl, 1, REQUEST, VHOST | 0x12), // VHOST_SET_VRING_BASE, VHOST_GET_VRING_BASE
    If(libc::SYS_ioctl, 1, REQUEST, VHOST | 0x20), // VHOST_SET_VRING_KICK
    If(libc::SYS_ioctl, 1, REQUEST, VHOST | 0x21), // VHOST_SET_VRING_CALL
    If(libc::SYS_ioctl, 1, REQUEST, VHOST | 0x30), // VHOST_NET_SET_BACKEND
];

/// Starting a thread.
const THREADS: &[Rule] = &[
    If(libc::SYS_clone, 0, THREAD, THREAD),
    Any(libc::SYS_clone3),
    If(libc::SYS_prctl, 0, EXACT, SET_NAME),
    Any(libc::SYS_rseq),
    Any(libc::SYS_set_robust_list),
];

/// Input and output on descriptors that are open, restricted rings of it (`blk::engine`), waiting for it. Whoever could make a
/// ring could have the kernel do by it what is not in this list.
const DEVICE: &[Rule] = &[
    Any(libc::SYS_epoll_create1),
    Any(libc::SYS_epoll_ctl),
    Any(libc::SYS_epoll_pwait),
    Any(libc::SYS_epoll_wait),
    Any(libc::SYS_fallocate),
    Any(libc::SYS_fdatasync),
    Any(libc::SYS_fsync),
    Any(libc::SYS_io_uring_enter),
    Any(libc::SYS_io_uring_register),
    If(libc::SYS_ioctl, 1, EXACT, SET_QUEUE),
    Any(libc::SYS_mbind), // memory that comes and goes
    Any(libc::SYS_ppoll),
    Any(libc::SYS_preadv),
    Any(libc::SYS_preadv2),
    Any(libc::SYS_pwritev),
    Any(libc::SYS_pwritev2),
    Any(libc::SYS_readv),
    Any(libc::SYS_sched_getaffinity),
    Any(libc::SYS_writev),
];

/// Unix sockets, of which the empty root leaves those in the run directory: taking clients, connecting to services.
const SOCKETS: &[Rule] = &[
    Any(libc::SYS_accept4),
    Any(libc::SYS_connect),
    Any(libc::SYS_epoll_create1),
    Any(libc::SYS_epoll_ctl),
    Any(libc::SYS_epoll_pwait),
    Any(libc::SYS_epoll_wait),
    If(libc::SYS_ioctl, 1, EXACT, SET_NONBLOCKING),
    Any(libc::SYS_recvfrom),
    Any(libc::SYS_sched_getaffinity),
    Any(libc::SYS_sendto),
    Any(libc::SYS_shutdown),
    If(libc::SYS_socket, 0, EXACT, AF_UNIX),
];

/// A new life: virtual machine, placed and restricted threads; kernel and initrd, read again.
const MACHINE: &[Rule] = &[
    Any(libc::SYS_io_uring_setup), // for the disks of the life, before their threads
    If(libc::SYS_ioctl, 1, REQUEST_TYPE, KVM),
    If(libc::SYS_ioctl, 1, REQUEST, VHOST | 0x01), // VHOST_SET_OWNER
    Any(libc::SYS_lseek),
    Any(libc::SYS_pread64), // what KVM counts
    If(libc::SYS_prctl, 0, EXACT, SET_NO_NEW_PRIVS),
    Any(libc::SYS_sched_getparam),
    Any(libc::SYS_sched_getscheduler),
    Any(libc::SYS_sched_setaffinity),
    Any(libc::SYS_sched_setscheduler),
    If(libc::SYS_seccomp, 0, EXACT, SET_FILTER),
];

/// The filter of `role`.
///
/// # Errors
/// [`SandboxError::Filter`].
pub fn compile(role: Role, mode: SandboxMode) -> Result<BpfProgram, SandboxError> {
    let otherwise = match mode {
        SandboxMode::Enforce => Action::Trap,
        SandboxMode::Log => Action::Log,
    };
    calls::filter(role.rules(), Action::Allow, otherwise).map_err(|source| SandboxError::Filter {
        role: role.name(),
        source,
    })
}

/// The filter that keeps glibc from clone3.
///
/// # Errors
/// [`SandboxError::Filter`].
pub fn threads_only() -> Result<BpfProgram, SandboxError> {
    let rules: &[Rule] = &[Any(libc::SYS_clone3)];
    calls::filter([rules], MISSING, Action::Allow).map_err(|source| SandboxError::Filter {
        role: "every",
        source,
    })
}

#[cfg(test)]
mod tests;
