//! `axctl netboot serve` on the lab's bridge.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use axion_lab::command::Program;
use axion_lab::deadline::{self, Poll};
use axion_lab::{Image, lan, node};

use crate::SOON;

/// MAC address that QEMU gives its first card.
pub const MAC: &str = "52:54:00:12:34:56";
/// Firmware, loaders and the kernel's own start, in emulation.
pub const LOADED: Duration = Duration::from_secs(150);
/// What `axctl` says once it serves.
const SERVES: &str = "Ctrl-C ends it.";
/// Between two looks at what it says.
const GLANCE: Duration = Duration::from_millis(50);

/// The directory of the media.
///
/// # Errors
/// There are none.
pub fn media() -> Result<PathBuf> {
    directory(&Image::find()?.medium("axion.ipxe")?)
}

/// The directory of the media that are signed for Secure Boot.
///
/// # Errors
/// There are none.
pub fn signed_media() -> Result<PathBuf> {
    directory(&Image::find()?.signed_medium("axion.ipxe")?)
}

fn directory(medium: &Path) -> Result<PathBuf> {
    let dir = medium.parent().context("a medium is in no directory")?;
    Ok(dir.to_owned())
}

/// `axctl netboot serve` on the bridge, once it serves; what it writes is kept in `dir`.
///
/// # Errors
/// It does not come to that.
pub fn serve(media: &Path, dir: &Path, arguments: &[&str]) -> Result<Program> {
    let mut command = node::axctl()?;
    command
        .args(["netboot", "serve"])
        .arg(media)
        .args(["--interface", lan::BRIDGE])
        .args(arguments);
    let program = Program::start(&mut command, &dir.join("axctl"))?;
    let said = dir.join("axctl.err");
    deadline::poll("the start of the servers", SOON, GLANCE, || {
        let text = fs::read_to_string(&said).unwrap_or_default();
        Ok(if text.contains(SERVES) {
            Poll::Ready(())
        } else {
            Poll::Pending(text)
        })
    })?;
    Ok(program)
}

/// Writes a config for the lab's machine into `dir`, as a directory for `--configs`.
///
/// # Errors
/// It cannot be written.
pub fn config_for_machine(dir: &Path, config: &str) -> Result<String> {
    config_for(dir, &MAC.replace(':', "-"), config)
}

/// Writes a config for the machine called `name` into `dir`, as a directory for `--configs`.
///
/// # Errors
/// It cannot be written.
pub fn config_for(dir: &Path, name: &str, config: &str) -> Result<String> {
    let configs = dir.join("configs");
    fs::create_dir_all(&configs)?;
    fs::write(configs.join(format!("{name}.toml")), config)?;
    Ok(configs.display().to_string())
}
