//! Giving guest memory to KVM.
#![allow(unsafe_code)]

use kvm_bindings::kvm_userspace_memory_region;
use kvm_ioctls::VmFd;
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use crate::memory::GuestMemory;

/// Makes each region of `memory` a memory slot of `vm`.
pub fn register(vm: &VmFd, memory: &GuestMemory) -> Result<(), kvm_ioctls::Error> {
    for (slot, region) in (0..).zip(memory.iter()) {
        let start = region.start_addr();
        let host = memory
            .get_host_address(start)
            .map_err(|_| kvm_ioctls::Error::new(nix::libc::EFAULT))?;
        let slot = kvm_userspace_memory_region {
            slot,
            flags: 0,
            guest_phys_addr: start.0,
            memory_size: region.len(),
            userspace_addr: host.expose_provenance() as u64,
        };
        // SAFETY: the slot covers exactly one mapping of guest memory. `Life` keeps the memory until the VM is gone, and
        // nothing but volatile access reads it.
        unsafe { vm.set_user_memory_region(slot) }?;
    }
    Ok(())
}
