//! What the running image brings for its own measurement: the key of whoever vouches for PCR 11, and their signature of what it is.
//!
//! systemd-stub leaves both in the initramfs, stage 1 keeps them for stage 2 and carries them over a kexec. An image without them, or
//! one that was not started by the stub, has none: keys are then sealed to the values of the registers.

use std::path::Path;

use axion_tpm::SignedPolicy;
use axion_tpm::policy::{KEY, SIGNATURES};

use crate::failure::chain;
use crate::files::{self, FileError, PUBLIC};
use crate::log::Log;

/// Where stage 1 leaves them to stage 2.
const KEPT: [&str; 2] = ["run/axion/pcr-policy.pem", "run/axion/pcr-policy.json"];

/// Leaves them to stage 2, which does not see the initramfs any more.
///
/// # Errors
/// `/run` cannot be written to.
pub fn keep() -> Result<(), FileError> {
    for (from, to) in [KEY, SIGNATURES].into_iter().zip(KEPT) {
        if let Ok(text) = std::fs::read(from) {
            files::replace(&Path::new("/").join(to), &text, PUBLIC)?;
        }
    }
    Ok(())
}

/// What stage 1 left below `root`.
pub fn kept(root: &Path, log: &Log) -> Option<SignedPolicy> {
    let [key, signatures] = KEPT.map(|path| std::fs::read_to_string(root.join(path)).ok());
    let policy = SignedPolicy::parse(&key?, &signatures?);
    policy.map_or_else(
        |error| {
            log.warning(&format!("updates will ask for the passphrase: {}", chain(&error)));
            None
        },
        Some,
    )
}

#[cfg(test)]
mod tests;
