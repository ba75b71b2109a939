//! Desired state: keys, values, revisions.
//!
//! The trait is what the agent needs and no more, so that a cluster can put an existing engine (etcd) behind it. Every write
//! gets a revision from one counter of the whole store; a writer names the revision it has seen ([`Expect`]) and is
//! refused when another one was faster. [`Store::watch`] is level-triggered: it says that the newest revision is another
//! one, and the watcher reads what it wants to know; nothing can be missed and nothing is queued.

pub mod kept;
mod precondition;
mod redb;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub use self::precondition::Precondition;
pub use self::redb::RedbStore;

/// One key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Key.
    pub key: String,
    /// Revision of the last write to it.
    pub revision: u64,
    /// Value.
    pub value: Vec<u8>,
}

/// What a writer expects to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No such key.
    Absent,
    /// This revision.
    Revision(u64),
}

impl Expect {
    /// Whether a key whose revision is `current` (absent: `None`) is what the writer expects.
    fn holds(self, current: Option<u64>) -> bool {
        match self {
            Self::Absent => current.is_none(),
            Self::Revision(expected) => current == Some(expected),
        }
    }
}

/// Why the store did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The key is not as expected.
    #[error("`{key}` was changed in the meantime: its revision is {}", found.map_or("none".to_owned(), |r| r.to_string()))]
    Conflict {
        /// Key.
        key: String,
        /// Its revision, where it exists.
        found: Option<u64>,
    },
    /// The engine failed.
    #[error("the store cannot {operation}")]
    Engine {
        /// What it was doing.
        operation: &'static str,
        /// Why it failed.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A future of a store's answer.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// Keys, values, revisions.
pub trait Store: Send + Sync {
    /// The value of `key`.
    fn get(&self, key: &str) -> Answer<'_, Option<Entry>>;
    /// Everything whose key starts with `prefix`, by key.
    fn list(&self, prefix: &str) -> Answer<'_, Vec<Entry>>;
    /// Writes a value; durable when the answer is there. Answers its revision.
    fn put(&self, key: &str, value: Vec<u8>, expect: Expect) -> Answer<'_, u64>;
    /// Removes a key of that revision.
    fn delete(&self, key: &str, revision: u64) -> Answer<'_, ()>;
    /// The newest revision of the store, removals included.
    fn watch(&self) -> watch::Receiver<u64>;
}

#[cfg(test)]
mod tests;
