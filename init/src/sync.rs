//! Locks that a panic elsewhere does not take away from PID 1.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`; the data of one whose holder panicked is used as it is.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
