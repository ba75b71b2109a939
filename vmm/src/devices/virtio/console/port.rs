//! The port of a console device: its queues, under one lock, which whoever types and the vCPUs take. What is typed while
//! the driver has no buffers, or the machine is paused, waits in the [`Console`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use vm_memory::{Bytes, GuestAddress};

use crate::devices::serial::{Console, TakesInput};
use crate::devices::virtio::ActiveQueue;
use crate::devices::virtio::histogram::Histogram;
use crate::devices::virtio::pair_times::PairTimes;
use crate::devices::virtio::queue::segments::{self, total};
use crate::devices::virtio::queue::{Chain, RingError};
use crate::log;

const TRANSMIT: u16 = 1;
/// Most bytes of a buffer that are printed, all that the console keeps; and typed, all that waits there.
const MOST_PRINTED: usize = 64 << 10;
const MOST_TYPED: usize = 4 << 10;
/// Bytes that are copied at a time.
const PIECE: usize = 1 << 10;

/// Both queues.
pub struct Queues {
    /// What was typed.
    pub receive: ActiveQueue,
    /// What is printed.
    pub transmit: ActiveQueue,
}

/// The port.
pub struct Port {
    console: Arc<Console>,
    /// Counted under the lock.
    times: Arc<PairTimes>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None without a driver, or when it has broken one.
    queues: Option<Queues>,
    paused: bool,
    chain: Chain,
}

impl Port {
    /// A port without a driver, which counts in `times`.
    pub fn new(console: Arc<Console>, times: Arc<PairTimes>) -> Self {
        Self {
            console,
            times,
            state: Mutex::default(),
        }
    }

    /// A driver has come with these queues.
    pub fn begin(&self, queues: Queues) {
        *self.state() = State {
            queues: Some(queues),
            ..State::default()
        };
    }

    /// It has gone.
    pub fn end(&self) {
        self.state().queues = None;
    }

    /// The driver has offered buffers in `queue`.
    pub fn notify(&self, queue: u16) {
        if queue == TRANSMIT {
            let times = &self.times.send;
            self.work(|queues, chain, console| print(&mut queues.transmit, chain, console, times));
        } else {
            self.take_input();
        }
    }

    /// Keeps off guest memory, or no more.
    pub fn set_paused(&self, paused: bool) {
        self.state().paused = paused;
        self.take_input();
    }

    fn work(&self, work: impl FnOnce(&mut Queues, &mut Chain, &Console) -> Result<(), RingError>) {
        let mut state = self.state();
        let State {
            queues,
            paused: false,
            chain,
        } = &mut *state
        else {
            return;
        };
        let Some(there) = queues else { return };
        if let Err(error) = work(there, chain, &self.console) {
            log::line(format_args!("console: {error}"));
            there.transmit.notifier.needs_reset();
            *queues = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TakesInput for Port {
    fn take_input(&self) {
        let times = &self.times.receive;
        self.work(|queues, chain, console| type_in(&mut queues.receive, chain, console, times));
    }
}

/// Prints what the driver offers.
fn print(
    queue: &mut ActiveQueue,
    chain: &mut Chain,
    console: &Console,
    times: &Histogram,
) -> Result<(), RingError> {
    loop {
        let begin = Instant::now();
        let mut count = 0;
        queue.ring.silence();
        while queue.ring.pop(chain)? {
            print_chain(queue, chain, console);
            queue.ring.complete(chain.head, 0);
            count += 1;
        }
        queue.publish();
        times.add_all(begin.elapsed(), count);
        if !queue.ring.listen()? {
            return Ok(());
        }
    }
}

fn print_chain(queue: &ActiveQueue, chain: &Chain, console: &Console) {
    let mut left = MOST_PRINTED;
    let mut piece = [0; PIECE];
    for segment in &chain.readable {
        let len = usize::try_from(segment.len).unwrap_or(usize::MAX);
        for offset in (0..len).step_by(PIECE) {
            let bytes = piece
                .get_mut(..PIECE.min(len - offset).min(left))
                .unwrap_or_default();
            let address = GuestAddress(segment.address + offset as u64);
            if bytes.is_empty() || queue.ring.memory().read_slice(bytes, address).is_err() {
                return;
            }
            console.print(bytes);
            left -= bytes.len();
        }
    }
}

/// Gives the driver what was typed, as far as it has buffers.
fn type_in(
    queue: &mut ActiveQueue,
    chain: &mut Chain,
    console: &Console,
    times: &Histogram,
) -> Result<(), RingError> {
    let mut typed = Vec::new();
    let given = fill(queue, chain, console, &mut typed);
    queue.publish();
    let end = Instant::now();
    for since in typed {
        times.add(end.saturating_duration_since(since));
    }
    given
}

/// Fills buffers with what was typed; `typed` becomes when the first byte of each was.
fn fill(
    queue: &mut ActiveQueue,
    chain: &mut Chain,
    console: &Console,
    typed: &mut Vec<Instant>,
) -> Result<(), RingError> {
    let mut input = [0; MOST_TYPED];
    // A ring's length at most: whoever types is not kept by a guest that offers buffers of no room without end.
    for _ in 0..queue.ring.size() {
        if !console.has_input() {
            break;
        }
        while !queue.ring.pop(chain)? {
            if !queue.ring.listen()? {
                return Ok(());
            }
        }
        let since = console.waits_since();
        let room = total(&chain.writable).min(input.len());
        let bytes = input.get_mut(..room).unwrap_or_default();
        let count = console.take_input(bytes);
        let bytes = bytes.get(..count).unwrap_or_default();
        let written = segments::write(queue.ring.memory(), &chain.writable, 0, bytes);
        queue
            .ring
            .complete(chain.head, u32::try_from(written).unwrap_or(0));
        typed.extend(since.filter(|_| count > 0));
    }
    Ok(())
}
