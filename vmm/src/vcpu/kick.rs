//! Getting a vCPU out of the guest.
//!
//! The signal interrupts `KVM_RUN`; `immediate_exit` covers the moment between the thread's look at the gate and
//! `KVM_RUN`, in which a signal alone would be lost (Documentation/virt/kvm/api.rst, `immediate_exit`).
#![allow(unsafe_code)]

use std::os::unix::thread::JoinHandleExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use kvm_ioctls::VcpuFd;
use nix::sys::pthread::pthread_kill;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// The signal; its handler does nothing.
const SIGNAL: Signal = Signal::SIGUSR1;

extern "C" fn ignore(_: std::ffi::c_int) {}

/// Installs the handler of the signal, once in the process.
///
/// # Errors
/// None that this kernel has.
pub fn install_handler() -> Result<(), nix::Error> {
    // Without SA_RESTART, so that KVM_RUN ends.
    let action = SigAction::new(SigHandler::Handler(ignore), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, which is async-signal-safe.
    unsafe { sigaction(SIGNAL, &action) }.map(drop)
}

/// Kicks one vCPU.
pub struct Kick {
    /// `immediate_exit` of its `kvm_run`, while the descriptor is open.
    flag: Mutex<Option<Flag>>,
}

struct Flag(NonNull<u8>);

// SAFETY: the byte is written as an atomic only, from any thread.
unsafe impl Send for Flag {}

impl Flag {
    fn store(&self, value: u8) {
        // SAFETY: the pointer is into the `kvm_run` mapping, which the owner of the descriptor keeps until it has called
        // `Kick::retire`; the kernel reads the byte, and nobody in this process touches it other than atomically.
        let flag = unsafe { AtomicU8::from_ptr(self.0.as_ptr()) };
        flag.store(value, Ordering::SeqCst);
    }
}

impl Kick {
    /// Kicks the vCPU behind `fd`. Whoever owns `fd` has to call [`Kick::retire`] before dropping it.
    pub fn new(fd: &mut VcpuFd) -> Self {
        let flag = NonNull::from(&mut fd.get_kvm_run().immediate_exit);
        Self {
            flag: Mutex::new(Some(Flag(flag))),
        }
    }

    /// Makes `KVM_RUN` of the vCPU, which runs in `thread`, return.
    pub fn send(&self, thread: &JoinHandle<()>) {
        let flag = self.flag.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flag) = flag.as_ref() {
            flag.store(1);
            // While the flag is there, the thread is: it waits for the lock to retire.
            let _ = pthread_kill(thread.as_pthread_t(), SIGNAL);
        }
    }

    /// The vCPU's thread has taken note, and will look at the gate.
    pub(super) fn take(&self) {
        if let Some(flag) = self.flag.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            flag.store(0);
        }
    }

    /// No kick any more: the descriptor is about to be closed.
    pub(super) fn retire(&self) {
        *self.flag.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The suberror of `KVM_EXIT_INTERNAL_ERROR`; only after that exit.
pub fn internal_suberror(fd: &mut VcpuFd) -> u32 {
    // SAFETY: all variants of the union are plain integers, valid with any bits.
    unsafe { fd.get_kvm_run().__bindgen_anon_1.internal.suberror }
}
