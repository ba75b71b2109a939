//! An I/O APIC whose interrupts are recorded, for the tests of devices.

use std::sync::{Arc, Mutex};

use super::*;

/// Level-triggered pins and their MSIs.
pub type Routes = Vec<(u32, Msi)>;

/// What the I/O APIC did.
#[derive(Clone, Default)]
pub struct Sent {
    pub msis: Arc<Mutex<Vec<Msi>>>,
    pub routes: Arc<Mutex<Vec<Routes>>>,
}

impl Sent {
    /// Vectors sent since the last call.
    pub fn vectors(&self) -> Vec<u8> {
        self.msis
            .lock()
            .unwrap()
            .drain(..)
            .map(|msi| msi.data.to_le_bytes()[0])
            .collect()
    }
}

impl MsiSink for Sent {
    fn send(&self, msi: Msi) {
        self.msis.lock().unwrap().push(msi);
    }
    fn set_level_routes(&self, routes: &[(u32, Msi)]) {
        self.routes.lock().unwrap().push(routes.to_vec());
    }
}

pub fn ioapic() -> (Arc<IoApic>, Sent) {
    let sent = Sent::default();
    (IoApic::new(Box::new(sent.clone())), sent)
}

pub fn write(ioapic: &IoApic, register: u8, value: u32) {
    BusDevice::write(ioapic, SELECT, &[register]);
    BusDevice::write(ioapic, WINDOW, &value.to_le_bytes());
}

pub fn read(ioapic: &IoApic, register: u8) -> u32 {
    BusDevice::write(ioapic, SELECT, &[register]);
    let mut bytes = [0; 4];
    BusDevice::read(ioapic, WINDOW, &mut bytes);
    u32::from_le_bytes(bytes)
}

pub fn unmask_edge(ioapic: &IoApic, pin: u8, vector: u8) {
    write(ioapic, 0x10 + 2 * pin, vector.into());
}

pub fn unmask_level(ioapic: &IoApic, pin: u8, vector: u8) {
    write(ioapic, 0x10 + 2 * pin, u32::from(vector) | 1 << 15);
}
