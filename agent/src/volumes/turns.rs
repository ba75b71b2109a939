//! Whose turn it is with a volume.
//!
//! To make a volume takes as long as a copy of its image, to delete one as long as its pool likes. Meanwhile the next who wants that
//! volume waits, and nobody else. VMs do not even wait for that volume: from whoever takes it away, or sets it back, it is withheld
//! first, so that no VM comes to have it, and what is asked of VMs goes on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Mutex as TurnLock, OwnedMutexGuard};

/// Turns, by the names of volumes.
#[derive(Default)]
pub struct Turns {
    locks: Mutex<BTreeMap<String, Weak<TurnLock<()>>>>,
    withheld: Arc<Reasons>,
}

/// Why volumes are withheld.
type Reasons = Mutex<BTreeMap<String, &'static str>>;

/// A volume that no VM comes to have as long as this lives.
#[derive(Debug)]
pub struct Withheld {
    name: String,
    all: Arc<Reasons>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Turns {
    /// Waits for the turn with a volume, which lasts as long as the answer lives.
    pub async fn take(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut locks = lock(&self.locks);
            locks.retain(|_, turn| turn.strong_count() > 0);
            let there = locks.get(name).and_then(Weak::upgrade);
            there.unwrap_or_else(|| {
                let turn = Arc::default();
                locks.insert(name.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }

    /// Withholds a volume from VMs; `what` becomes of it: `is being deleted`.
    ///
    /// # Errors
    /// What becomes of it already.
    pub fn withhold(&self, name: &str, what: &'static str) -> Result<Withheld, &'static str> {
        let mut all = lock(&self.withheld);
        if let Some(already) = all.get(name) {
            return Err(already);
        }
        all.insert(name.to_owned(), what);
        Ok(Withheld {
            name: name.to_owned(),
            all: self.withheld.clone(),
        })
    }

    /// What becomes of a volume that is withheld.
    pub fn withheld(&self, name: &str) -> Option<&'static str> {
        lock(&self.withheld).get(name).copied()
    }
}

impl Drop for Withheld {
    fn drop(&mut self) {
        lock(&self.all).remove(&self.name);
    }
}
