//! What the boot server may do once its ports are open: serve what is open, and read the machines' configs.
//!
//! | layer        | what is left                                                                                  |
//! |--------------|-----------------------------------------------------------------------------------------------|
//! | init's       | own uid and group, which nothing else belongs to; a cgroup, a PID namespace, no new privileges  |
//! | capabilities | until the ports are open CAP_NET_BIND_SERVICE, then none                                       |
//! | Landlock     | reading configs, and `/proc` for the MAC addresses of neighbours; no TCP port, no connection, no abstract socket, no signal |
//! | seccomp      | the calls of an HTTP and a TFTP server; any other fails as if the kernel did not have it       |

use std::path::Path;

use axion_sandbox::calls::{
    self, Action, BackendError, BpfProgram, EXACT, EXECUTABLE, MISSING,
    Rule::{self, Any, If},
    SET_NAME, SET_NONBLOCKING, THREAD,
};
use axion_sandbox::{capabilities, files};
use nix::libc;

/// The sandbox cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Capabilities.
    #[error("sandbox: cannot give up capabilities")]
    Capabilities(#[source] std::io::Error),
    /// Landlock.
    #[error("sandbox: cannot restrict the file system")]
    Files(#[from] files::RulesetError),
    /// The filter cannot be made.
    #[error("sandbox: cannot make the system call filter")]
    Filter(#[from] BackendError),
    /// The filter cannot be applied.
    #[error("sandbox: cannot apply the system call filter")]
    Apply(#[from] calls::ApplyError),
    /// Random numbers.
    #[error("sandbox: the kernel gives no random numbers")]
    Random(#[from] getrandom::Error),
}

/// Restricts the calling thread, and those that it starts. What is open stays usable; `configs` can be read.
///
/// # Errors
/// [`SandboxError`].
pub fn enter(configs: &Path) -> Result<(), SandboxError> {
    let filter = filter()?;
    // In a program that is linked statically, libraries find no getrandom(2) and read /dev/urandom, which stays open from here on.
    getrandom::fill(&mut [0; 1])?;
    capabilities::drop_all().map_err(SandboxError::Capabilities)?;
    files::restrict([configs, Path::new("/proc")].map(|path| (path, files::READ)))?;
    Ok(calls::apply_filter(&filter)?)
}

/// `AF_INET`.
const AF_INET: u32 = 2;
/// `AF_NETLINK`, by which interfaces and their addresses are listed.
const AF_NETLINK: u32 = 16;
/// `O_ACCMODE`, of which nothing is `O_RDONLY`.
const WRITABLE: u32 = 3;
/// `SIGABRT`.
const ABORT: u32 = 6;

/// clone3 hides its arguments in memory, where a filter does not see them; glibc uses clone where the kernel seems not to have it.
const CALLS: &[Rule] = &[
    // Memory, locks, time, threads, the end.
    Any(libc::SYS_brk),
    Any(libc::SYS_clock_gettime),
    Any(libc::SYS_clock_nanosleep),
    If(libc::SYS_clone, 0, THREAD, THREAD),
    Any(libc::SYS_exit),
    Any(libc::SYS_exit_group),
    Any(libc::SYS_futex),
    Any(libc::SYS_getpid),
    Any(libc::SYS_getrandom),
    Any(libc::SYS_gettid),
    Any(libc::SYS_madvise),
    If(libc::SYS_mmap, 2, EXECUTABLE, 0),
    If(libc::SYS_mprotect, 2, EXECUTABLE, 0),
    Any(libc::SYS_mremap),
    Any(libc::SYS_munmap),
    If(libc::SYS_prctl, 0, EXACT, SET_NAME),
    Any(libc::SYS_restart_syscall),
    Any(libc::SYS_rseq),
    Any(libc::SYS_rt_sigprocmask),
    Any(libc::SYS_rt_sigreturn),
    Any(libc::SYS_sched_getaffinity),
    Any(libc::SYS_sched_yield),
    Any(libc::SYS_set_robust_list),
    Any(libc::SYS_sigaltstack),
    If(libc::SYS_tgkill, 2, EXACT, ABORT),
    // Files.
    Any(libc::SYS_close),
    Any(libc::SYS_fcntl),
    Any(libc::SYS_fstat),
    Any(libc::SYS_getdents64),
    Any(libc::SYS_lseek),
    Any(libc::SYS_newfstatat),
    If(libc::SYS_openat, 2, WRITABLE, 0),
    Any(libc::SYS_pread64),
    Any(libc::SYS_read),
    Any(libc::SYS_readv),
    Any(libc::SYS_statx),
    Any(libc::SYS_write),
    Any(libc::SYS_writev),
    // Sockets, and waiting for them.
    Any(libc::SYS_accept4),
    Any(libc::SYS_bind),
    Any(libc::SYS_connect),
    Any(libc::SYS_epoll_create1),
    Any(libc::SYS_epoll_ctl),
    Any(libc::SYS_epoll_pwait),
    Any(libc::SYS_epoll_wait),
    Any(libc::SYS_eventfd2),
    Any(libc::SYS_getpeername),
    Any(libc::SYS_getsockname),
    Any(libc::SYS_getsockopt),
    If(libc::SYS_ioctl, 1, EXACT, SET_NONBLOCKING),
    Any(libc::SYS_poll),
    Any(libc::SYS_ppoll),
    Any(libc::SYS_recvfrom),
    Any(libc::SYS_recvmsg),
    Any(libc::SYS_sendmsg),
    Any(libc::SYS_sendto),
    Any(libc::SYS_setsockopt),
    Any(libc::SYS_shutdown),
    If(libc::SYS_socket, 0, EXACT, AF_INET),
    If(libc::SYS_socket, 0, EXACT, AF_NETLINK),
];

fn filter() -> Result<BpfProgram, BackendError> {
    calls::filter([CALLS], Action::Allow, MISSING)
}

#[cfg(test)]
mod tests;
