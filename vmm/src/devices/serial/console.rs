//! What the guest printed last, and what waits to be typed. Outlives resets of the machine.
//!
//! Any number of devices print; one takes the input, the one that was attached last.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use axion_api::vmm::{ConsoleDevice, ConsoleStatus};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Bytes of output that are kept.
const RING: usize = 64 << 10;
/// Bytes of input that wait for the guest.
const INPUT: usize = 4 << 10;

/// A device that gives the guest what is typed.
pub trait TakesInput: Send + Sync {
    /// Something has been typed: takes what the guest can have now.
    fn take_input(&self);
    /// Goes on with what was left when it called [`Console::hand_over`], a piece of it.
    fn go_on(&self) {}
}

/// The device before one is attached.
struct Nobody;

impl TakesInput for Nobody {
    fn take_input(&self) {}
}

/// The console of a machine.
pub struct Console {
    state: Mutex<State>,
    taker: Mutex<Weak<dyn TakesInput>>,
    /// Input waits; spares vCPUs the lock.
    has_input: AtomicBool,
    /// Becomes readable when there is output to send, room for input, or something handed over.
    wake: EventFd,
}

#[derive(Default)]
struct State {
    ring: VecDeque<u8>,
    /// Position in the whole stream of output of the ring's end.
    end: u64,
    input: VecDeque<u8>,
    /// Bytes that were typed in all.
    typed: u64,
    /// Of the pieces that wait, or of which something does: how many bytes had been typed at their end, and when that was.
    pieces: VecDeque<(u64, Instant)>,
    /// `wake` was written and not yet read.
    woken: bool,
}

impl Console {
    /// A console with no output yet.
    ///
    /// # Errors
    /// Where the kernel has no event descriptor left.
    pub fn new() -> io::Result<Arc<Self>> {
        let wake = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        let taker: Weak<dyn TakesInput> = Weak::<Nobody>::new();
        Ok(Arc::new(Self {
            state: Mutex::default(),
            taker: Mutex::new(taker),
            has_input: AtomicBool::new(false),
            wake,
        }))
    }

    /// Becomes readable when there is output to send, room for input, or something handed over ([`Console::hand_over`]); see
    /// [`Console::acknowledge`].
    pub fn wake(&self) -> &EventFd {
        &self.wake
    }

    /// Makes [`Console::wake`] unreadable until something happens anew.
    pub fn acknowledge(&self) {
        let mut state = self.state();
        if state.woken {
            state.woken = false;
            let _ = self.wake.read();
        }
    }

    /// The guest printed `bytes`.
    pub fn print(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.ring.extend(bytes);
        state.end += bytes.len() as u64;
        let excess = state.ring.len().saturating_sub(RING);
        state.ring.drain(..excess);
        self.notify(&mut state);
    }

    /// Output from stream position `from` on, at most `buffer.len()` bytes; what is no longer kept is skipped. Returns
    /// the position and the number of the bytes.
    pub fn output(&self, from: u64, buffer: &mut [u8]) -> (u64, usize) {
        let state = self.state();
        let kept = state.ring.len() as u64;
        let start = from.clamp(state.end - kept, state.end);
        let skip = usize::try_from(start - (state.end - kept)).unwrap_or(usize::MAX);
        let mut count = 0;
        for (to, byte) in buffer.iter_mut().zip(state.ring.iter().skip(skip)) {
            *to = *byte;
            count += 1;
        }
        (start, count)
    }

    /// Bytes that [`Console::type_in`] would take.
    pub fn room(&self) -> usize {
        INPUT.saturating_sub(self.state().input.len())
    }

    /// Types `bytes`; returns how many were taken.
    pub fn type_in(&self, bytes: &[u8]) -> usize {
        let taken = {
            let mut state = self.state();
            let room = INPUT.saturating_sub(state.input.len());
            let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
            state.input.extend(taken);
            state.typed += taken.len() as u64;
            if !taken.is_empty() {
                let end = state.typed;
                state.pieces.push_back((end, Instant::now()));
            }
            self.has_input.store(!state.input.is_empty(), Ordering::Release);
            taken.len()
        };
        if let Some(taker) = self.taker() {
            taker.take_input();
        }
        taken
    }

    fn taker(&self) -> Option<Arc<dyn TakesInput>> {
        self.taker
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .upgrade()
    }

    /// A device has more to print than one vCPU is to be kept for: whoever hears [`Console::wake`] is to call
    /// [`Console::go_on`].
    pub fn hand_over(&self) {
        self.notify(&mut self.state());
    }

    /// Has the device go on that has handed over something, if one has. Does not wait for vCPUs.
    pub fn go_on(&self) {
        if let Some(taker) = self.taker() {
            taker.go_on();
        }
    }

    /// Input waits for the guest.
    pub fn has_input(&self) -> bool {
        self.has_input.load(Ordering::Acquire)
    }

    /// When the first byte that waits for the guest was typed.
    pub fn waits_since(&self) -> Option<Instant> {
        self.state().pieces.front().map(|(_, since)| *since)
    }

    /// Moves waiting input to `buffer`; returns the number of bytes.
    pub fn take_input(&self, buffer: &mut [u8]) -> usize {
        let mut state = self.state();
        let count = state.input.len().min(buffer.len());
        for (to, byte) in buffer.iter_mut().zip(state.input.drain(..count)) {
            *to = byte;
        }
        let taken = state.typed - state.input.len() as u64;
        while state.pieces.front().is_some_and(|(end, _)| *end <= taken) {
            state.pieces.pop_front();
        }
        self.has_input.store(!state.input.is_empty(), Ordering::Release);
        if count > 0 {
            self.notify(&mut state);
        }
        count
    }

    /// From now on, input goes to `taker`.
    pub fn attach(&self, taker: Weak<dyn TakesInput>) {
        *self.taker.lock().unwrap_or_else(PoisonError::into_inner) = taker;
    }

    /// What was printed and typed by now.
    pub fn status(&self, device: ConsoleDevice) -> ConsoleStatus {
        let state = self.state();
        ConsoleStatus {
            device,
            printed_bytes: state.end,
            typed_bytes: state.typed,
        }
    }

    fn notify(&self, state: &mut State) {
        if !state.woken {
            state.woken = true;
            let _ = self.wake.write(1);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
