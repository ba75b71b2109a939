//! Interrupts into KVM's local APICs, and the table that routes them.
//!
//! KVM has one routing table a VM and replaces it as a whole. [`Routes`] owns it for its two users: the I/O APIC's
//! level-triggered pins (their GSI is the pin; KVM reads them for the EOIs that it has to report) and MSI-X vectors (GSIs
//! above the pins, each with an eventfd that KVM turns into the interrupt, irqfd).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kvm_bindings::{
    KVM_IRQ_ROUTING_MSI, KvmIrqRouting, kvm_irq_routing_entry, kvm_irq_routing_entry__bindgen_ty_1,
    kvm_irq_routing_msi, kvm_msi,
};
use kvm_ioctls::VmFd;
use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::{KvmError, call};
use crate::devices::ioapic::{self, Msi, MsiSink};
use crate::pci::msix::MsiVector;

/// Owner of a VM's routing table.
pub(super) struct Routes {
    vm: Arc<VmFd>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// Pins and their MSIs.
    level: Vec<(u32, Msi)>,
    /// MSIs of the GSIs from [`ioapic::PINS`] on.
    vectors: Vec<Option<Msi>>,
}

impl Table {
    fn entries(&self) -> Vec<kvm_irq_routing_entry> {
        let vectors = (FIRST_VECTOR..)
            .zip(&self.vectors)
            .filter_map(|(gsi, msi)| msi.map(|msi| (gsi, msi)));
        let all = self.level.iter().copied().chain(vectors);
        all.map(|(gsi, msi)| entry(gsi, msi)).collect()
    }
}

/// GSI of the first MSI-X vector.
const FIRST_VECTOR: u32 = 8;
const _: () = assert!(FIRST_VECTOR as usize == ioapic::PINS);

impl Routes {
    pub(super) fn new(vm: Arc<VmFd>) -> Arc<Self> {
        Arc::new(Self {
            vm,
            table: Mutex::default(),
        })
    }

    /// A new MSI-X vector. It goes nowhere until it is routed.
    pub(super) fn vector(self: &Arc<Self>) -> Result<IrqFd, KvmError> {
        let event = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)
            .map_err(|error| kvm_ioctls::Error::new(error.raw_os_error().unwrap_or(nix::libc::EMFILE)));
        let event = call("make an interrupt's eventfd", event)?;
        let mut table = self.table();
        let index = u32::try_from(table.vectors.len()).unwrap_or(u32::MAX);
        let gsi = FIRST_VECTOR.saturating_add(index);
        call("register an irqfd", self.vm.register_irqfd(&event, gsi))?;
        table.vectors.push(None);
        Ok(IrqFd {
            routes: self.clone(),
            event: Arc::new(event),
            gsi,
        })
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Table)) {
        let mut table = self.table();
        change(&mut table);
        if let Ok(routing) = KvmIrqRouting::from_entries(&table.entries()) {
            // KVM refuses only tables that are too long (vectors are bounded by the devices of one bus), and MSIs with
            // bits that ours never have.
            let _ = self.vm.set_gsi_routing(&routing);
        }
    }
}

/// The local APICs of a VM.
pub struct KvmMsi {
    routes: Arc<Routes>,
}

impl KvmMsi {
    pub(super) fn new(routes: Arc<Routes>) -> Self {
        Self { routes }
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
        let _ = self.routes.vm.signal_msi(msi);
    }

    fn set_level_routes(&self, routes: &[(u32, Msi)]) {
        self.routes.change(|table| table.level = routes.to_vec());
    }
}

/// An MSI-X vector that KVM delivers.
pub struct IrqFd {
    routes: Arc<Routes>,
    event: Arc<EventFd>,
    gsi: u32,
}

impl MsiVector for IrqFd {
    fn route(&self, msi: Msi) {
        let index = usize::try_from(self.gsi - FIRST_VECTOR).unwrap_or(usize::MAX);
        self.routes.change(|table| {
            if let Some(slot) = table.vectors.get_mut(index) {
                *slot = Some(msi);
            }
        });
    }

    fn raise(&self) {
        // It fails only at a count that KVM, which takes each one at once, never lets it reach.
        let _ = self.event.write(1);
    }

    fn event(&self) -> Arc<EventFd> {
        self.event.clone()
    }

    fn connect(&self, connected: bool) {
        // KVM looks whether it was signalled meanwhile. It refuses only what is so already.
        let _ = if connected {
            self.routes.vm.register_irqfd(&self.event, self.gsi)
        } else {
            self.routes.vm.unregister_irqfd(&self.event, self.gsi)
        };
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
