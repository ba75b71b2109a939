//! What is left of the keyboard controller: its command 0xfe pulses the CPU's reset line (`reboot=k`).

use axion_api::vmm::ResetCause;

use super::BusDevice;
use super::power::{PowerRequest, PowerSink};

const PULSE_RESET: u8 = 0xfe;

/// The command port alone. The guest learns from the FADT that there is no controller behind it.
pub struct KeyboardReset(PowerSink);

impl KeyboardReset {
    /// A port that sends its reset to `sink`.
    pub fn new(sink: PowerSink) -> Self {
        Self(sink)
    }
}

impl BusDevice for KeyboardReset {
    /// Status 0: the input buffer is empty, commands are accepted.
    fn read(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&self, _offset: u64, data: &[u8]) {
        if data.first() == Some(&PULSE_RESET) {
            (self.0)(PowerRequest::Reset(ResetCause::Keyboard));
        }
    }
}
