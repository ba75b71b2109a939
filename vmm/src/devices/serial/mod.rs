//! COM1, a 16550A (registers by `vm-superio`), and the console behind it.
//!
//! ```text
//! guest -> THR -> [`Console`] ring of 64 KiB -> clients, each at its own pace
//! client -> [`Console`] input queue -> receive FIFO (64 bytes) -> guest
//! ```
//!
//! It prints in any case; where another device is the console, input goes there.
//!
//! The guest never waits for a client: one that falls behind misses what left the ring. A client does wait for the guest:
//! nothing is read from it while the input queue is full. What is typed before the guest's driver listens (receive
//! interrupt enabled) waits in the queue, for drivers throw away what they find in the FIFO when they start.

mod console;

use std::convert::Infallible;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vm_superio::serial::NoEvents;
use vm_superio::{Serial, Trigger};

use super::BusDevice;
use super::ioapic::InterruptLine;
pub use console::{Console, TakesInput};

/// Receive FIFO of the device model, bytes.
const FIFO: usize = 64;
/// Offsets of interrupt enable and line control registers.
const INTERRUPT_ENABLE: u8 = 1;
const LINE_CONTROL: u8 = 3;
/// Line control: offsets 0 and 1 are the divisor latch.
const DIVISOR_LATCH: u8 = 1 << 7;
/// Interrupt enable: received data available.
const RECEIVE_INTERRUPT: u8 = 1;

/// The device.
pub struct Uart {
    registers: Mutex<Serial<Interrupt, NoEvents, Output>>,
    console: Arc<Console>,
    /// Input is for this device.
    takes_input: bool,
}

struct Interrupt(InterruptLine);

impl Trigger for Interrupt {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        self.0.pulse();
        Ok(())
    }
}

struct Output(Arc<Console>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Uart {
    /// A device that prints to `console` and, with `takes_input`, takes its input from there.
    pub fn new(line: InterruptLine, console: Arc<Console>, takes_input: bool) -> Arc<Self> {
        let registers = Mutex::new(Serial::new(Interrupt(line), Output(console.clone())));
        let uart = Arc::new(Self {
            registers,
            console,
            takes_input,
        });
        if takes_input {
            let weak = Arc::downgrade(&uart);
            uart.console.attach(weak);
        }
        uart
    }

    fn registers(&self) -> MutexGuard<'_, Serial<Interrupt, NoEvents, Output>> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refill(&self, registers: &mut Serial<Interrupt, NoEvents, Output>) {
        // Only an empty FIFO: each refill interrupts the guest.
        if !self.takes_input || registers.fifo_capacity() < FIFO || !self.console.has_input() {
            return;
        }
        let latch = registers.read(LINE_CONTROL) & DIVISOR_LATCH != 0;
        if latch || registers.read(INTERRUPT_ENABLE) & RECEIVE_INTERRUPT == 0 {
            return;
        }
        let mut input = [0; FIFO];
        let count = self.console.take_input(&mut input);
        // The FIFO is empty, so all of it fits; in loopback mode the line is cut and what comes in is lost.
        let _ = registers.enqueue_raw_bytes(input.get(..count).unwrap_or_default());
    }
}

impl TakesInput for Uart {
    /// Gives the guest what was typed, as far as it listens and has room.
    fn take_input(&self) {
        self.refill(&mut self.registers());
    }
}

impl BusDevice for Uart {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let Ok(offset) = u8::try_from(offset) else { return };
        let mut registers = self.registers();
        // More than one byte is a string instruction on one port.
        for byte in data {
            *byte = registers.read(offset);
            self.refill(&mut registers);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let Ok(offset) = u8::try_from(offset) else { return };
        let mut registers = self.registers();
        for byte in data {
            // Neither interrupts nor the console's ring can fail.
            let _ = registers.write(offset, *byte);
        }
        self.refill(&mut registers);
    }
}

#[cfg(test)]
mod tests;
