//! Whether a vCPU is asleep for good: halted with interrupts off, or not started yet.

use std::sync::atomic::{AtomicBool, Ordering};

use kvm_bindings::{KVM_MP_STATE_HALTED, KVM_MP_STATE_INIT_RECEIVED, KVM_MP_STATE_UNINITIALIZED};
use kvm_ioctls::VcpuFd;

/// Interrupt flag in RFLAGS.
const INTERRUPTS: u64 = 1 << 9;

/// What a vCPU found when it last looked at itself.
#[derive(Debug, Default)]
pub struct Asleep(AtomicBool);

impl Asleep {
    /// The vCPU looks at itself, out of the guest.
    pub(super) fn look(&self, fd: &VcpuFd) {
        self.0.store(is_asleep(fd), Ordering::Release);
    }

    /// Whether it was asleep, until it looks again.
    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// What it found before does not count any more.
    pub(super) fn forget(&self) {
        self.0.store(false, Ordering::Release);
    }
}

fn is_asleep(fd: &VcpuFd) -> bool {
    match fd.get_mp_state().map(|state| state.mp_state) {
        Ok(KVM_MP_STATE_HALTED) => fd.get_regs().is_ok_and(|regs| regs.rflags & INTERRUPTS == 0),
        Ok(KVM_MP_STATE_UNINITIALIZED | KVM_MP_STATE_INIT_RECEIVED) => true,
        _ => false,
    }
}
