//! KVM: what this host offers, and a virtual machine in it.
//!
//! The machine has KVM's local APICs and no other interrupt chip (split irqchip); its I/O APIC is ours.

pub mod exits;
mod memory;
mod routes;
pub mod stats;

use std::sync::Arc;

use axion_api::vm::GuestCpuModel;
use axion_api::vmm::in_force::DisabledExit;
use kvm_bindings::{
    CpuId, KVM_CAP_SPLIT_IRQCHIP, KVM_CAP_X2APIC_API, KVM_MAX_CPUID_ENTRIES,
    KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK, KVM_X2APIC_API_USE_32BIT_IDS, Msrs, kvm_cpuid_entry2,
    kvm_enable_cap,
};
use kvm_ioctls::{Cap, IoEventAddress, Kvm, NoDatamatch, VcpuFd, VmFd};
use vmm_sys_util::eventfd::EventFd;

use crate::arch::cpuid::model::{self, MissingFeatures};
use crate::arch::cpuid::{self, Machine};
use crate::arch::layout;
use crate::arch::registers::{self, Entry};
use crate::arch::topology::Topology;
use crate::devices::ioapic;
use crate::memory::GuestMemory;
use crate::pci::Wiring;
use crate::pci::msix::MsiVector;
pub use routes::KvmMsi;
use routes::Routes;
use stats::{Source, VmSource};

/// The KVM API version that has been the only one since Linux 2.6.22.
const API_VERSION: i32 = 12;
/// What the machine cannot do without.
const REQUIRED: [(Cap, &str); 9] = [
    (Cap::UserMemory, "user memory"),
    (Cap::ExtCpuid, "CPUID"),
    (Cap::SplitIrqchip, "split irqchip"),
    (Cap::SignalMsi, "MSI injection"),
    (Cap::IrqRouting, "interrupt routing"),
    (Cap::Irqfd, "irqfd"),
    (Cap::Ioeventfd, "ioeventfd"),
    (Cap::IoeventfdNoLength, "ioeventfd of any length"),
    (Cap::ImmediateExit, "immediate exit"),
];

/// KVM refused something.
#[derive(Debug, thiserror::Error)]
pub enum KvmError {
    /// `/dev/kvm` cannot be opened.
    #[error("cannot open /dev/kvm")]
    Open(#[source] kvm_ioctls::Error),
    /// It speaks another API.
    #[error("/dev/kvm has API version {0}; {API_VERSION} is needed")]
    Version(i32),
    /// It lacks a capability.
    #[error("this host's KVM has no {0}")]
    Missing(&'static str),
    /// A call failed.
    #[error("KVM: cannot {what}")]
    Call {
        /// What was tried.
        what: &'static str,
        /// Cause.
        source: kvm_ioctls::Error,
    },
    /// A call failed for one vCPU.
    #[error("KVM: cannot {what} of vCPU {id}")]
    Vcpu {
        /// The vCPU.
        id: u32,
        /// What was tried.
        what: &'static str,
        /// Cause.
        source: kvm_ioctls::Error,
    },
    /// KVM does not know a model-specific register.
    #[error("KVM: cannot set MSR {index:#x} of vCPU {id}")]
    Msr {
        /// The vCPU.
        id: u32,
        /// The register.
        index: u32,
    },
}

fn call<T>(what: &'static str, result: Result<T, kvm_ioctls::Error>) -> Result<T, KvmError> {
    result.map_err(|source| KvmError::Call { what, source })
}

/// This host's KVM.
pub struct Host {
    kvm: Kvm,
    supported: Vec<kvm_cpuid_entry2>,
}

impl Host {
    /// Opens KVM and checks that it has what the machine needs.
    ///
    /// # Errors
    /// [`KvmError`] that names what is missing.
    pub fn open() -> Result<Self, KvmError> {
        let kvm = Kvm::new().map_err(KvmError::Open)?;
        let version = kvm.get_api_version();
        if version != API_VERSION {
            return Err(KvmError::Version(version));
        }
        if let Some((_, name)) = REQUIRED.iter().find(|(cap, _)| !kvm.check_extension(*cap)) {
            return Err(KvmError::Missing(name));
        }
        let supported = call(
            "read the supported CPUID",
            kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES),
        )?;
        Ok(Self {
            supported: supported.as_slice().to_vec(),
            kvm,
        })
    }

    /// Lets guests see no more of the CPU than `model`.
    ///
    /// # Errors
    /// [`MissingFeatures`], where this host lacks some of it.
    pub fn limit(&mut self, model: GuestCpuModel) -> Result<(), MissingFeatures> {
        self.supported = model::limited(&self.supported, model)?;
        Ok(())
    }

    /// Most vCPUs of a machine.
    pub fn max_cpus(&self) -> u32 {
        u32::try_from(self.kvm.get_max_vcpus())
            .unwrap_or(u32::MAX)
            .min(layout::MAX_CPUS)
    }

    /// Number of APIC ids that a machine can have; they count from 0.
    pub fn apic_ids(&self) -> u32 {
        u32::try_from(self.kvm.get_max_vcpu_id()).unwrap_or(u32::MAX)
    }

    /// Physical address bits of a guest's CPU.
    pub fn address_bits(&self) -> u8 {
        cpuid::address_bits(&self.supported)
    }

    /// Makes a machine with `memory` and no vCPUs, which leaves its guest as seldom as it can if it is `dedicated`.
    ///
    /// # Errors
    /// [`KvmError::Call`].
    pub fn create_vm(&self, memory: &GuestMemory, dedicated: bool) -> Result<Vm, KvmError> {
        let fd = call("create a VM", self.kvm.create_vm())?;
        let exits_disabled = if dedicated {
            exits::poll_when_halted(&self.kvm, &fd)?;
            exits::disable(&self.kvm, &fd)?
        } else {
            Vec::new()
        };
        let mut split = kvm_enable_cap {
            cap: KVM_CAP_SPLIT_IRQCHIP,
            ..Default::default()
        };
        split.args[0] = ioapic::PINS as u64;
        call("enable the split irqchip", fd.enable_cap(&split))?;
        let mut x2apic = kvm_enable_cap {
            cap: KVM_CAP_X2APIC_API,
            ..Default::default()
        };
        x2apic.args[0] = (KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK).into();
        call("enable 32-bit APIC ids", fd.enable_cap(&x2apic))?;
        if self.kvm.check_extension(Cap::SetIdentityMapAddr) {
            call(
                "place the identity map",
                fd.set_identity_map_address(layout::KVM_IDENTITY_MAP),
            )?;
        }
        call("place the TSS", fd.set_tss_address(layout::KVM_TSS))?;
        call("register guest memory", memory::register(&fd, memory))?;
        let fd = Arc::new(fd);
        Ok(Vm {
            routes: Routes::new(fd.clone()),
            fd,
            dedicated,
            exits_disabled,
        })
    }

    /// Makes the vCPU with index `id` of `topology`, waiting to be entered at `entry` if it is the first, and by INIT and
    /// SIPI otherwise.
    ///
    /// # Errors
    /// [`KvmError::Vcpu`] and [`KvmError::Msr`].
    pub fn create_vcpu(
        &self,
        vm: &Vm,
        id: u32,
        topology: &Topology,
        entry: Entry,
    ) -> Result<VcpuFd, KvmError> {
        let failed = |what| move |source| KvmError::Vcpu { id, what, source };
        let apic_id = topology.apic_id(id);
        let fd = vm
            .fd
            .create_vcpu(apic_id.into())
            .map_err(failed("create the descriptor"))?;
        let machine = Machine {
            topology,
            tsc_khz: fd.get_tsc_khz().ok().filter(|khz| *khz > 0),
            tsc_deadline: self.kvm.check_extension(Cap::TscDeadlineTimer),
            dedicated: vm.dedicated,
            exits_disabled: &vm.exits_disabled,
            monitor: cpuid::host_monitor(),
        };
        let entries = cpuid::for_vcpu(&self.supported, machine, apic_id);
        let leaves = CpuId::from_entries(&entries)
            .map_err(|_| kvm_ioctls::Error::new(nix::libc::E2BIG))
            .map_err(failed("build the CPUID"))?;
        fd.set_cpuid2(&leaves).map_err(failed("set the CPUID"))?;
        let msrs = registers::msrs();
        let list = Msrs::from_entries(&msrs)
            .map_err(|_| kvm_ioctls::Error::new(nix::libc::E2BIG))
            .map_err(failed("build the MSRs"))?;
        let set = fd.set_msrs(&list).map_err(failed("set the MSRs"))?;
        if let Some(msr) = msrs.get(set) {
            return Err(KvmError::Msr { id, index: msr.index });
        }
        if id == 0 {
            let reset = fd.get_sregs().map_err(failed("read the system registers"))?;
            fd.set_sregs(&entry.sregs(reset))
                .map_err(failed("set the system registers"))?;
            fd.set_regs(&entry.regs()).map_err(failed("set the registers"))?;
        }
        Ok(fd)
    }
}

/// A virtual machine.
#[derive(Clone)]
pub struct Vm {
    fd: Arc<VmFd>,
    routes: Arc<Routes>,
    dedicated: bool,
    exits_disabled: Vec<DisabledExit>,
}

impl Vm {
    /// How KVM maps its memory, counted.
    pub fn counters(&self) -> Option<VmSource> {
        Source::of_vm(self.fd.as_ref())
    }

    /// What does not leave its guest.
    pub fn exits_disabled(&self) -> &[DisabledExit] {
        &self.exits_disabled
    }

    /// Where its interrupts go.
    pub fn msi(&self) -> KvmMsi {
        KvmMsi::new(self.routes.clone())
    }
}

impl Wiring for Vm {
    fn vector(&self) -> Result<Box<dyn MsiVector>, KvmError> {
        Ok(Box::new(self.routes.vector()?))
    }

    fn doorbell(&self, address: u64, event: &EventFd) -> Result<(), KvmError> {
        // Whatever the width and the value: KVM then need not decode the instruction.
        let result = self
            .fd
            .register_ioevent(event, &IoEventAddress::Mmio(address), NoDatamatch);
        call("register an ioeventfd", result)
    }
}
