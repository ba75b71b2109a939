//! System calls that no safe crate wraps.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
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

/// Loads the kernel that `reboot(RB_KEXEC)` starts, with its initramfs and command line (kexec_file_load(2)).
///
/// # Errors
/// The kernel refuses the image, or memory is short.
pub fn load_next_kernel(
    kernel: BorrowedFd<'_>,
    initramfs: BorrowedFd<'_>,
    line: &CStr,
) -> std::io::Result<()> {
    const NO_FLAGS: libc::c_ulong = 0;
    let bytes = line.to_bytes_with_nul();
    // SAFETY: both descriptors are open and `bytes` is readable, with its terminator, for the whole call; the kernel keeps none
    // of them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initramfs.as_raw_fd(),
            bytes.len(),
            bytes.as_ptr(),
            NO_FLAGS,
        )
    };
    nix::errno::Errno::result(result)?;
    Ok(())
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

/// Makes a tap device that stays when it is closed and that only the user `uid` may open; with several queues where
/// `multi_queue` says so. What is opened later says by its own flags whether packets carry a virtio-net header.
///
/// # Errors
/// There is an interface of that name, the name is longer than the kernel takes, or the kernel refuses.
pub fn make_tap(name: &str, multi_queue: bool, uid: u32) -> std::io::Result<()> {
    const INT: usize = size_of::<libc::c_int>();
    nix::ioctl_write_ptr_bad!(tun_set_iff, nix::request_code_write!(b'T', 202, INT), libc::ifreq);
    nix::ioctl_write_int_bad!(tun_set_persist, nix::request_code_write!(b'T', 203, INT));
    nix::ioctl_write_int_bad!(tun_set_owner, nix::request_code_write!(b'T', 204, INT));
    let mut flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
    if multi_queue {
        flags |= libc::IFF_MULTI_QUEUE;
    }
    // SAFETY: ifreq is a plain C structure of integers and pointers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays the NUL that ends the name.
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    // IFF_TUN_EXCL is the sign bit of the field.
    request.ifr_ifru.ifru_flags = i16::from_ne_bytes((u16::try_from(flags).unwrap_or(0)).to_ne_bytes());
    let owner = i32::try_from(uid).map_err(|_| Errno::EINVAL)?;
    let tun = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: the request reads and writes one ifreq, which `request` is for the whole call.
    unsafe { tun_set_iff(tun.as_raw_fd(), &raw const request) }?;
    // SAFETY: the argument is a user id by value.
    unsafe { tun_set_owner(tun.as_raw_fd(), owner) }?;
    // SAFETY: the argument is a truth value by value.
    unsafe { tun_set_persist(tun.as_raw_fd(), 1) }?;
    Ok(())
}
