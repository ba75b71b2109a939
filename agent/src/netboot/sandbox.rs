//! What the boot server may do once its ports are open: serve what is open, and read the machines' configs.
//!
//! | layer        | what is left                                                                                  |
//! |--------------|-----------------------------------------------------------------------------------------------|
//! | init's       | own uid and group, which nothing else belongs to; a cgroup, a PID namespace, no new privileges  |
//! | capabilities | until the ports are open CAP_NET_BIND_SERVICE, then none                                       |
//! | Landlock     | reading configs, and `/proc` for the MAC addresses of neighbours; no TCP port, no connection, no abstract socket, no signal |
//! | seccomp      | the calls of an HTTP and a TFTP server; any other fails as if the kernel did not have it       |

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, Scope,
};
use nix::libc;
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// The newest rules that are asked for; an older kernel enforces what it knows.
const RULES: ABI = ABI::V6;

/// The sandbox cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Capabilities.
    #[error("sandbox: cannot give up capabilities")]
    Capabilities(#[source] std::io::Error),
    /// Landlock.
    #[error("sandbox: cannot restrict the file system")]
    Files(#[from] RulesetError),
    /// The filter cannot be made.
    #[error("sandbox: cannot make the system call filter")]
    Filter(#[from] BackendError),
    /// The filter cannot be applied.
    #[error("sandbox: cannot apply the system call filter")]
    Apply(#[from] seccompiler::Error),
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
    give_up_capabilities().map_err(|errno| SandboxError::Capabilities(errno.into()))?;
    restrict_files(configs)?;
    Ok(seccompiler::apply_filter(&filter)?)
}

fn give_up_capabilities() -> rustix::io::Result<()> {
    rustix::thread::clear_ambient_capability_set()?;
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        },
    )
}

fn restrict_files(configs: &Path) -> Result<(), RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?;
    for path in [configs, Path::new("/proc")] {
        // What is not there need not be allowed.
        if let Ok(path) = PathFd::new(path) {
            rules = rules.add_rule(PathBeneath::new(path, read))?;
        }
    }
    rules.restrict_self().map(drop)
}

/// An allowed call.
enum Rule {
    /// With any arguments.
    Any(libc::c_long),
    /// Where the low half of an argument has a value under a mask: number, argument, mask, value.
    If(libc::c_long, u8, u32, u32),
}

use Rule::{Any, If};

/// All bits.
const EXACT: u32 = u32::MAX;
/// `PROT_EXEC`.
const EXECUTABLE: u32 = 4;
/// Flags of a clone that makes a thread: `CLONE_THREAD` and `CLONE_VM`.
const THREAD: u32 = 0x0001_0100;
/// `PR_SET_NAME`.
const SET_NAME: u32 = 15;
/// `FIONBIO`.
const SET_NONBLOCKING: u32 = 0x5421;
/// `AF_INET`.
const AF_INET: u32 = 2;
/// `AF_NETLINK`, by which interfaces and their addresses are listed.
const AF_NETLINK: u32 = 16;
/// `O_ACCMODE`, of which nothing is `O_RDONLY`.
const WRITABLE: u32 = 3;
/// `SIGABRT`.
const ABORT: u32 = 6;

/// clone3 hides its arguments in memory, where a filter does not see them; glibc uses clone where the kernel seems not to have it.
const RULES_OF_CALLS: &[Rule] = &[
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
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for rule in RULES_OF_CALLS {
        match *rule {
            Any(call) => drop(rules.insert(call, Vec::new())),
            If(call, argument, mask, value) => {
                let operator = SeccompCmpOp::MaskedEq(mask.into());
                let condition =
                    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())?;
                rules
                    .entry(call)
                    .or_default()
                    .push(SeccompRule::new(vec![condition])?);
            }
        }
    }
    let missing = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, missing, SeccompAction::Allow, TargetArch::x86_64)?.try_into()
}

#[cfg(test)]
mod tests;
