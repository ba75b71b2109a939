//! ACPI power: sleep, reset and event registers of the hardware-reduced machine, one byte each.
//!
//! | offset | register                                                                                  |
//! |--------|-------------------------------------------------------------------------------------------|
//! | 0      | sleep control (ACPI §4.8.3.7): SLP_TYP 5 with SLP_EN ends the machine                      |
//! | 1      | sleep status: WAK_STS reads 0, there is no other sleep state                               |
//! | 2      | reset (ACPI §4.8.3.6): 1 resets the machine                                                |
//! | 3      | events of the Generic Event Device: bit 0 power button; reading clears                     |

use std::sync::atomic::{AtomicU8, Ordering};

use axion_api::vmm::ResetCause;

use super::BusDevice;
use super::ioapic::InterruptLine;

/// Offset of the sleep control register.
pub const SLEEP_CONTROL: u16 = 0;
/// Offset of the sleep status register.
pub const SLEEP_STATUS: u16 = 1;
/// Offset of the reset register.
pub const RESET: u16 = 2;
/// Offset of the event register.
pub const EVENTS: u16 = 3;
/// What resets the machine when written to [`RESET`].
pub const RESET_VALUE: u8 = 1;
/// Bit of [`EVENTS`] that says that the power button was pressed.
pub const EVENT_POWER_BUTTON: u8 = 1;
/// SLP_TYP of soft-off.
pub const SLEEP_TYPE_OFF: u8 = 5;

/// SLP_EN and where SLP_TYP lies in the sleep control register.
const SLEEP_ENABLE: u8 = 1 << 5;
const SLEEP_TYPE_SHIFT: u32 = 2;
const SLEEP_TYPE_MASK: u8 = 7;

/// What the guest wants of its machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerRequest {
    /// Off for good.
    Off,
    /// Anew from the start, asked for in this way.
    Reset(ResetCause),
}

/// Where devices send their [`PowerRequest`]s; called on vCPU threads, does not block.
pub type PowerSink = Box<dyn Fn(PowerRequest) + Send + Sync>;

/// The device.
pub struct Power {
    events: AtomicU8,
    line: InterruptLine,
    sink: PowerSink,
}

impl Power {
    /// A device with no event pending.
    pub fn new(line: InterruptLine, sink: PowerSink) -> Self {
        Self {
            events: AtomicU8::new(0),
            line,
            sink,
        }
    }

    /// Tells the guest that the power button was pressed.
    pub fn press_button(&self) {
        self.events.fetch_or(EVENT_POWER_BUTTON, Ordering::AcqRel);
        self.line.pulse();
    }
}

impl BusDevice for Power {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let value = match u16::try_from(offset) {
            Ok(SLEEP_CONTROL | SLEEP_STATUS | RESET) => 0,
            Ok(EVENTS) => self.events.swap(0, Ordering::AcqRel),
            _ => return,
        };
        if let Some(byte) = data.first_mut() {
            *byte = value;
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let Some(&value) = data.first() else { return };
        let sleep_type = (value >> SLEEP_TYPE_SHIFT) & SLEEP_TYPE_MASK;
        match u16::try_from(offset) {
            Ok(SLEEP_CONTROL) if value & SLEEP_ENABLE != 0 && sleep_type == SLEEP_TYPE_OFF => {
                (self.sink)(PowerRequest::Off);
            }
            Ok(RESET) if value == RESET_VALUE => (self.sink)(PowerRequest::Reset(ResetCause::Acpi)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
