//! The I/O APIC (Intel 82093AA datasheet; version 0x20 with its EOI register), in userspace.
//!
//! KVM keeps the local APICs (split irqchip). An interrupt leaves as an MSI (Intel SDM vol. 3 §11.11); an EOI of a
//! level-triggered one comes back as an exit, for which KVM has to be told the vectors: [`MsiSink::set_level_routes`].
//!
//! ```text
//! device -> InterruptLine -> pin -> redirection entry -> MsiSink -> local APIC
//!    edge:  a rise delivers once; what rises while masked is ignored
//!    level: delivers while asserted, unmasked and remote IRR is clear; remote IRR is set by delivery, cleared by EOI
//! ```
//!
//! Polarity is ignored: lines are logical. Delivery status always reads idle, for delivery is immediate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::BusDevice;
use crate::arch::layout;

/// Pins: what the devices with lines need ([`layout::COM1_GSI`], [`layout::GED_GSI`]) and no more. A guest's kernel that starts
/// reads and writes each of them several times, and each access is two exits.
pub const PINS: usize = 8;

const SELECT: u64 = 0x00;
const WINDOW: u64 = 0x10;
const EOI: u64 = 0x40;

const REGISTER_ID: u8 = 0;
const REGISTER_VERSION: u8 = 1;
const REGISTER_ARBITRATION: u8 = 2;
const REGISTER_REDIRECTION: u8 = 0x10;

const VERSION: u32 = 0x20;
/// Highest pin, for the version register.
const LAST_PIN: u32 = 7;

/// Bits of a redirection entry that the guest writes; bits 12 (delivery status) and 14 (remote IRR) are ours.
const WRITABLE: u64 = 0xfffe_0000_0001_afff;
const REMOTE_IRR: u64 = 1 << 14;
const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;

/// A message-signalled interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Msi {
    /// Low half of the address.
    pub address_low: u32,
    /// High half of the address: bits 31:8 of the destination's APIC id, in place.
    pub address_high: u32,
    /// Data.
    pub data: u32,
}

/// Where interrupts go.
pub trait MsiSink: Send + Sync {
    /// Delivers an interrupt.
    fn send(&self, msi: Msi);
    /// Tells which pins are level-triggered and unmasked, and the MSIs that they send, so that their EOIs come back.
    fn set_level_routes(&self, routes: &[(u32, Msi)]);
}

/// The device.
pub struct IoApic {
    state: Mutex<State>,
    sink: Box<dyn MsiSink>,
}

#[derive(Debug)]
struct State {
    select: u8,
    id: u8,
    pins: [Pin; PINS],
    routes: Vec<(u32, Msi)>,
}

#[derive(Debug, Clone, Copy)]
struct Pin {
    entry: u64,
    asserted: bool,
}

impl Pin {
    fn is_level(self) -> bool {
        self.entry & LEVEL != 0
    }

    fn is_masked(self) -> bool {
        self.entry & MASKED != 0
    }

    fn vector(self) -> u8 {
        self.entry.to_le_bytes()[0]
    }

    /// The MSI of this pin. Bits 55:49 of the entry are bits 14:8 of the APIC id (`KVM_FEATURE_MSI_EXT_DEST_ID`).
    fn msi(self) -> Msi {
        let [vector, mode, _, _, _, _, extended, destination] = self.entry.to_le_bytes();
        let logical = u32::from(mode >> 3 & 1);
        let delivery = u32::from(mode & 7);
        // A logical destination with lowest priority needs the redirection hint.
        let hint = u32::from(delivery == 1);
        let level = u32::from(mode >> 7);
        Msi {
            address_low: layout::LAPIC | u32::from(destination) << 12 | hint << 3 | logical << 2,
            address_high: u32::from(extended >> 1) << 8,
            data: u32::from(vector) | delivery << 8 | level << 14 | level << 15,
        }
    }

    /// Whether a level-triggered pin has to interrupt now.
    fn is_due(self) -> bool {
        self.is_level() && self.asserted && !self.is_masked() && self.entry & REMOTE_IRR == 0
    }
}

impl IoApic {
    /// An I/O APIC after reset: all pins masked.
    pub fn new(sink: Box<dyn MsiSink>) -> Arc<Self> {
        let pin = Pin {
            entry: MASKED,
            asserted: false,
        };
        let state = State {
            select: 0,
            id: 0,
            pins: [pin; PINS],
            routes: Vec::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            sink,
        })
    }

    /// The line to pin `pin`. A line to a pin that does not exist goes nowhere.
    pub fn line(self: &Arc<Self>, pin: u32) -> InterruptLine {
        InterruptLine {
            ioapic: self.clone(),
            pin: usize::try_from(pin).unwrap_or(usize::MAX),
        }
    }

    /// A local APIC saw the end of the level-triggered interrupt `vector`.
    pub fn end_of_interrupt(&self, vector: u8) {
        let mut state = self.state();
        for pin in &mut state.pins {
            if pin.is_level() && pin.vector() == vector {
                pin.entry &= !REMOTE_IRR;
                self.deliver_level(pin);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliver_level(&self, pin: &mut Pin) {
        if pin.is_due() {
            pin.entry |= REMOTE_IRR;
            self.sink.send(pin.msi());
        }
    }

    fn set_line(&self, index: usize, asserted: bool) {
        let mut state = self.state();
        let Some(pin) = state.pins.get_mut(index) else {
            return;
        };
        let rises = asserted && !pin.asserted;
        pin.asserted = asserted;
        if pin.is_level() {
            self.deliver_level(pin);
        } else if rises && !pin.is_masked() {
            self.sink.send(pin.msi());
        }
    }

    fn write_entry(&self, state: &mut State, index: usize, value: u64) {
        let Some(pin) = state.pins.get_mut(index) else {
            return;
        };
        pin.entry = (value & WRITABLE) | (pin.entry & REMOTE_IRR);
        if !pin.is_level() {
            // Switching a pin to edge and back is how drivers of older versions clear remote IRR.
            pin.entry &= !REMOTE_IRR;
        }
        let routes: Vec<(u32, Msi)> = (0u32..)
            .zip(&state.pins)
            .filter(|(_, pin)| pin.is_level() && !pin.is_masked())
            .map(|(gsi, pin)| (gsi, pin.msi()))
            .collect();
        // Changing KVM's routes waits for all vCPUs: only when they differ.
        if routes != state.routes {
            self.sink.set_level_routes(&routes);
            state.routes = routes;
        }
        if let Some(pin) = state.pins.get_mut(index) {
            self.deliver_level(pin);
        }
    }

    fn read_register(&self) -> u32 {
        let state = self.state();
        match state.select {
            REGISTER_ID | REGISTER_ARBITRATION => u32::from(state.id) << 24,
            REGISTER_VERSION => VERSION | LAST_PIN << 16,
            select => match half(select) {
                Some((pin, high)) => {
                    let entry = state.pins.get(pin).map_or(u64::MAX, |pin| pin.entry);
                    let [a, b, c, d, e, f, g, h] = entry.to_le_bytes();
                    u32::from_le_bytes(if high { [e, f, g, h] } else { [a, b, c, d] })
                }
                None => u32::MAX,
            },
        }
    }

    fn write_register(&self, value: u32) {
        let mut state = self.state();
        match state.select {
            REGISTER_ID => state.id = value.to_le_bytes()[3] & 0xf,
            select => {
                let Some((index, high)) = half(select) else { return };
                let old = state.pins.get(index).map_or(0, |pin| pin.entry);
                let new = if high {
                    (old & 0xffff_ffff) | u64::from(value) << 32
                } else {
                    (old & !0xffff_ffff) | u64::from(value)
                };
                self.write_entry(&mut state, index, new);
            }
        }
    }
}

/// The pin, and whether its high half, that a register index means.
fn half(select: u8) -> Option<(usize, bool)> {
    let index = usize::from(select.checked_sub(REGISTER_REDIRECTION)?);
    (index < 2 * PINS).then_some((index / 2, index % 2 == 1))
}

impl BusDevice for IoApic {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let value = match offset {
            SELECT => u32::from(self.state().select),
            WINDOW => self.read_register(),
            _ => 0,
        };
        for (to, from) in data
            .iter_mut()
            .zip(value.to_le_bytes().into_iter().chain(std::iter::repeat(0)))
        {
            *to = from;
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().zip(data) {
            *to = *from;
        }
        match offset {
            SELECT => self.state().select = bytes[0],
            WINDOW => self.write_register(u32::from_le_bytes(bytes)),
            EOI => self.end_of_interrupt(bytes[0]),
            _ => {}
        }
    }
}

/// A device's wire to a pin of the I/O APIC.
#[derive(Clone)]
pub struct InterruptLine {
    ioapic: Arc<IoApic>,
    pin: usize,
}

impl InterruptLine {
    /// Asserts and releases the line: one edge-triggered interrupt.
    pub fn pulse(&self) {
        self.ioapic.set_line(self.pin, true);
        self.ioapic.set_line(self.pin, false);
    }

    /// Asserts or releases the line.
    pub fn set(&self, asserted: bool) {
        self.ioapic.set_line(self.pin, asserted);
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
