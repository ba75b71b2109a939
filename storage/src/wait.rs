//! Waiting for what nothing announces: a node in `/dev`, a disk, the end of a child.

use std::time::{Duration, Instant};

use nix::poll::{PollTimeout, poll};

/// Looks until there is something to see or `deadline` has passed, every `pause` at least.
pub(crate) fn until<T>(deadline: Instant, pause: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let mut next = Duration::from_millis(1);
    loop {
        let seen = look();
        let left = deadline.saturating_duration_since(Instant::now());
        if seen.is_some() || left.is_zero() {
            return seen;
        }
        let wait = PollTimeout::try_from(next.min(left)).unwrap_or(PollTimeout::MAX);
        let _ = poll(&mut [], wait);
        next = (next * 2).min(pause);
    }
}
