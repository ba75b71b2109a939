//! System calls that no safe crate wraps.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollTimeout, poll};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Waits, and does nothing else: for PID 1's synchronous parts, where nothing announces what is waited for.
pub fn pause(duration: Duration) {
    let _ = poll(
        &mut [],
        PollTimeout::try_from(duration).unwrap_or(PollTimeout::MAX),
    );
}

/// A device file that tells the event loop when it can be read.
///
/// # Errors
/// The file is of a kind that cannot tell.
pub fn readable(file: File) -> std::io::Result<AsyncFd<File>> {
    // SAFETY: a `File` owns its descriptor and keeps it open until it is dropped, which `AsyncFd` does after it has
    // deregistered it.
    Ok(unsafe { AsyncFd::register_with_interest(file, Interest::READABLE) }?)
}

/// Takes one ended child off the process table: its id and raw wait status. `None`: no child has ended.
///
/// nix's `waitpid` loses the process id of a child that a real-time signal killed.
pub fn reap() -> Option<(u32, i32)> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for an int for the whole call.
    let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
    u32::try_from(pid)
        .ok()
        .filter(|pid| *pid > 0)
        .map(|pid| (pid, status))
}

/// Whether any child is there, running or ended.
pub fn has_children() -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, flags) != Err(Errno::ECHILD)
}

/// Sets the watchdog's timeout in seconds (WDIOC_SETTIMEOUT, Documentation/watchdog/watchdog-api.rst); returns what the
/// hardware made of it.
///
/// # Errors
/// The driver has a fixed timeout.
pub fn set_watchdog_timeout(device: &File, seconds: i32) -> nix::Result<i32> {
    nix::ioctl_readwrite!(wdioc_settimeout, b'W', 6, libc::c_int);
    let mut value = seconds;
    // SAFETY: the request reads and writes one int, which `value` is for the whole call.
    unsafe { wdioc_settimeout(device.as_raw_fd(), &raw mut value) }?;
    Ok(value)
}

/// Slews the clock by `offset` (adjtime(3)), and tells the kernel that the clock is in step, so that it keeps the RTC in
/// step too.
///
/// # Errors
/// The kernel refuses.
pub fn slew_clock(offset_us: i64) -> std::io::Result<()> {
    let delta = libc::timeval {
        tv_sec: offset_us / 1_000_000,
        tv_usec: offset_us % 1_000_000,
    };
    // SAFETY: `delta` is a valid timeval for the whole call; a null pointer asks for no old delta.
    if unsafe { libc::adjtime(&raw const delta, std::ptr::null_mut()) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    mark_clock_synchronized()
}

/// Clears STA_UNSYNC (adjtimex(2)).
///
/// # Errors
/// The kernel refuses.
pub fn mark_clock_synchronized() -> std::io::Result<()> {
    // SAFETY: timex is a plain C structure of integers, for which zero is a value.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    timex.modes = libc::ADJ_STATUS | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
    // SAFETY: `timex` is a valid timex for the whole call.
    if unsafe { libc::adjtimex(&raw mut timex) } < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(())
}

/// `struct loop_config` (Linux, include/uapi/linux/loop.h), of which only these fields are used.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    unused: [u64; 6],
    key_size: u32,
    flags: u32,
    names: [u64; 22],
    reserved: [u64; 8],
}

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4c0a;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;

/// Makes a read-only loop device of `file`: its path, and the device, to be kept open until it is mounted. It goes with
/// its last user.
///
/// # Errors
/// No loop device is free, or the kernel has none.
pub fn attach_loop(file: &File) -> std::io::Result<(String, File)> {
    let control = File::open("/dev/loop-control")?;
    // SAFETY: the request takes no argument.
    let number = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) })?;
    let path = format!("/dev/loop{number}");
    let device = File::open(&path)?;
    let config = LoopConfig {
        fd: file.as_raw_fd().unsigned_abs(),
        block_size: 0,
        unused: [0; 6],
        key_size: 0,
        flags: LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
        names: [0; 22],
        reserved: [0; 8],
    };
    // SAFETY: the request reads a `struct loop_config`, which `config` is for the whole call.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) })?;
    Ok((path, device))
}
