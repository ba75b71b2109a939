//! CPU affinity and scheduling of the calling thread. CPUs from 1024 on cannot be named (`cpu_set_t`).
#![allow(unsafe_code)]

use std::io;

use axion_core::topology::CpuSet;
use nix::libc;
use nix::sched::{self, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// The calling thread.
const SELF: Pid = Pid::from_raw(0);

/// CPUs on which the calling thread may run.
pub fn get() -> Result<CpuSet, nix::Error> {
    let set = sched_getaffinity(SELF)?;
    let cpus = 0..sched::CpuSet::count();
    let may = cpus.filter(|cpu| set.is_set(*cpu).unwrap_or(false));
    Ok(may.filter_map(|cpu| u32::try_from(cpu).ok()).collect())
}

/// The same as the kernel has it.
pub fn get_raw() -> io::Result<libc::cpu_set_t> {
    // SAFETY: a set of no CPU is all zeros.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the call writes at most the size of the set.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(set)
}

/// Keeps the calling thread, and those that it starts, to `cpus`.
pub fn set(cpus: &CpuSet) -> Result<(), nix::Error> {
    let mut set = sched::CpuSet::new();
    for cpu in cpus.iter() {
        set.set(usize::try_from(cpu).unwrap_or(usize::MAX))?;
    }
    sched_setaffinity(SELF, &set)
}

/// Schedules the calling thread by `SCHED_FIFO`. Threads that it starts are ordinary ones.
pub fn set_fifo(priority: u8) -> io::Result<()> {
    let parameters = libc::sched_param {
        sched_priority: priority.into(),
    };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the call reads the parameters.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// `SCHED_FIFO` priority of the calling thread, if it has one.
pub fn fifo() -> Option<u8> {
    let mut parameters = libc::sched_param { sched_priority: 0 };
    // SAFETY: the call has no memory arguments.
    let policy = unsafe { libc::sched_getscheduler(0) };
    // SAFETY: the call writes the parameters.
    let result = unsafe { libc::sched_getparam(0, &raw mut parameters) };
    let fifo = result == 0 && policy & !libc::SCHED_RESET_ON_FORK == libc::SCHED_FIFO;
    u8::try_from(parameters.sched_priority).ok().filter(|_| fifo)
}
