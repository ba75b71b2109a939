//! The gate that vCPUs pass to run.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// See [`crate::vcpu`].
#[derive(Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    position: Position,
    /// vCPUs that wait at the closed gate.
    waiting: usize,
    /// vCPUs that ended by themselves.
    gone: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Position {
    #[default]
    Closed,
    Open,
    Shut,
}

impl Gate {
    /// Lets vCPUs run.
    pub fn open(&self) {
        self.set(Position::Open);
    }

    /// Stops vCPUs at the gate, once they are kicked.
    pub fn close(&self) {
        self.set(Position::Closed);
    }

    /// Ends vCPUs, once they are kicked.
    pub fn shut(&self) {
        self.set(Position::Shut);
    }

    /// Waits until none of `count` vCPUs is in the guest.
    pub fn wait_for(&self, count: usize) {
        let mut state = self.state();
        while state.position == Position::Closed && state.waiting + state.gone < count {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A vCPU's view: returns whether it is to run (or to end), after waiting while the gate is closed. `resumed` is
    /// called if it had to wait.
    pub(super) fn pass(&self, resumed: impl FnOnce()) -> bool {
        let mut state = self.state();
        if state.position == Position::Closed {
            state.waiting += 1;
            self.changed.notify_all();
            while state.position == Position::Closed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.waiting -= 1;
            resumed();
        }
        state.position == Position::Open
    }

    /// A vCPU ended by itself.
    pub(super) fn leave(&self) {
        self.state().gone += 1;
        self.changed.notify_all();
    }

    fn set(&self, position: Position) {
        let mut state = self.state();
        // Shut is for good.
        if state.position != Position::Shut {
            state.position = position;
        }
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
