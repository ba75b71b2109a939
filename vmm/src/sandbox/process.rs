//! Limits, namespaces and privileges of the process.
#![allow(unsafe_code)]

use std::fs;
use std::io;

use nix::libc::{self, c_int};
use nix::sched::CloneFlags;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{getegid, geteuid, getpid};

use super::Needs;

/// Descriptors of the process itself: sockets, their clients, event descriptors, boot files.
const OWN_FILES: u64 = 256;
/// Arenas of memory (mallopt(3)): as many as glibc has before it counts CPUs.
const ARENAS: c_int = 8;
/// Descriptors of each vCPU.
const VCPU_FILES: u64 = 2;
/// Descriptors of devices: a queue has about four.
const DEVICE_FILES: u64 = 8192;

/// Lowers what the process may use, and raises its limit of real-time priority to what is needed where it has the right to.
pub fn limit(needs: Needs) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_MSGQUEUE, 0, 0)?;
    let files = OWN_FILES + VCPU_FILES * u64::from(needs.cpus) + DEVICE_FILES;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let files = files.min(most);
    setrlimit(Resource::RLIMIT_NOFILE, files, files)?;
    let priority = needs.fifo_priority.unwrap_or(0).into();
    // Without the right to raise it, the limit stays, and the thread that needs more tells what is missing.
    let _ = setrlimit(Resource::RLIMIT_RTPRIO, priority, priority);
    Ok(())
}

/// Settles how many arenas threads share. Left alone, glibc counts the machine's CPUs in a file of sysfs when the ninth thread wants
/// memory, which no thread may open behind its filter.
pub fn settle_arenas() -> io::Result<()> {
    // SAFETY: mallopt takes numbers alone, and this process has one thread yet.
    match unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) } {
        0 => Err(io::ErrorKind::InvalidInput.into()),
        _ => Ok(()),
    }
}

/// Leaves the host's mounts, network, System V IPC and host name; returns the names of the namespaces that are new.
pub fn unshare() -> Vec<String> {
    let wanted = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    let names = ["mnt", "net", "ipc", "uts"];
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    if nix::sched::unshare(wanted).is_ok() {
        return own(&names);
    }
    let (uid, gid) = (geteuid(), getegid());
    // A user namespace gives an unprivileged process the right to the others.
    if nix::sched::unshare(CloneFlags::CLONE_NEWUSER | wanted).is_err() {
        return Vec::new();
    }
    // It keeps its ids; without a map it could not make files.
    let _ = fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"));
    let _ = fs::write("/proc/self/setgroups", "deny");
    let _ = fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"));
    own(&["user", "mnt", "net", "ipc", "uts"])
}

/// Whether the process is the first one of a PID namespace; on the host that is the service manager.
pub fn has_own_pids() -> bool {
    getpid().as_raw() == 1
}

/// No program gives it privileges any more, and no process of its user looks into it.
pub fn give_up_privileges() -> io::Result<()> {
    prctl::set_no_new_privs()?;
    prctl::set_dumpable(false)?;
    Ok(())
}
