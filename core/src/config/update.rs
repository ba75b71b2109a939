//! Who may update an installed node, and how long an update has to prove itself.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::quantity::Span;

/// Updates of an installed node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Update {
    /// Public keys (minisign) of those who may sign updates, besides the one that the image may carry.
    pub keys: Vec<String>,
    /// An update that has not been found good so long after its start gives way to the version before.
    pub deadline: Span,
}

impl Default for Update {
    fn default() -> Self {
        Self {
            keys: Vec::new(),
            deadline: Span(Duration::from_secs(600)),
        }
    }
}

/// Whether `text` is in the form of minisign's public keys: in Base64 two letters for the algorithm, 8 bytes of a number, 32 of
/// the key.
pub fn is_update_key(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/');
    // `Ed`, and the first two bits of the number.
    let algorithm = text.starts_with("RW") && text.get(2..3).is_some_and(|c| "QRST".contains(c));
    text.len() == 56 && algorithm && text.bytes().all(allowed)
}
