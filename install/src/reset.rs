//! Factory reset of an installed disk: the order, which is a file on the ESP, and the machine config, which it takes away.
//!
//! ```text
//! ordered   loader/reset.new, read back ─> it gets the name loader/reset.run
//! stage 1   AXION-CFG/axion.toml.old, then axion.toml away ─> nothing else to do: reset.run away
//!                                                         └─> the pools are next: reset.run gets the name reset.end
//! stage 2   pools (not here) ─> all of them: reset.end away
//!                           └─> some are missing: what is left takes the place of reset.end
//! ```
//! Each step that counts is one sector of a directory, as everywhere on these volumes, and may be repeated: wherever the power
//! is cut, the next boot goes on. The config is taken away by its names alone, so that one that is written afterwards stays.

use crate::config::{LEFT_BEHIND, PREVIOUS};
use crate::fat::{FatError, Volume, join};
use crate::storage::Storage;

/// Where the orders are, on the ESP.
pub const DIRECTORY: &str = "loader";
/// The machine config, on the config volume.
pub const CONFIG: &str = "axion.toml";

const NEW: &str = "reset.new";
const RUN: &str = "reset.run";
const END: &str = "reset.end";
/// Bytes of an order.
const LONGEST: usize = 16 << 10;

/// An order that is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// What was ordered.
    pub order: String,
    /// Whether the machine config was taken away already.
    pub config_is_done: bool,
}

type Result<T> = std::result::Result<T, FatError>;

/// Keeps an order.
///
/// # Errors
/// The disk fails.
pub fn order<S: Storage>(esp: &Volume<S>, order: &str) -> Result<()> {
    put(esp, order, RUN)
}

/// Writes an order, whole or not at all.
fn put<S: Storage>(esp: &Volume<S>, order: &str, name: &str) -> Result<()> {
    let path = join(DIRECTORY, NEW);
    esp.remove(&path)?;
    let length = u64::try_from(order.len()).unwrap_or(0);
    esp.write(&path, &mut order.as_bytes(), length, &mut |_| {})?;
    esp.rename(DIRECTORY, NEW, name)
}

/// The order that is not done; `None`: there is none.
///
/// # Errors
/// The disk fails.
pub fn pending<S: Storage>(esp: &Volume<S>) -> Result<Option<Pending>> {
    for (name, config_is_done) in [(RUN, false), (END, true)] {
        if let Some(text) = esp.read(&join(DIRECTORY, name), LONGEST)? {
            return Ok(Some(Pending {
                order: String::from_utf8_lossy(&text).into_owned(),
                config_is_done,
            }));
        }
    }
    Ok(None)
}

/// Takes the machine config away, and before it the one that it replaced and what a cut has left of either: they have the same
/// secrets. None that is not there is an error.
///
/// # Errors
/// The disk fails.
pub fn take_config<S: Storage>(config: &Volume<S>) -> Result<()> {
    for name in LEFT_BEHIND.into_iter().chain([PREVIOUS]) {
        config.unlink(name)?;
    }
    config.remove(CONFIG)
}

/// Remembers that the machine config was taken away; something else is still to be done.
///
/// # Errors
/// The disk fails.
pub fn config_is_done<S: Storage>(esp: &Volume<S>) -> Result<()> {
    esp.rename(DIRECTORY, RUN, END)
}

/// Keeps what is left of an order whose machine config was taken away.
///
/// # Errors
/// The disk fails; the order is then as it was, or what is left of it.
pub fn rest<S: Storage>(esp: &Volume<S>, order: &str) -> Result<()> {
    put(esp, order, END)?;
    esp.remove(&join(DIRECTORY, RUN))
}

/// Forgets the order.
///
/// # Errors
/// The disk fails.
pub fn done<S: Storage>(esp: &Volume<S>) -> Result<()> {
    for name in [NEW, RUN, END] {
        esp.unlink(&join(DIRECTORY, name))?;
    }
    esp.sweep()
}

#[cfg(test)]
mod tests;
