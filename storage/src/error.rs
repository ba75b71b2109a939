//! Why something is not done with pools, datasets or snapshots.

use axion_api::problem::{Kind, Problem};
use axion_core::profile::Refusals;

use crate::command::CommandError;
use crate::table::TableError;

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A value is not allowed.
    #[error("{message}")]
    Invalid {
        /// What is wrong and what is allowed.
        message: String,
        /// The field, as a JSON pointer, where it is one of a request's body.
        pointer: &'static str,
    },
    /// Disks that cannot be used as they were asked for.
    #[error(transparent)]
    Refused(#[from] Refusals),
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// Its state does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// `zpool` or `zfs`.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A partition table.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The system.
    #[error("cannot {action}")]
    System {
        /// What was tried.
        action: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The node has no ZFS.
    #[error("this node has no ZFS: the kernel module `zfs` is not loaded")]
    Absent,
}

impl StorageError {
    /// A value that is not allowed, in no field in particular.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            pointer: "",
        }
    }

    /// A value that is not allowed, in the field at `pointer`.
    pub(crate) fn at(pointer: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid {
            message: message.into(),
            pointer,
        }
    }
}

/// What ZFS says, and what kind of problem it is. The first that fits.
const MEANINGS: [(&str, Kind); 16] = [
    ("failed to read from stream", Kind::Malformed),
    ("incomplete stream", Kind::Malformed),
    ("checksum mismatch", Kind::Malformed),
    ("does not exist", Kind::NotFound),
    ("no such pool", Kind::NotFound),
    ("no such device in pool", Kind::NotFound),
    ("could not find any snapshots", Kind::NotFound),
    ("already exists", Kind::Conflict),
    ("out of space", Kind::InsufficientCapacity),
    ("no space left", Kind::InsufficientCapacity),
    ("size is greater than available space", Kind::InsufficientCapacity),
    ("Incorrect key provided", Kind::Invalid),
    ("Key too short", Kind::Invalid),
    ("Passphrase too short", Kind::Invalid),
    ("invalid ", Kind::Invalid),
    ("must be ", Kind::Invalid),
];

/// What kind of problem a message of `zpool` or `zfs` tells of.
fn meaning(message: &str) -> Kind {
    let known = MEANINGS.iter().find(|(part, _)| message.contains(part));
    // It was understood, and it is the state of things that does not allow it.
    known.map_or(Kind::Conflict, |(_, kind)| *kind)
}

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        let kind = match error {
            StorageError::Refused(refusals) => return Self::refused(refusals),
            StorageError::Invalid { message, pointer } => {
                let problem = Self::new(Kind::Invalid, message);
                return if pointer.is_empty() {
                    problem
                } else {
                    problem.at(pointer)
                };
            }
            StorageError::NotFound(_) => Kind::NotFound,
            StorageError::Conflict(_) => Kind::Conflict,
            StorageError::Command(CommandError::Failed { ref message, .. }) => meaning(message),
            StorageError::Absent | StorageError::Command(CommandError::Timeout { .. }) => Kind::Unavailable,
            StorageError::Command(_) | StorageError::Table(_) | StorageError::System { .. } => Kind::Internal,
        };
        Self::new(kind, chain(&error))
    }
}

/// An error and what it came from.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
