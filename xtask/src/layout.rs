//! Where things are on the build machine.

use std::env;
use std::path::{Path, PathBuf};

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// Build products of the image: kernel, initramfs, SBOM.
pub fn products() -> PathBuf {
    target().join("axion")
}

/// Cargo's target directory.
pub fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// Logs of build steps.
pub fn logs() -> PathBuf {
    products().join("logs")
}

/// Expensive products, shared between checkouts.
pub fn cache() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    env::var_os("AXION_CACHE").map_or_else(|| home().join(".cache/axion"), PathBuf::from)
}

/// Time stamp of everything in the image (Unix seconds), so that two builds give the same bytes.
pub const SOURCE_DATE_EPOCH: u32 = 1_767_225_600;
