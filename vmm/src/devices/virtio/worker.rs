//! Threads of devices, and the orders they follow.
//!
//! ```text
//!          begin               pause            all quiet: rest
//! idle ───────────> run ───────────────> pause ─────────────────> resting ──resume──> run
//!   ^                └──────────── stop ────────────────────────────┘
//!   └──────────────────────────────'
//! ```
//!
//! Threads are made with their device, before the guest runs: where the machine thread runs, and restricted before they
//! do anything. What switches a device on is a vCPU's write to a register; it wakes them, and starts nothing on its own
//! CPU.
//!
//! A thread that works looks at [`Orders::current`] each time it has nothing at hand, and wakes for a new one by
//! [`Orders::wake`]. Before it rests or is idle again it has to bring to an end what is in flight: whoever paused or stopped
//! it relies on guest memory not being touched any more.

use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};

use vmm_sys_util::eventfd::{EFD_CLOEXEC, EFD_NONBLOCK, EventFd};

use crate::sandbox::SandboxError;

/// Stack of a device thread, bytes.
const STACK: usize = 256 << 10;

/// What a thread of a device does first: it gives up what it does not need.
pub type Restrict = Arc<dyn Fn() -> Result<(), SandboxError> + Send + Sync>;

/// A device thread cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The kernel has no thread or descriptor left.
    #[error("cannot start the device thread {name}")]
    Start {
        /// The thread.
        name: String,
        /// Cause.
        source: io::Error,
    },
    /// The kernel has no io_uring for it.
    #[error("cannot make the io_uring of the device thread {name}")]
    Ring {
        /// The thread.
        name: String,
        /// Cause.
        source: io::Error,
    },
    /// It cannot be restricted.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
}

/// What a thread is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Work.
    Run,
    /// Bring to an end what is in flight, then [`Orders::rest`].
    Pause,
    /// Bring to an end what is in flight, then return.
    Stop,
}

/// What a thread does between [`Worker::begin`] and [`Order::Stop`].
type Job = Box<dyn FnOnce(&Orders) + Send>;

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
    job: Option<Job>,
    doing: Doing,
    /// It has ended, or is to end once it is idle.
    over: bool,
}

/// What the thread does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Nothing,
    Work,
    /// It is in [`Orders::rest`], from where it goes on or ends its work.
    Rest,
}

impl State {
    /// Whether the order that stands has been followed: who rests has not stopped.
    fn is_quiet(&self) -> bool {
        match self.doing {
            Doing::Nothing => true,
            Doing::Rest => self.order == Order::Pause,
            Doing::Work => false,
        }
    }
}

impl Orders {
    fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            state: Mutex::new(State {
                order: Order::Stop,
                job: None,
                doing: Doing::Nothing,
                over: false,
            }),
            changed: Condvar::new(),
            current: AtomicU8::new(code(Order::Stop)),
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
            state.doing = Doing::Rest;
            self.changed.notify_all();
            state = self.wait(state);
        }
        state.doing = Doing::Work;
        state.order
    }

    /// The thread has nothing to do: says so, and waits for its next job, if there will be one.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        loop {
            if let Some(job) = state.job.take() {
                return Some(job);
            }
            state.doing = Doing::Nothing;
            self.changed.notify_all();
            if state.over {
                return None;
            }
            state = self.wait(state);
        }
    }

    fn give(&self, order: Order) {
        self.set(&mut self.state(), order);
    }

    fn set(&self, state: &mut State, order: Order) {
        state.order = order;
        self.current.store(code(order), Ordering::Release);
        self.changed.notify_all();
        let _ = self.wake.write(1);
    }

    fn wait_until_quiet(&self) {
        let mut state = self.state();
        while !state.is_quiet() {
            state = self.wait(state);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
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
        state.doing = Doing::Nothing;
        state.over = true;
        self.0.changed.notify_all();
    }
}

/// A device thread. Dropping it stops the thread and waits for its end.
pub struct Worker {
    orders: Arc<Orders>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread `name`, which is idle; returns when it has restricted itself.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn new(name: &str, restrict: &Restrict) -> Result<Self, WorkerError> {
        let failed = |source| WorkerError::Start {
            name: name.to_owned(),
            source,
        };
        let orders = Orders::new().map_err(failed)?;
        let theirs = orders.clone();
        let restrict = restrict.clone();
        let (report, ready) = mpsc::sync_channel(1);
        let thread = thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let farewell = Farewell(theirs);
                let restricted = restrict();
                let good = restricted.is_ok();
                // Whoever starts it waits for it.
                let _ = report.send(restricted);
                if good {
                    while let Some(job) = farewell.0.next() {
                        job(&farewell.0);
                    }
                }
            })
            .map_err(failed)?;
        let worker = Self {
            orders,
            thread: Some(thread),
        };
        ready.recv().map_err(|error| failed(io::Error::other(error)))??;
        Ok(worker)
    }

    /// Gives the idle thread something to do until that follows [`Order::Stop`] or cannot go on.
    ///
    /// # Errors
    /// Where the thread has panicked before.
    pub fn begin(&self, job: impl FnOnce(&Orders) + Send + 'static) -> io::Result<()> {
        let mut state = self.orders.state();
        if state.over {
            return Err(io::Error::other("its thread has ended"));
        }
        state.job = Some(Box::new(job));
        state.doing = Doing::Work;
        self.orders.set(&mut state, Order::Run);
        Ok(())
    }

    /// Orders it to pause. To be followed by [`Worker::wait_until_quiet`]: many pause at once.
    pub fn pause(&self) {
        self.orders.give(Order::Pause);
    }

    /// Waits until it rests, or is idle.
    pub fn wait_until_quiet(&self) {
        self.orders.wait_until_quiet();
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.orders.give(Order::Run);
    }

    /// Orders it to be idle again. To be followed by [`Worker::wait_until_quiet`].
    pub fn stop(&self) {
        self.orders.give(Order::Stop);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        {
            let mut state = self.orders.state();
            state.over = true;
            self.orders.set(&mut state, Order::Stop);
        }
        if let Some(thread) = self.thread.take() {
            // One that panicked has printed why, and is quiet.
            let _ = thread.join();
        }
    }
}

/// The threads of a device, which keeps them, and its work at them, which [`Team::stop`] ends.
#[derive(Clone)]
pub struct Team(Arc<[Worker]>);

impl Team {
    /// Starts a thread for each of `names`.
    ///
    /// # Errors
    /// [`WorkerError`].
    pub fn new(names: impl Iterator<Item = String>, restrict: &Restrict) -> Result<Self, WorkerError> {
        let workers = names.map(|name| Worker::new(&name, restrict));
        Ok(Self(workers.collect::<Result<_, _>>()?))
    }

    /// [`Worker::begin`] of the thread at `place`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn begin(&self, place: usize, job: impl FnOnce(&Orders) + Send + 'static) -> io::Result<()> {
        let worker = self.0.get(place);
        worker
            .ok_or_else(|| io::Error::other("it has no thread"))?
            .begin(job)
    }

    /// Pauses all; returns when they are quiet.
    pub fn pause(&self) {
        self.0.iter().for_each(Worker::pause);
        self.0.iter().for_each(Worker::wait_until_quiet);
    }

    /// Lets all go on.
    pub fn resume(&self) {
        self.0.iter().for_each(Worker::resume);
    }

    /// Makes all idle; returns when they are.
    pub fn stop(&self) {
        self.0.iter().for_each(Worker::stop);
        self.0.iter().for_each(Worker::wait_until_quiet);
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
