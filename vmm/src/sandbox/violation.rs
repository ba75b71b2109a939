//! The last words of a process that made a forbidden system call.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::io::{self, Cursor, Write};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// Takes SIGSYS once: the second one, sent by the handler, ends the process.
pub fn install() -> io::Result<()> {
    let flags = SaFlags::SA_SIGINFO | SaFlags::SA_RESETHAND | SaFlags::SA_NODEFER;
    let action = SigAction::new(SigHandler::SigAction(violated), flags, SigSet::empty());
    // SAFETY: the handler formats into its stack and makes system calls, which is async-signal-safe.
    unsafe { sigaction(Signal::SIGSYS, &action) }?;
    Ok(())
}

/// `si_syscall`: a 32-bit word that follows signal number, errno, code, padding and a pointer (sigaction(2)).
const SYSCALL_WORD: usize = 6;

extern "C" fn violated(_: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    let word = info.cast::<c_int>().wrapping_add(SYSCALL_WORD);
    // SAFETY: the kernel passes a whole siginfo_t, which is longer; any bits are an int.
    let call = unsafe { word.read_unaligned() };
    let name = name();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut text = Cursor::new([0; 128]);
    // It fits; the rest would be lost.
    let _ = text.write_all(b"sandbox: thread ");
    let _ = text.write_all(name);
    let _ = writeln!(text, " made the forbidden system call {call}; killed");
    let length = usize::try_from(text.position()).unwrap_or(0);
    let text = text.into_inner();
    // SAFETY: the range is inside the array.
    unsafe { libc::write(2, text.as_ptr().cast(), length.min(text.len())) };
    // SAFETY: raise has no memory arguments and is async-signal-safe.
    unsafe { libc::raise(libc::SIGSYS) };
    // The first process of a PID namespace does not get a signal of its own that it has no handler for. What no thread may call
    // raises it once more, from the kernel, which then insists.
    // SAFETY: the call has no arguments.
    unsafe { libc::syscall(libc::SYS_getppid) };
    // SAFETY: the call has no memory arguments and does not come back.
    unsafe { libc::_exit(128 + libc::SIGSYS) };
}

/// Name of the calling thread, with zeros behind it.
fn name() -> [u8; 16] {
    let mut name = [0; 16];
    // SAFETY: PR_GET_NAME writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name
}
