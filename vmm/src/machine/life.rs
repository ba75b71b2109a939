//! One life of a machine, from power-on or reset to the next reset or the end.
//!
//! A life owns its KVM VM, vCPU threads and devices with their threads; all of them are made anew by a reset, so that
//! nothing of the last life can be left in them. RAM, files and console outlive it.
//!
//! vCPUs stop before devices, and go on after them: a device at work always has its driver's next step to come.

use std::sync::Arc;
use std::time::Duration;

use axion_api::vmm::ConsoleDevice;
use axion_api::vmm::in_force::{DisabledExit, VcpuThread};

use super::MachineError;
use crate::acpi::Tables;
use crate::arch::layout;
use crate::config::Plan;
use crate::devices::bus::Bus;
use crate::devices::ioapic::IoApic;
use crate::devices::keyboard_reset::KeyboardReset;
use crate::devices::power::{Power, PowerRequest};
use crate::devices::serial::{Console, Uart};
use crate::devices::virtio::VirtioDevice;
use crate::devices::virtio::balloon::BalloonDevice;
use crate::devices::virtio::balloon::backing::Balloon;
use crate::devices::virtio::blk::Block;
use crate::devices::virtio::console::VirtioConsole;
use crate::devices::virtio::mem::MemoryDevice;
use crate::devices::virtio::mem::backing::Resize;
use crate::devices::virtio::net::Net;
use crate::devices::virtio::pair_times::PairTimes;
use crate::devices::virtio::rng::Rng;
use crate::devices::virtio::transport::{BAR_SIZE, VirtioPci};
use crate::devices::virtio::vsock::Vsock;
use crate::devices::virtio::worker::Restrict;
use crate::kvm::Vm;
use crate::kvm::stats::{Source, Sources};
use crate::memory::Ram;
use crate::pci::windows::Windows;
use crate::pci::{ConfigSpace, Function};
use crate::sandbox::{Role, Sandbox};
use crate::vcpu::{self, Exits, Gate, Setup, Shared, Stop, Vcpu};

/// What a life wants of its machine.
#[derive(Debug)]
pub enum Wish {
    /// The guest asked for it.
    Power(PowerRequest),
    /// A vCPU stopped.
    Vcpu(u32, Stop),
    /// The file of the disk at this place has no room left.
    DiskFull(usize),
    /// Memory is gone that the guest believes to have.
    MemoryLost,
}

/// Where the life sends its [`Wish`]es; called on vCPU and device threads.
pub type WishSink = Arc<dyn Fn(Wish) + Send + Sync>;

/// What devices reach of the world outside. Outlives resets.
pub struct Outside {
    /// The console.
    pub console: Arc<Console>,
    /// How long virtio-console took for it.
    pub console_times: Arc<PairTimes>,
    /// The balloon.
    pub balloon: Option<Arc<Balloon>>,
    /// What is asked of the guest's memory.
    pub memory: Option<Arc<Resize>>,
    /// Sockets, with the thread that serves them.
    pub vsock: Option<Vsock>,
}

/// A machine with its vCPUs at the closed gate.
pub struct Life {
    // vCPUs end before the VM is dropped; see `Drop`.
    vcpus: Vec<Vcpu>,
    shared: Arc<Shared>,
    power: Arc<Power>,
    functions: Vec<Arc<VirtioPci>>,
    threads: Vec<VcpuThread>,
    vm: Vm,
    /// What KVM counts, until it is taken.
    sources: Sources,
}

impl Life {
    /// Makes the machine of `plan` in clean `ram`; its vCPUs count their `exits`, in order.
    ///
    /// # Errors
    /// [`MachineError`].
    pub fn new(
        plan: &mut Plan,
        ram: &Ram,
        outside: &Outside,
        wishes: &WishSink,
        sandbox: &Sandbox,
        exits: &[Arc<Exits>],
    ) -> Result<Self, MachineError> {
        let acpi = Tables::new(&plan.topology, &plan.numa, &plan.layout)?;
        let entry = plan.boot.load(ram.guest(), &plan.layout, &acpi)?;
        let vm = plan.host.create_vm(ram.guest(), plan.dedicated)?;
        let ioapic = IoApic::new(Box::new(vm.msi()));
        let sink = || {
            let wishes = wishes.clone();
            Box::new(move |request| wishes(Wish::Power(request)))
        };

        let power = Arc::new(Power::new(ioapic.line(layout::GED_GSI), sink()));
        let mut ports = Bus::default();
        let uart = Uart::new(
            ioapic.line(layout::COM1_GSI),
            outside.console.clone(),
            plan.console == ConsoleDevice::Serial,
        );
        ports.insert(layout::COM1.into(), layout::COM1_SIZE.into(), uart)?;
        ports.insert(layout::POWER.into(), layout::POWER_SIZE.into(), power.clone())?;
        ports.insert(
            layout::KEYBOARD_COMMAND.into(),
            1,
            Arc::new(KeyboardReset::new(sink())),
        )?;
        let mut memory = Bus::default();
        memory.insert(layout::IOAPIC, layout::IOAPIC_SIZE, ioapic.clone())?;
        let functions = functions(plan, ram, &vm, outside, wishes, sandbox)?;
        for function in &functions {
            memory.insert(function.address(), BAR_SIZE, function.clone())?;
        }
        let config = ConfigSpace::new(
            functions
                .iter()
                .map(|function| function.clone() as Arc<dyn Function>),
        )?;
        memory.insert(layout::ECAM, ConfigSpace::SIZE, Arc::new(config))?;

        let wishes = wishes.clone();
        let stopped = Box::new(move |id, stop| wishes(Wish::Vcpu(id, stop)));
        let shared = Arc::new(Shared {
            ports,
            memory,
            ioapic,
            gate: Gate::default(),
            stopped,
        });
        let mut life = Self {
            vcpus: Vec::new(),
            shared,
            power,
            functions,
            threads: Vec::new(),
            sources: Sources {
                vm: vm.counters(),
                vcpus: Vec::new(),
            },
            vm,
        };
        for (id, exits) in (0..).zip(exits) {
            let fd = plan.host.create_vcpu(&life.vm, id, &plan.topology, entry)?;
            life.sources.vcpus.push(Source::of_vcpu(&fd));
            let setup = Setup {
                id,
                placement: plan.placement.clone(),
                sandbox: sandbox.clone(),
                exits: exits.clone(),
            };
            let vcpu = Vcpu::spawn(setup, fd, life.shared.clone())
                .map_err(|source| MachineError::Thread { id, source })?;
            life.vcpus.push(vcpu);
        }
        for (id, vcpu) in (0..).zip(&life.vcpus) {
            let placed = vcpu.placed()?;
            life.threads.push(VcpuThread {
                thread: placed.thread,
                apic_id: plan.topology.apic_id(id),
                node: plan.numa.node_of(id),
                wanted: plan.placement.of_vcpu(id),
                cpus: placed.cpus,
                fifo_priority: placed.fifo_priority,
            });
        }
        Ok(life)
    }

    /// Where KVM counts; to be taken once.
    pub fn take_sources(&mut self) -> Sources {
        std::mem::take(&mut self.sources)
    }

    /// The threads of the vCPUs.
    pub fn threads(&self) -> &[VcpuThread] {
        &self.threads
    }

    /// What does not leave the guest.
    pub fn exits_disabled(&self) -> &[DisabledExit] {
        self.vm.exits_disabled()
    }

    /// Lets devices and vCPUs run.
    pub fn run(&self) {
        self.functions.iter().for_each(|function| function.resume());
        self.shared.gate.open();
    }

    /// Stops the vCPUs, then the devices; returns once no vCPU is in the guest and nothing touches its memory.
    pub fn pause(&self) {
        self.shared.gate.close();
        self.kick();
        self.shared.gate.wait_for(self.vcpus.len());
        self.functions.iter().for_each(|function| function.pause());
    }

    /// Has the vCPUs look at themselves.
    pub fn look(&self) {
        self.vcpus.iter().for_each(Vcpu::look);
    }

    /// Whether all vCPUs were asleep for good when they last looked at themselves.
    pub fn all_asleep(&self) -> bool {
        self.vcpus.iter().all(Vcpu::is_asleep)
    }

    /// CPU time of the vCPUs' threads.
    pub fn cpu_time(&self) -> Duration {
        let threads = self.threads.iter();
        threads.map(|thread| vcpu::cpu_time(thread.thread)).sum()
    }

    /// Presses the power button.
    pub fn press_power_button(&self) {
        self.power.press_button();
    }

    fn kick(&self) {
        self.vcpus.iter().for_each(Vcpu::kick);
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.shared.gate.shut();
        self.kick();
        self.vcpus.drain(..).for_each(Vcpu::join);
        self.functions.iter().for_each(|function| function.shut_down());
    }
}

/// The PCI functions of `plan`'s machine, in the order of their device numbers: disks first, so that they keep theirs
/// whatever else there is.
fn functions(
    plan: &Plan,
    ram: &Ram,
    vm: &Vm,
    outside: &Outside,
    wishes: &WishSink,
    sandbox: &Sandbox,
) -> Result<Vec<Arc<VirtioPci>>, MachineError> {
    let sandbox = sandbox.clone();
    let restrict: Restrict = Arc::new(move || sandbox.restrict(Role::Device));
    let mut devices: Vec<(String, Box<dyn VirtioDevice>)> = Vec::new();
    for (number, disk) in plan.disks.iter().enumerate() {
        let wishes = wishes.clone();
        let full = Arc::new(move || wishes(Wish::DiskFull(number)));
        let device = Block::new(disk.clone(), number, full, &restrict)?;
        devices.push((format!("disks[{number}]"), Box::new(device)));
    }
    for (number, interface) in plan.nets.iter().enumerate() {
        let device = Net::new(interface.clone(), number, &restrict)?;
        devices.push((format!("nets[{number}]"), Box::new(device)));
    }
    devices.push(("rng".to_owned(), Box::new(Rng)));
    if plan.console == ConsoleDevice::Virtio {
        let device = VirtioConsole::new(&outside.console, &outside.console_times);
        devices.push(("console".to_owned(), Box::new(device)));
    }
    if let Some(vsock) = &outside.vsock {
        devices.push(("vsock".to_owned(), Box::new(vsock.clone())));
    }
    if let Some(balloon) = &outside.balloon {
        let device = BalloonDevice::new(balloon.clone(), &restrict)?;
        devices.push(("balloon".to_owned(), Box::new(device)));
    }
    if let (Some(hot), Some(resize)) = (ram.hot(), &outside.memory) {
        let wishes = wishes.clone();
        let lost = Arc::new(move || wishes(Wish::MemoryLost));
        let device = MemoryDevice::new(hot.clone(), resize.clone(), lost, &restrict)?;
        devices.push(("memory".to_owned(), Box::new(device)));
    }
    let mut windows = Windows::new(&plan.layout);
    devices
        .into_iter()
        .map(|(name, device)| Ok(VirtioPci::new(name, device, ram.guest(), &mut windows, vm)?))
        .collect()
}
