//! The port of a console device: its queues, each under a lock of its own. What is typed while the driver has no buffers, or the
//! machine is paused, waits in the [`Console`].
//!
//! A guest whose vCPUs print without end keeps nobody else: whoever types never waits for the queue that is printed from, and a
//! notification prints a ring's length at most, after which its vCPU may be stopped. What was offered meanwhile without a further
//! notification is handed over to the control thread ([`Console::hand_over`]), which takes it in the same pieces.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
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
    /// Those of a direction are counted under its lock.
    times: Arc<PairTimes>,
    receive: Mutex<Side>,
    transmit: Mutex<Side>,
}

/// A direction.
#[derive(Default)]
struct Side {
    /// None without a driver, or when it has broken it.
    queue: Option<ActiveQueue>,
    paused: bool,
    chain: Chain,
    /// There may be buffers that nobody will notify of.
    more: bool,
}

impl Side {
    fn new(queue: ActiveQueue) -> Self {
        Self {
            queue: Some(queue),
            ..Self::default()
        }
    }

    /// Works on the queue, if there is one and the machine is not paused.
    fn work(&mut self, work: impl FnOnce(&mut ActiveQueue, &mut Chain) -> Result<bool, RingError>) {
        let Self {
            queue: Some(queue),
            paused: false,
            chain,
            more,
        } = self
        else {
            return;
        };
        match work(queue, chain) {
            Ok(left) => *more = left,
            Err(error) => {
                log::line(format_args!("console: {error}"));
                queue.notifier.needs_reset();
                *self = Self::default();
            }
        }
    }
}

impl Port {
    /// A port without a driver, which counts in `times`.
    pub fn new(console: Arc<Console>, times: Arc<PairTimes>) -> Self {
        Self {
            console,
            times,
            receive: Mutex::default(),
            transmit: Mutex::default(),
        }
    }

    /// A driver has come with these queues.
    pub fn begin(&self, queues: Queues) {
        *lock(&self.receive) = Side::new(queues.receive);
        *lock(&self.transmit) = Side::new(queues.transmit);
    }

    /// It has gone.
    pub fn end(&self) {
        for side in [&self.receive, &self.transmit] {
            *lock(side) = Side::default();
        }
    }

    /// The driver has offered buffers in `queue`.
    pub fn notify(&self, queue: u16) {
        if queue == TRANSMIT {
            self.print(lock(&self.transmit));
        } else {
            self.take_input();
        }
    }

    /// Keeps off guest memory, or no more.
    pub fn set_paused(&self, paused: bool) {
        for side in [&self.receive, &self.transmit] {
            lock(side).paused = paused;
        }
        self.take_input();
        self.go_on();
    }

    /// Prints a ring's length, and hands over what is left.
    fn print(&self, mut side: MutexGuard<'_, Side>) {
        side.work(|queue, chain| print(queue, chain, &self.console, &self.times.send));
        let more = side.more && !side.paused;
        // Who it is handed over to does not wait for the lock.
        drop(side);
        if more {
            self.console.hand_over();
        }
    }
}

fn lock(side: &Mutex<Side>) -> MutexGuard<'_, Side> {
    side.lock().unwrap_or_else(PoisonError::into_inner)
}

impl TakesInput for Port {
    fn take_input(&self) {
        // A guest that notifies without end is not to keep the lock from whoever types.
        if !self.console.has_input() {
            return;
        }
        let times = &self.times.receive;
        lock(&self.receive).work(|queue, chain| type_in(queue, chain, &self.console, times).map(|()| false));
    }

    fn go_on(&self) {
        let side = match self.transmit.try_lock() {
            Ok(side) => side,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Whoever has it hands over what it leaves.
            Err(TryLockError::WouldBlock) => return,
        };
        if side.more {
            self.print(side);
        }
    }
}

/// Prints what the driver offers, a ring's length at most; says whether there may be more, of which it will not notify.
fn print(
    queue: &mut ActiveQueue,
    chain: &mut Chain,
    console: &Console,
    times: &Histogram,
) -> Result<bool, RingError> {
    let mut left = queue.ring.size();
    loop {
        let begin = Instant::now();
        let mut count = 0;
        queue.ring.silence();
        while left > 0 && queue.ring.pop(chain)? {
            print_chain(queue, chain, console);
            queue.ring.complete(chain.head, 0);
            count += 1;
            left -= 1;
        }
        queue.publish();
        times.add_all(begin.elapsed(), count);
        if !queue.ring.listen()? {
            return Ok(false);
        }
        if left == 0 {
            return Ok(true);
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
