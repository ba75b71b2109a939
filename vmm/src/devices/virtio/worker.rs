//! Threads of devices, and the orders they follow.
//!
//! ```text
//!         pause            all quiet: rest
//! run ───────────> pause ─────────────────> resting ──resume──> run
//!  └──────────────── stop (drop of the Worker) ──┴────────────> the thread ends
//! ```
//!
//! A thread looks at [`Orders::current`] each time it has nothing at hand, and wakes for a new one by
//! [`Orders::wake`]. Before it rests or ends it has to bring to an end what is in flight: whoever paused or stopped it
//! relies on guest memory not being touched any more.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

/// Stack of a device thread, bytes.
const STACK: usize = 256 << 10;

/// What a thread is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Work.
    Run,
    /// Bring to an end what is in flight, then [`Orders::rest`].
    Pause,
    /// Bring to an end what is in flight, then end.
    Stop,
}

/// Orders for a thread.
pub struct Orders {
    state: Mutex<State>,
    changed: Condvar,
    /// The order in `state`, for looking without the lock.
    current: AtomicU8,
    wake: EventFd,
}

struct State {
    order: Order,
    /// It rests, or has ended.
    quiet: bool,
}

impl Orders {
    fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            state: Mutex::new(State {
                order: Order::Run,
                quiet: false,
            }),
            changed: Condvar::new(),
            current: AtomicU8::new(code(Order::Run)),
            wake: EventFd::new(EFD_CLOEXEC | EFD_NONBLOCK)?,
        }))
    }

    /// The order that stands.
    pub fn current(&self) -> Order {
        match self.current.load(Ordering::Acquire) {
            0 => Order::Run,
            1 => Order::Pause,
            _ => Order::Stop,
        }
    }

    /// Is signalled with each new order. Nobody reads it: watch for its edges.
    pub fn wake(&self) -> &EventFd {
        &self.wake
    }

    /// The thread is quiet: says so, and waits until it is not to pause any more.
    pub fn rest(&self) -> Order {
        let mut state = self.state();
        while state.order == Order::Pause {
            state.quiet = true;
            self.changed.notify_all();
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.quiet = false;
        state.order
    }

    fn give(&self, order: Order) {
        let mut state = self.state();
        state.order = order;
        self.current.store(code(order), Ordering::Release);
        self.changed.notify_all();
        let _ = self.wake.write(1);
    }

    fn wait_until_quiet(&self) {
        let mut state = self.state();
        while !state.quiet {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn code(order: Order) -> u8 {
    match order {
        Order::Run => 0,
        Order::Pause => 1,
        Order::Stop => 2,
    }
}

/// Says that the thread is quiet however it ends.
struct Farewell(Arc<Orders>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.quiet = true;
        self.0.changed.notify_all();
    }
}

/// A device thread. Dropping it stops the thread and waits for its end.
pub struct Worker {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread `name`, which runs `body` until that follows [`Order::Stop`] or cannot go on.
    ///
    /// # Errors
    /// Where the kernel has no thread or descriptor left.
    pub fn spawn(name: String, body: impl FnOnce(&Orders) + Send + 'static) -> io::Result<Self> {
        let orders = Orders::new()?;
        let theirs = orders.clone();
        let thread = thread::Builder::new()
            .name(name)
            .stack_size(STACK)
            .spawn(move || {
                let farewell = Farewell(theirs);
                body(&farewell.0);
            })?;
        Ok(Self {
            orders,
            thread: Some(thread),
        })
    }

    /// Orders it to pause. To be followed by [`Worker::wait_until_quiet`]: many pause at once.
    pub fn pause(&self) {
        self.orders.give(Order::Pause);
    }

    /// Waits until it rests.
    pub fn wait_until_quiet(&self) {
        self.orders.wait_until_quiet();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.orders.give(Order::Run);
    }

    /// Orders it to end, without waiting for that: many end at once.
    pub fn stop(&self) {
        self.orders.give(Order::Stop);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop();
        if let Some(thread) = self.thread.take() {
            // One that panicked has printed why, and is quiet.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
