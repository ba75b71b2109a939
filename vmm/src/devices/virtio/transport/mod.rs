//! A virtio device as a PCI function (virtio 1.3 §4.1).
//!
//! BAR 0, 64 bits, not prefetchable:
//!
//! | offset  | what                                                                                           |
//! |---------|------------------------------------------------------------------------------------------------|
//! | 0x0000  | common configuration ([`common`])                                                              |
//! | 0x1000  | ISR status                                                                                     |
//! | 0x2000  | device configuration                                                                           |
//! | 0x3000  | MSI-X table                                                                                    |
//! | 0x4000  | MSI-X pending bits                                                                             |
//! | 0x5000  | notifications, 4 bytes a queue: each has an address of its own, so that KVM's doorbells need   |
//! |         | not look at what is written                                                                    |
//!
//! Each in a page of its own. The same is reached through configuration space (`VIRTIO_PCI_CAP_PCI_CFG`, §4.1.4.9).
//!
//! Locks: one for the device and its registers, which a doorbell does not take; MSI-X has its own, which device threads
//! take. A reset waits for the device's threads under the lock: they never wait for it.
//!
//! Whether the guest lets the function master the bus is not looked at: a driver that takes it away has reset the device.

pub mod common;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use super::queue::{Queue, RingError};
use super::{ActiveQueue, Doorbells, Notifier, Running, VirtioDevice, feature};
use crate::devices::BusDevice;
use crate::kvm::KvmError;
use crate::log;
use crate::memory::GuestMemory;
use crate::pci::msix::{MAX_VECTORS, Msix};
use crate::pci::registers::{Identity, Registers};
use crate::pci::windows::{NoRoom, Windows};
use crate::pci::{Function, Wiring};
use common::{Common, Demand};

/// Bytes of the BAR.
pub const BAR_SIZE: u64 = 0x8000;
const PAGE: usize = 0x1000;
const COMMON: usize = 0;
const ISR: usize = 0x1000;
const DEVICE: usize = 0x2000;
const TABLE: usize = 0x3000;
const PENDING: usize = 0x4000;
const NOTIFY: usize = 0x5000;
/// Bytes from a queue's notification address to the next one's.
const NOTIFY_STRIDE: usize = 4;

const VENDOR: u16 = 0x1af4;
/// Device ids follow from here.
const FIRST_DEVICE: u16 = 0x1040;
const SUBSYSTEM: u16 = 0x1100;
/// Revision of devices that are modern only.
const REVISION: u8 = 1;

/// Vendor-specific capability and its types (§4.1.4).
const CAPABILITY: u8 = 0x09;
const TYPE_COMMON: u8 = 1;
const TYPE_NOTIFY: u8 = 2;
const TYPE_ISR: u8 = 3;
const TYPE_DEVICE: u8 = 4;
const TYPE_PCI: u8 = 5;

/// A function cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FunctionError {
    /// No addresses.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    /// KVM.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// No descriptor for a doorbell.
    #[error("cannot make an eventfd")]
    EventFd(#[source] io::Error),
}

/// The function.
pub struct VirtioPci {
    /// For messages.
    name: String,
    address: u64,
    msix: Arc<Msix>,
    notifier: Arc<Notifier>,
    memory: GuestMemory,
    /// By queue; empty with [`Doorbells::Inline`].
    doorbells: Vec<Arc<EventFd>>,
    /// MSI-X message control.
    msix_control: usize,
    /// The capability that is a window to the BAR.
    pci_window: usize,
    state: Mutex<State>,
}

struct State {
    registers: Registers,
    common: Common,
    device: Box<dyn VirtioDevice>,
    running: Option<Box<dyn Running>>,
}

impl VirtioPci {
    /// Makes `device`, called `name` in messages, a function with its BAR in `windows`.
    ///
    /// # Errors
    /// [`FunctionError`].
    pub fn new(
        name: String,
        device: Box<dyn VirtioDevice>,
        memory: &GuestMemory,
        windows: &mut Windows,
        wiring: &dyn Wiring,
    ) -> Result<Arc<Self>, FunctionError> {
        let address = windows.allocate(BAR_SIZE)?;
        let mut sizes = device.queues();
        // One vector a queue, and one for the configuration.
        sizes.truncate(usize::from(MAX_VECTORS) - 1);
        let vectors = (0..=sizes.len()).map(|_| wiring.vector());
        let msix = Arc::new(Msix::new(vectors.collect::<Result<_, _>>()?));
        let notifier = Notifier::new(msix.clone(), sizes.len());
        let mut doorbells = Vec::new();
        if device.doorbells() == Doorbells::Events {
            for queue in 0..sizes.len() {
                let event = EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK).map_err(FunctionError::EventFd)?;
                wiring.doorbell(address + (NOTIFY + queue * NOTIFY_STRIDE) as u64, &event)?;
                doorbells.push(Arc::new(event));
            }
        }
        let mut registers = Registers::new(Identity {
            vendor: VENDOR,
            device: FIRST_DEVICE + device.kind().id(),
            revision: REVISION,
            class: device.kind().class(),
            subsystem_vendor: VENDOR,
            subsystem: SUBSYSTEM,
        });
        registers.set_bar(address, BAR_SIZE);
        let msix_control = msix.add_capability(&mut registers, place(TABLE), place(PENDING));
        let notify = sizes.len() * NOTIFY_STRIDE;
        let multiplier = place(NOTIFY_STRIDE).to_le_bytes();
        add_capability(&mut registers, TYPE_COMMON, COMMON, common::SIZE, &[]);
        add_capability(&mut registers, TYPE_NOTIFY, NOTIFY, notify, &multiplier);
        add_capability(&mut registers, TYPE_ISR, ISR, 1, &[]);
        if !device.config().is_empty() {
            add_capability(&mut registers, TYPE_DEVICE, DEVICE, device.config().len(), &[]);
        }
        let pci_window = add_window(&mut registers);
        let common = Common::new(device.features() | feature::TRANSPORT, &sizes, notifier.clone());
        Ok(Arc::new(Self {
            name,
            address,
            msix,
            notifier,
            memory: memory.clone(),
            doorbells,
            msix_control,
            pci_window,
            state: Mutex::new(State {
                registers,
                common,
                device,
                running: None,
            }),
        }))
    }

    /// Where its BAR lies: [`BAR_SIZE`] bytes.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Stops the device; returns when nothing is in flight any more. vCPUs are stopped already.
    pub fn pause(&self) {
        if let Some(running) = &mut self.state().running {
            running.pause();
        }
    }

    /// Lets the device go on.
    pub fn resume(&self) {
        if let Some(running) = &mut self.state().running {
            running.resume();
        }
    }

    /// Resets the device for good. No vCPU runs any more.
    pub fn shut_down(&self) {
        self.state().running = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn obey(&self, state: &mut State, demand: Demand) {
        match demand {
            Demand::Nothing => {}
            Demand::Reset => {
                state.running = None;
                state.common.reset();
            }
            Demand::Activate => {
                let started = self.active_queues(state).map_err(io::Error::other);
                let features = state.common.features();
                let started = started.and_then(|queues| state.device.activate(features, queues));
                match started {
                    Ok(running) => state.running = Some(running),
                    Err(error) => {
                        log::line(format_args!("{}: cannot start: {error}", self.name));
                        self.notifier.needs_reset();
                    }
                }
            }
        }
    }

    fn active_queues(&self, state: &State) -> Result<Vec<ActiveQueue>, RingError> {
        let queue = |(index, setup)| {
            Ok(ActiveQueue {
                index,
                ring: Queue::new(&self.memory, setup)?,
                doorbell: self.doorbells.get(usize::from(index)).cloned(),
                notifier: self.notifier.clone(),
            })
        };
        state.common.queues().map(queue).collect()
    }

    /// A notification that KVM did not take for a doorbell: all of a device with [`Doorbells::Inline`], and those that
    /// come through configuration space.
    fn ring(&self, state: &mut State, queue: usize) {
        match (self.doorbells.get(queue), &mut state.running) {
            (Some(doorbell), _) => {
                let _ = doorbell.write(1);
            }
            (None, Some(running)) => {
                if let Ok(queue) = u16::try_from(queue) {
                    running.notify(queue);
                }
            }
            (None, None) => {}
        }
    }

    fn read_bar(&self, state: &State, offset: usize, data: &mut [u8]) {
        let register = offset % PAGE;
        match offset - register {
            COMMON => state.common.read(register, data),
            ISR if register == 0 => {
                data.fill(0);
                if let Some(byte) = data.first_mut() {
                    *byte = self.notifier.take_isr();
                }
            }
            DEVICE => state.device.read_config(register, data),
            TABLE => self.msix.read_table(register, data),
            PENDING => self.msix.read_pending(register, data),
            _ => data.fill(0),
        }
    }

    fn write_bar(&self, state: &mut State, offset: usize, data: &[u8]) {
        let register = offset % PAGE;
        match offset - register {
            COMMON => {
                let demand = state.common.write(register, data);
                self.obey(state, demand);
            }
            DEVICE => state.device.write_config(register, data),
            TABLE => self.msix.write_table(register, data),
            NOTIFY => self.ring(state, register / NOTIFY_STRIDE),
            _ => {}
        }
    }

    /// What the window in configuration space shows: offset in the BAR and length, if the guest has set it to something
    /// that is there.
    fn window(&self, registers: &Registers) -> Option<(usize, usize)> {
        let bar = registers.u16(self.pci_window + 4).to_le_bytes()[0];
        let offset = usize::try_from(registers.u32(self.pci_window + 8)).ok()?;
        let len = usize::try_from(registers.u32(self.pci_window + 12)).ok()?;
        let fits = matches!(len, 1 | 2 | 4) && offset.is_multiple_of(len);
        let inside = u64::try_from(offset).is_ok_and(|offset| offset < BAR_SIZE);
        (bar == 0 && fits && inside).then_some((offset, len))
    }

    /// Whether an access at `offset` of configuration space is one to the window's data.
    fn is_window(&self, offset: u16) -> bool {
        usize::from(offset) == self.pci_window + WINDOW_DATA
    }
}

impl Function for VirtioPci {
    fn read_config(&self, offset: u16, data: &mut [u8]) {
        let mut state = self.state();
        if let Some((at, len)) = self.window(&state.registers).filter(|_| self.is_window(offset)) {
            let mut value = [0; 4];
            self.read_bar(&state, at, value.get_mut(..len).unwrap_or_default());
            state.registers.put(self.pci_window + WINDOW_DATA, &value);
        }
        state.registers.read(offset, data);
    }

    fn write_config(&self, offset: u16, data: &[u8]) {
        let mut state = self.state();
        state.registers.write(offset, data);
        if let Some((at, len)) = self.window(&state.registers).filter(|_| self.is_window(offset)) {
            self.write_bar(&mut state, at, data.get(..len).unwrap_or_default());
        }
        self.msix.set_control(state.registers.u16(self.msix_control));
    }
}

impl BusDevice for VirtioPci {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let state = self.state();
        if state.registers.decodes() {
            self.read_bar(&state, usize::try_from(offset).unwrap_or(usize::MAX), data);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut state = self.state();
        if state.registers.decodes() {
            self.write_bar(&mut state, usize::try_from(offset).unwrap_or(usize::MAX), data);
        }
    }
}

/// An offset or a size in the BAR as registers have it.
fn place(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

/// Adds a `virtio_pci_cap` to what is at `offset` of BAR 0.
fn add_capability(registers: &mut Registers, kind: u8, offset: usize, len: usize, more: &[u8]) -> usize {
    let size = u8::try_from(16 + more.len()).unwrap_or(u8::MAX);
    let mut body = vec![size, kind, 0, 0, 0, 0];
    body.extend(place(offset).to_le_bytes());
    body.extend(place(len).to_le_bytes());
    body.extend(more);
    registers.add_capability(CAPABILITY, &body, &[])
}

/// Where the window's data is in its capability.
const WINDOW_DATA: usize = 16;

/// Adds the capability that is a window to the BAR: BAR, offset, length and data are the guest's to write.
fn add_window(registers: &mut Registers) -> usize {
    let mut body = [0; 18];
    let mut writable = [0xff; 18];
    for (to, from) in body.iter_mut().zip([20, TYPE_PCI]) {
        *to = from;
    }
    // Length and type, id and padding are not.
    for at in [0, 1, 3, 4, 5] {
        if let Some(mask) = writable.get_mut(at) {
            *mask = 0;
        }
    }
    registers.add_capability(CAPABILITY, &body, &writable)
}

const _: () = assert!((NOTIFY + MAX_VECTORS as usize * NOTIFY_STRIDE) as u64 <= BAR_SIZE);

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
