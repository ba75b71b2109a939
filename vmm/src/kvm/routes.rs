//! Interrupts into KVM's local APICs.

use std::sync::Arc;

use kvm_bindings::{
    KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1,
    kvm_irq_routing_msi, kvm_msi,
};
use kvm_ioctls::VmFd;

use crate::devices::ioapic::{Msi, MsiSink};

/// The local APICs of a VM.
pub struct KvmMsi {
    vm: Arc<VmFd>,
}

impl KvmMsi {
    pub(super) fn new(vm: Arc<VmFd>) -> Self {
        Self { vm }
    }
}

impl MsiSink for KvmMsi {
    fn send(&self, msi: Msi) {
        let msi = kvm_msi {
            address_lo: msi.address_low,
            address_hi: msi.address_high,
            data: msi.data,
            ..Default::default()
        };
        // An interrupt that the guest addresses to nobody is lost, as on metal.
        let _ = self.vm.signal_msi(msi);
    }

    fn set_level_routes(&self, routes: &[(u32, Msi)]) {
        let entries: Vec<_> = routes.iter().map(|(gsi, msi)| entry(*gsi, *msi)).collect();
        if let Ok(table) = KvmIrqRouting::from_entries(&entries) {
            // KVM refuses only tables that are too long, and MSIs with bits that ours never have.
            let _ = self.vm.set_gsi_routing(&table);
        }
    }
}

fn entry(gsi: u32, msi: Msi) -> kvm_irq_routing_entry {
    let msi = kvm_irq_routing_msi {
        address_lo: msi.address_low,
        address_hi: msi.address_high,
        data: msi.data,
        ..Default::default()
    };
    let u = kvm_irq_routing_entry__bindgen_ty_1 { msi };
    kvm_irq_routing_entry {
        gsi,
        type_: KVM_IRQ_ROUTING_MSI,
        u,
        ..Default::default()
    }
}
