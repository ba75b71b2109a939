//! Exits that a guest that has its CPUs to itself does without.

use axion_api::vmm::in_force::DisabledExit;
use kvm_bindings::{
    KVM_CAP_HALT_POLL, KVM_CAP_X86_DISABLE_EXITS, KVM_X86_DISABLE_EXITS_HLT, KVM_X86_DISABLE_EXITS_MWAIT,
    KVM_X86_DISABLE_EXITS_PAUSE, kvm_enable_cap,
};
use kvm_ioctls::{Kvm, VmFd};

use super::{KvmError, call};

/// What a dedicated guest wants, and KVM's bits for it.
const WANTED: [(DisabledExit, u32); 3] = [
    (DisabledExit::Hlt, KVM_X86_DISABLE_EXITS_HLT),
    (DisabledExit::Pause, KVM_X86_DISABLE_EXITS_PAUSE),
    (DisabledExit::Mwait, KVM_X86_DISABLE_EXITS_MWAIT),
];

/// How long KVM spins for a halted vCPU whose CPU nobody else wants, nanoseconds: KVM's own default, which the host may have taken
/// back for the VMs that share CPUs.
const HALT_POLL_NS: u64 = 200_000;

/// Exits that a dedicated guest wants disabled.
pub fn wanted() -> Vec<DisabledExit> {
    WANTED.iter().map(|(exit, _)| *exit).collect()
}

/// Those of the wanted exits whose bits are in `offered`.
fn granted(offered: u32) -> Vec<DisabledExit> {
    let fits = WANTED.iter().filter(|(_, bit)| offered & bit != 0);
    fits.map(|(exit, _)| *exit).collect()
}

/// Disables what the host lets; has to come before the first vCPU. Returns what is disabled.
pub(super) fn disable(kvm: &Kvm, vm: &VmFd) -> Result<Vec<DisabledExit>, KvmError> {
    let offered = u32::try_from(kvm.check_extension_raw(KVM_CAP_X86_DISABLE_EXITS.into())).unwrap_or(0);
    let bits = WANTED.iter().fold(0, |bits, (_, bit)| bits | (offered & bit));
    if bits != 0 {
        let mut cap = kvm_enable_cap {
            cap: KVM_CAP_X86_DISABLE_EXITS,
            ..Default::default()
        };
        cap.args[0] = bits.into();
        call("disable exits", vm.enable_cap(&cap))?;
    }
    Ok(granted(offered))
}

/// Has KVM spin for the vCPUs where HLT leaves the guest all the same. A kernel without the capability goes by the host's parameter.
pub(super) fn poll_when_halted(kvm: &Kvm, vm: &VmFd) -> Result<(), KvmError> {
    if kvm.check_extension_raw(KVM_CAP_HALT_POLL.into()) <= 0 {
        return Ok(());
    }
    let mut cap = kvm_enable_cap {
        cap: KVM_CAP_HALT_POLL,
        ..Default::default()
    };
    cap.args[0] = HALT_POLL_NS;
    call("have KVM spin for halted vCPUs", vm.enable_cap(&cap))
}

#[cfg(test)]
mod tests;
