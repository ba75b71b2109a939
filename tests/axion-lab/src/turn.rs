//! One machine at a time on the computer's cores.
//!
//! `cargo test` runs tests side by side, and several computers' worth of emulation on two cores would only make every
//! deadline a lie. A [`Turn`] is an exclusive lock (flock(2)) on a file in the temporary directory, shared by every
//! process of the computer that starts lab machines; the kernel releases it when its holder ends, however it ends.

use std::fs::File;

use crate::{Error, Result};

/// The right to run a machine; given back when dropped.
#[derive(Debug)]
pub struct Turn(#[allow(dead_code, reason = "held for its lock")] File);

impl Turn {
    /// Waits for as long as other machines run.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn wait() -> Result<Self> {
        let path = std::env::temp_dir().join("axion-qemu.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(Error::io("open the lock", &path))?;
        file.lock().map_err(Error::io("lock", &path))?;
        Ok(Self(file))
    }
}
