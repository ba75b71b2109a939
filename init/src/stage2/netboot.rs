//! Booting other machines: init puts the node's image into memory and starts the boot server, which may not look for it itself.
//!
//! ```text
//! installed     the UKI of the slot that runs, from the ESP, against the digest in its entry
//! diskless      the UKI put together, as the installer does it, of the initramfs that this start came with and its kernel, which
//!               stage 1 keeps where the config has [netboot]
//!    └─> /run/axion/netboot/axion.efi, image.json ─> unit `netboot`: axion-agent --netboot
//! ```
//! One file in memory is enough: kernel and initramfs are served out of it. It is root's, so that the server, which answers
//! whoever is on the wire, cannot change what it serves. The boot does not wait for it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axion_api::netboot::HeldImage;
use axion_core::paths;
use axion_install::esp::{Esp, EspError};
use axion_install::fat::{FatError, join};
use axion_install::slot::{IMAGES, Slot};
use axion_install::uki::{self, Extent, HEADERS, UkiError};
use sha2::{Digest, Sha256};

use super::tasks::{Done, config, service};
use crate::failure::chain;
use crate::files::{self, Access, FileError, PUBLIC};
use crate::install::{Image, ImageError, Origin};
use crate::node::Node;
use crate::slot::{self, SlotError};
use crate::units::{CPU_WEIGHT, Spec};

/// Memory of the server; the image is not in it.
const MEMORY: u64 = 256 << 20;

/// There is nothing to serve.
#[derive(Debug, thiserror::Error)]
enum NetbootError {
    /// The start brought no kernel.
    #[error(
        "this start left no kernel to serve: the loader has read no kexec.cpio, which brings it (docs/media.md), or the machine \
         config had no `netboot.interface` when the node started"
    )]
    NoKernel,
    /// The disk.
    #[error(transparent)]
    Slot(#[from] SlotError),
    /// The image is not on the disk.
    #[error("slot {0} runs, and its image is not on the disk")]
    NoImage(Slot),
    /// The image on the disk is another one.
    #[error(
        "the image of slot {slot} on the disk has the SHA-256 {found} and {size} bytes, and was written with {wanted} and \
         {wanted_size}: it is damaged, and nobody is given it; an update writes the other slot anew"
    )]
    Damaged {
        /// Slot.
        slot: Slot,
        /// SHA-256 that was found.
        found: String,
        /// Bytes that were found.
        size: u64,
        /// SHA-256 that its entry has.
        wanted: String,
        /// Bytes that its entry has.
        wanted_size: u64,
    },
    /// The parts.
    #[error("the image of this start cannot be put together")]
    Image(#[from] ImageError),
    /// It is none.
    #[error("the image cannot be used")]
    Uki(#[from] UkiError),
    /// `/run`.
    #[error(transparent)]
    File(#[from] FileError),
    /// The facts.
    #[error("cannot write what is known of the image")]
    Facts(#[from] serde_json::Error),
    /// The thread ended.
    #[error("it was not finished")]
    Thread(#[from] tokio::task::JoinError),
}

impl From<EspError> for NetbootError {
    fn from(error: EspError) -> Self {
        Self::Slot(error.into())
    }
}

impl From<FatError> for NetbootError {
    fn from(error: FatError) -> Self {
        Self::Slot(error.into())
    }
}

/// Begins to boot other machines, where the config says so.
pub async fn begin(node: Arc<Node>) -> Done {
    if config(&node)?.netboot.interface.is_none() {
        return Ok(());
    }
    let access = Access {
        mode: 0o755,
        ..PUBLIC
    };
    files::directory(Path::new(paths::NETBOOT_RUN), access)?;
    let slot = slot::running(&node.cmdline);
    if slot.is_none()
        && let Err(error) = Origin::running(Vec::new()).map_err(|_| NetbootError::NoKernel)
    {
        keep_problem(&error);
        return Err(error.into());
    }
    tokio::spawn(async move {
        let held = tokio::task::spawn_blocking(move || hold(slot)).await;
        if let Err(error) = held.map_err(NetbootError::from).and_then(|held| held) {
            node.log.error(&format!("boot server: {}", chain(&error)));
            return keep_problem(&error);
        }
        if let Err(error) = node.units.add(server()).await {
            node.log.error(&format!("boot server: {}", chain(&error)));
        }
    });
    Ok(())
}

/// Where the agent finds why there is no server.
fn keep_problem(error: &NetbootError) {
    // It stands in the log as well.
    let _ = files::replace(Path::new(paths::NETBOOT_PROBLEM), chain(error).as_bytes(), PUBLIC);
}

/// The process that serves.
fn server() -> Spec {
    let mut spec = service(
        "netboot",
        "Boot server (PXE, UEFI HTTP)",
        paths::AGENT,
        paths::UID_NETBOOT,
    );
    spec.argv.push("--netboot".to_owned());
    // It is none of the node's own: it may talk neither to init nor to the agent.
    spec.gid = paths::GROUP_NETBOOT;
    spec.run_directory = Some(paths::NETBOOT_SERVER_RUN.into());
    spec.own_pids = true;
    spec.low_ports = true;
    spec.memory_max = Some(MEMORY);
    spec.oom_score = 500;
    spec.stop_timeout = Duration::from_secs(3);
    // Machines that boot can wait, the API cannot.
    spec.cpus.weight = CPU_WEIGHT / 5;
    spec
}

/// Puts the image into memory.
fn hold(slot: Option<Slot>) -> Result<(), NetbootError> {
    let (image, origin) = match slot {
        Some(slot) => of_slot(slot)?,
        None => of_start()?,
    };
    let facts = facts(&image, origin)?;
    files::replace(Path::new(paths::NETBOOT_IMAGE), &image, PUBLIC)?;
    let text = serde_json::to_vec_pretty(&facts)?;
    Ok(files::replace(Path::new(paths::NETBOOT_FACTS), &text, PUBLIC)?)
}

/// The image of the slot that runs.
fn of_slot(slot: Slot) -> Result<(Vec<u8>, String), NetbootError> {
    let installed = slot::find()?;
    let esp = Esp::new(installed.esp()?);
    let state = esp.state()?;
    let entry = &state.of(slot).ok_or(SlotError::NoEntry)?.entry;
    let limit = usize::try_from(entry.size).unwrap_or(usize::MAX);
    let read = esp.into_volume().read(&join(IMAGES, &slot.image()), limit)?;
    let image = read.ok_or(NetbootError::NoImage(slot))?;
    let found: [u8; 32] = Sha256::digest(&image).into();
    let size = u64::try_from(image.len()).unwrap_or(u64::MAX);
    if (found, size) != (entry.digest, entry.size) {
        return Err(NetbootError::Damaged {
            slot,
            found: hex::encode(found),
            size,
            wanted: hex::encode(entry.digest),
            wanted_size: entry.size,
        });
    }
    Ok((image, format!("slot {slot}, Axion {}", entry.version)))
}

/// The image of this start, as the installer would write it.
fn of_start() -> Result<(Vec<u8>, String), NetbootError> {
    let image = Image::gather(&Origin::running(Vec::new())?)?.assemble()?;
    let version = env!("CARGO_PKG_VERSION");
    Ok((image, format!("this start, Axion {version}")))
}

/// What the server has to know of an image.
fn facts(image: &[u8], origin: String) -> Result<HeldImage, NetbootError> {
    let headers = image.get(..HEADERS).ok_or(UkiError::NoUki)?;
    let places = uki::places(headers).ok_or(UkiError::NoUki)?;
    let part = |extent: Extent| (extent.start, extent.length);
    Ok(HeldImage {
        origin,
        sha256: hex::encode(Sha256::digest(image)),
        kernel: part(places.kernel),
        initramfs: part(places.initramfs),
        cmdline: uki::command_line(image)?.to_owned(),
    })
}

#[cfg(test)]
mod tests;
