//! The machine config on its volume: read, and replaced so that no power cut leaves the node without one.
//!
//! ```text
//! replace   axion.new, read back ─ axion.bak, a copy of the present one, read back ─ it gets the name axion.toml.old
//!           ─ axion.new gets the name axion.toml
//! ```
//! Each step that counts is one sector of a directory, as everywhere on these volumes: at any moment `axion.toml` is the old one or
//! the new one, whole, and `axion.toml.old` the one before or none. A step that was cut may be done again.

use crate::fat::{FatError, Volume};
use crate::mirror;
use crate::perform::CONFIG;
use crate::storage::Storage;

/// The config before the present one.
pub const PREVIOUS: &str = "axion.toml.old";
/// Bytes of a config at most.
pub const LONGEST: usize = 1 << 20;

const ROOT: &str = "";
const NEW: &str = "axion.new";
const COPY: &str = "axion.bak";
/// What a cut may leave of a replacement: configs, whole or in part.
pub(crate) const LEFT_BEHIND: [&str; 2] = [NEW, COPY];

type Result<T> = std::result::Result<T, FatError>;

/// The config; `None`: there is none.
///
/// # Errors
/// The disk fails.
pub fn read<S: Storage>(volume: &Volume<S>) -> Result<Option<Vec<u8>>> {
    volume.read(CONFIG, LONGEST)
}

/// The config before it; `None`: it was never replaced.
///
/// # Errors
/// The disk fails.
pub fn read_previous<S: Storage>(volume: &Volume<S>) -> Result<Option<Vec<u8>>> {
    volume.read(PREVIOUS, LONGEST)
}

/// Makes `text` the config; whether it was another one.
///
/// # Errors
/// There is no room, or the disk fails; the config is then the one that was there.
pub fn replace<S: Storage>(volume: &Volume<S>, text: &str) -> Result<bool> {
    let current = read(volume)?;
    if current.as_deref() == Some(text.as_bytes()) {
        return Ok(false);
    }
    // What a cut has left behind.
    for name in LEFT_BEHIND {
        volume.unlink(name)?;
    }
    volume.sweep()?;
    put(volume, NEW, text.as_bytes())?;
    if let Some(current) = current {
        put(volume, COPY, &current)?;
        volume.rename(ROOT, COPY, PREVIOUS)?;
    }
    volume.rename(ROOT, NEW, CONFIG)?;
    volume.sweep()?;
    Ok(true)
}

/// As [`replace`], on a disk whose EFI system partition is `esp`: where it is one of a mirror, its record says before that it is
/// ahead of the other one.
///
/// # Errors
/// As [`replace`].
pub fn replace_on<S: Storage, T: Storage>(esp: &Volume<S>, volume: &Volume<T>, text: &str) -> Result<bool> {
    if read(volume)?.as_deref() == Some(text.as_bytes()) {
        return Ok(false);
    }
    mirror::go_on_alone(esp)?;
    replace(volume, text)
}

/// Makes the configs of `to`, the present one and the one before, those of `from`; one that `from` has not goes away. Whether any
/// was another one.
///
/// # Errors
/// A disk fails; each config of `to` is then the one that was there or the one that was to be.
pub fn copy<S: Storage, T: Storage>(from: &Volume<S>, to: &Volume<T>) -> Result<bool> {
    let mut changed = false;
    for name in [PREVIOUS, CONFIG] {
        let wanted = from.read(name, LONGEST)?;
        if to.read(name, LONGEST).ok() == Some(wanted.clone()) {
            continue;
        }
        changed = true;
        for left_behind in LEFT_BEHIND {
            to.unlink(left_behind)?;
        }
        to.sweep()?;
        match wanted {
            Some(text) => {
                put(to, NEW, &text)?;
                to.rename(ROOT, NEW, name)?;
            }
            None => to.unlink(name)?,
        }
        to.sweep()?;
    }
    Ok(changed)
}

fn put<S: Storage>(volume: &Volume<S>, path: &str, mut content: &[u8]) -> Result<()> {
    let length = u64::try_from(content.len()).unwrap_or(0);
    volume.write(path, &mut content, length, &mut |_| {})?;
    Ok(())
}

#[cfg(test)]
mod tests;
