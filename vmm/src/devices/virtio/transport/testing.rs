//! A driver of a function, as `virtio_pci_modern` of Linux 6.12 is one: it finds everything by capabilities.

use std::collections::BTreeMap;

use vmm_sys_util::eventfd::EventFd;

use super::*;
use crate::arch::layout::Layout;
use crate::devices::bus::Bus;
use crate::devices::virtio::queue::Setup;
use crate::devices::virtio::queue::testing::Driver;
use crate::pci::ConfigSpace;
use crate::pci::msix::testing::Recorder;

/// A machine of one function, which is device 1.
pub struct Rig {
    pub function: Arc<VirtioPci>,
    pub recorder: Recorder,
    pub memory: GuestMemory,
    space: ConfigSpace,
    bus: Bus,
    /// By type: offset of the capability, BAR, offset, length.
    capabilities: BTreeMap<u8, (u64, u64, u64)>,
    pub bar: u64,
    pub vectors: u16,
    notify_multiplier: u64,
}

impl Rig {
    /// Puts `device` in a machine, and enumerates it.
    pub fn new(device: Box<dyn VirtioDevice>, memory: &GuestMemory) -> Self {
        let recorder = Recorder::default();
        let mut windows = Windows::new(&Layout::new(64 << 20, 0, 40).unwrap());
        let function = VirtioPci::new("test".into(), device, memory, &mut windows, &recorder).unwrap();
        let mut bus = Bus::default();
        bus.insert(function.address(), BAR_SIZE, function.clone())
            .unwrap();
        let mut rig = Self {
            space: ConfigSpace::new([function.clone() as Arc<dyn Function>]).unwrap(),
            function,
            recorder,
            memory: memory.clone(),
            bus,
            capabilities: BTreeMap::new(),
            bar: 0,
            vectors: 0,
            notify_multiplier: 0,
        };
        rig.enumerate();
        rig
    }

    pub fn config(&self, offset: u64, size: usize) -> u32 {
        let mut data = [0xff; 4];
        self.space.read(1 << 15 | offset, &mut data[..size]);
        data[size..].fill(0);
        u32::from_le_bytes(data)
    }

    pub fn set_config(&self, offset: u64, size: usize, value: u32) {
        self.space.write(1 << 15 | offset, &value.to_le_bytes()[..size]);
    }

    /// `pci_setup_device`, `pci_read_bases`, `pci_find_capability`, `msix_capability_init`.
    fn enumerate(&mut self) {
        assert_eq!(self.config(0, 4) & 0xffff, 0x1af4);
        assert_eq!(self.config(0x0e, 1), 0, "header type");
        let command = self.config(4, 2);
        self.set_config(4, 2, command & !3);
        let low = self.config(0x10, 4);
        self.set_config(0x10, 4, u32::MAX);
        let mask = self.config(0x10, 4);
        self.set_config(0x10, 4, low);
        let high = self.config(0x14, 4);
        self.set_config(0x14, 4, u32::MAX);
        assert_eq!(self.config(0x14, 4), u32::MAX);
        self.set_config(0x14, 4, high);
        assert_eq!(low & 0xf, 4, "64-bit memory");
        assert_eq!(!(mask & !0xf) + 1, 0x8000, "size");
        self.set_config(4, 2, command | 6);
        self.bar = u64::from(high) << 32 | u64::from(low & !0xf);
        assert_eq!(self.bar % 0x8000, 0);

        assert_ne!(self.config(6, 2) & 0x10, 0, "capability list");
        let mut at = u64::from(self.config(0x34, 1)) & !3;
        let mut msix = 0;
        for _ in 0..48 {
            if at == 0 {
                break;
            }
            match self.config(at, 1) {
                0x11 => msix = at,
                0x09 => {
                    let kind = u8::try_from(self.config(at + 3, 1)).unwrap();
                    let offset = u64::from(self.config(at + 8, 4));
                    let len = u64::from(self.config(at + 12, 4));
                    assert_eq!(self.config(at + 4, 1), 0, "BAR");
                    assert!(offset + len <= 0x8000);
                    self.capabilities.entry(kind).or_insert((at, offset, len));
                }
                other => panic!("capability {other:#x}"),
            }
            at = u64::from(self.config(at + 1, 1)) & !3;
        }
        let (notify, ..) = self.capabilities[&2];
        self.notify_multiplier = self.config(notify + 16, 4).into();

        let control = self.config(msix + 2, 2);
        self.vectors = u16::try_from((control & 0x7ff) + 1).unwrap();
        let table = self.bar + u64::from(self.config(msix + 4, 4));
        self.set_config(msix + 2, 2, control | 0xc000);
        for vector in 0..u64::from(self.vectors) {
            self.write(table + vector * 16, 4, 0xfee0_0000);
            self.write(table + vector * 16 + 4, 4, 0);
            self.write(table + vector * 16 + 8, 4, 0x40 + vector);
            self.write(table + vector * 16 + 12, 4, 0);
        }
        self.set_config(msix + 2, 2, (control | 0x8000) & !0x4000);
    }

    pub fn read(&self, address: u64, size: usize) -> u64 {
        let mut data = [0; 8];
        self.bus.read(address, &mut data[..size]);
        data[size..].fill(0);
        u64::from_le_bytes(data)
    }

    pub fn write(&self, address: u64, size: usize, value: u64) {
        self.bus.write(address, &value.to_le_bytes()[..size]);
    }

    fn place(&self, kind: u8) -> u64 {
        self.bar + self.capabilities[&kind].1
    }

    /// Whether the capability is there.
    pub fn has(&self, kind: u8) -> bool {
        self.capabilities.contains_key(&kind)
    }

    /// Offset of a capability in configuration space.
    pub fn capability(&self, kind: u8) -> u64 {
        self.capabilities[&kind].0
    }

    pub fn common(&self, offset: u64, size: usize) -> u64 {
        self.read(self.place(1) + offset, size)
    }

    pub fn set_common(&self, offset: u64, size: usize, value: u64) {
        self.write(self.place(1) + offset, size, value);
    }

    pub fn device(&self, offset: u64, size: usize) -> u64 {
        self.read(self.place(4) + offset, size)
    }

    pub fn isr(&self) -> u64 {
        self.read(self.place(3), 1)
    }

    pub fn status(&self) -> u64 {
        self.common(20, 1)
    }

    pub fn offered(&self) -> u64 {
        self.set_common(0, 4, 0);
        let low = self.common(4, 4);
        self.set_common(0, 4, 1);
        low | self.common(4, 4) << 32
    }

    pub fn take(&self, features: u64) {
        self.set_common(8, 4, 0);
        self.set_common(12, 4, features & 0xffff_ffff);
        self.set_common(8, 4, 1);
        self.set_common(12, 4, features >> 32);
    }

    /// `virtio_dev_probe` up to the features; takes `features` of what is offered.
    pub fn negotiate(&self, features: u64) -> u64 {
        self.set_common(20, 1, 0);
        assert_eq!(self.status(), 0);
        self.set_common(20, 1, 1);
        self.set_common(20, 1, 3);
        let taken = self.offered() & features;
        self.take(taken);
        self.set_common(20, 1, 11);
        assert_eq!(self.status(), 11, "features are fine");
        taken
    }

    /// `setup_vq`: queue `index` at `base`, with its own interrupt.
    pub fn set_up(&self, index: u16, base: u64, features: u64) -> Driver {
        self.set_common(22, 2, index.into());
        let size = u16::try_from(self.common(24, 2)).unwrap();
        assert_ne!(size, 0);
        assert_eq!(self.common(28, 2), 0, "not enabled yet");
        let mut driver = Driver::new(&self.memory, base, size);
        driver.setup.event_idx = features & feature::EVENT_IDX != 0;
        driver.setup.indirect = features & feature::INDIRECT_DESC != 0;
        self.describe(&driver.setup);
        self.set_common(26, 2, u64::from(index) + 1);
        assert_eq!(self.common(26, 2), u64::from(index) + 1, "vector");
        self.set_common(28, 2, 1);
        driver
    }

    /// Writes size and addresses of the selected queue, by halves, as Linux does.
    pub fn describe(&self, setup: &Setup) {
        self.set_common(24, 2, setup.size.into());
        for (offset, address) in [(32, setup.descriptors), (40, setup.available), (48, setup.used)] {
            self.set_common(offset, 4, address & 0xffff_ffff);
            self.set_common(offset + 4, 4, address >> 32);
            assert_eq!(self.common(offset, 8), address);
        }
    }

    /// Features, one queue for each of `bases`, DRIVER_OK.
    pub fn start(&self, features: u64, bases: &[u64]) -> Vec<Driver> {
        let taken = self.negotiate(features);
        self.set_common(16, 2, 0);
        assert_eq!(self.common(16, 2), 0, "configuration vector");
        let queues = (0..)
            .zip(bases)
            .map(|(index, base)| self.set_up(index, *base, taken))
            .collect();
        self.set_common(20, 1, 15);
        queues
    }

    /// `vp_notify`.
    pub fn notify(&self, queue: u64) {
        self.set_common(22, 2, queue);
        let offset = self.common(30, 2) * self.notify_multiplier;
        self.write(self.place(2) + offset, 2, queue);
    }

    /// Waits for the next used buffer of `driver`.
    pub fn wait(&self, driver: &mut Driver) -> (u32, u32) {
        let start = std::time::Instant::now();
        loop {
            if let Some(used) = driver.used() {
                return used;
            }
            assert!(start.elapsed().as_secs() < 20, "the device does not answer");
            std::thread::park_timeout(std::time::Duration::from_micros(200));
        }
    }
}

/// A device that records what happens to it.
#[derive(Clone, Default)]
pub struct Probe {
    pub log: Arc<Mutex<Vec<String>>>,
    pub queues: Arc<Mutex<Vec<ActiveQueue>>>,
    pub events: bool,
}

impl Probe {
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().unwrap())
    }
}

impl VirtioDevice for Probe {
    fn kind(&self) -> crate::devices::virtio::Kind {
        crate::devices::virtio::Kind::Block
    }
    fn features(&self) -> u64 {
        0b101
    }
    fn queues(&self) -> Vec<u16> {
        vec![256, 8]
    }
    fn doorbells(&self) -> Doorbells {
        if self.events {
            Doorbells::Events
        } else {
            Doorbells::Inline
        }
    }
    fn config(&self) -> &[u8] {
        &[1, 2, 3, 4, 5, 6, 7, 8, 9]
    }
    fn activate(&mut self, features: u64, queues: Vec<ActiveQueue>) -> io::Result<Box<dyn Running>> {
        let text = format!("activate {features:#x} {}", queues.len());
        self.log.lock().unwrap().push(text);
        *self.queues.lock().unwrap() = queues;
        Ok(Box::new(Work(self.clone())))
    }
}

struct Work(Probe);

impl Running for Work {
    fn notify(&mut self, queue: u16) {
        self.0.log.lock().unwrap().push(format!("notify {queue}"));
    }
    fn pause(&mut self) {
        self.0.log.lock().unwrap().push("pause".into());
    }
    fn resume(&mut self) {
        self.0.log.lock().unwrap().push("resume".into());
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.log.lock().unwrap().push("drop".into());
    }
}

/// Whether an eventfd was signalled; clears it.
pub fn signalled(event: &EventFd) -> bool {
    event.read().is_ok()
}
