//! Where machine config documents come from before the root is mounted.
//!
//! A source that cannot be read becomes a rejected document, and the boot goes on: a node that is up with its defaults
//! can be reached and told better.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use axion_core::cmdline::CommandLine;
use axion_core::config::{Rejected, Source};
use axion_core::topology::{Disk, Topology};
use axion_install::select::{is_medium, mounts};
use axion_install::started::Unclear;
use axion_install::{storage, table};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::mount::{MntFlags, MsFlags, umount2};

use super::fetch::{self, Url};
use super::volume;
use super::volume::choice::{Choice, Place, Start, Volume, choose, is_final};
use crate::clock;
use crate::failure::chain;
use crate::handover::Handover;
use crate::log::Log;
use crate::mounts::{Mount, MountError};
use crate::slot::{self, SlotError};
use crate::sys;

/// Bytes of a document.
pub const MAX_DOCUMENT: u64 = 1 << 20;
const MOUNT_POINT: &str = "/run/axion/volume";
const FILE_NAME: &str = "axion.toml";

/// A document that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// No such form.
    #[error("`{0}` is not `inline:BASE64`, `file:/PATH`, `http://…` or `https://…`")]
    Form(String),
    /// Bad base64.
    #[error("the text after `inline:` is no base64 (RFC 4648 §4)")]
    Base64(#[source] base64::DecodeError),
    /// A file.
    #[error("cannot read {path}")]
    Read {
        /// File.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Too long.
    #[error("the document is longer than 1 MiB")]
    TooLong,
    /// Not text.
    #[error("the document is not UTF-8")]
    NotText,
    /// The volume.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// The network.
    #[error(transparent)]
    Fetch(#[from] fetch::FetchError),
}

/// Collects the documents into `handover`.
pub fn gather(cmdline: &CommandLine, handover: &mut Handover, log: &Log) {
    let locations: Vec<&str> = cmdline.all("axion.config").filter(|v| !v.is_empty()).collect();
    let volumes = if slot::running(cmdline).is_some() {
        wait_for_own_disk(Path::new("/"));
        volumes_of_installed(log)
    } else {
        let start = Start::Other {
            documents: !locations.is_empty(),
        };
        choose(&volumes_of_others(Path::new("/")), start)
    };
    for (device, why) in volumes.left {
        log.warning(&format!("machine config: /dev/{device} is left out: {why}"));
    }
    for device in volumes.taken {
        let document = read_volume(&device);
        let path = format!("/dev/{device}");
        if let Some(serial) = File::open(&path).ok().and_then(|file| volume::serial(&file)) {
            handover.volumes.insert(path, serial);
        }
        keep(handover, log, Source::Volume(format!("/dev/{device}")), document);
    }
    for value in locations {
        let (name, document) = match Location::parse(value) {
            Ok(location) => (location.name(), read(&location, log).map(Some)),
            Err(e) => ("unusable".to_owned(), Err(e)),
        };
        keep(handover, log, Source::CommandLine(name), document);
    }
}

/// Of several disks with an installation, another one may come up before the one that was started, which is there and to be waited
/// for then. Storage that may not exist is not.
fn wait_for_own_disk(root: &Path) {
    let end = clock::since_start() + volume::SETTLE;
    let is_to_come = || volume::is_settling(root) || slot::is_missing();
    while is_to_come() && !slot::is_up() && clock::since_start() < end {
        sys::pause(volume::STEP);
    }
}

/// The config volumes that count for a node that was started from an installed disk.
fn volumes_of_installed(log: &Log) -> Choice {
    let devices = volume::find(Path::new("/"), |found| !found.is_empty());
    let installed = slot::find();
    let (own, partner) = match &installed {
        Ok(installed) => {
            let record = installed.record().ok().flatten();
            let partner = record.and_then(|record| Some(installed.partner(&record)?.name.as_str()));
            (Some(installed.name.as_str()), partner)
        }
        Err(e) => {
            log.warning(&format!(
                "machine config: the disk that was started is not known: {}",
                chain(e)
            ));
            (None, None)
        }
    };
    let start = match &installed {
        Err(SlotError::Unclear(Unclear::Several { .. } | Unclear::Copies { .. })) => Start::Unclear,
        _ => Start::Installed,
    };
    let disks = Topology::read(Path::new("/")).disks;
    let volumes = devices.into_iter().map(|device| {
        let disk = disks.iter().find(|disk| is_on(&device, disk));
        let name = disk.map(|disk| disk.name.as_str());
        let place = if name.is_some() && name == own {
            Place::Own
        } else if name.is_some() && name == partner {
            Place::Partner
        } else {
            disk.map_or(Place::Disk, |disk| place(Path::new("/"), disk))
        };
        Volume { device, place }
    });
    choose(&volumes.collect::<Vec<_>>(), start)
}

/// The config volumes that a node finds which was started from something else.
fn volumes_of_others(root: &Path) -> Vec<Volume> {
    let places = |devices: &[String]| {
        let disks = Topology::read(root).disks;
        let volumes = devices.iter().map(|device| Volume {
            device: device.clone(),
            place: disks
                .iter()
                .find(|disk| is_on(device, disk))
                .map_or(Place::Disk, |disk| place(root, disk)),
        });
        volumes.collect::<Vec<_>>()
    };
    let found = volume::find(root, |found| {
        places(found).iter().any(|volume| is_final(volume.place))
    });
    places(&found)
}

fn is_on(device: &str, disk: &Disk) -> bool {
    !mounts(&format!("/dev/{device} /"), &disk.name).is_empty()
}

/// What a disk is that was not started.
fn place(root: &Path, disk: &Disk) -> Place {
    let file = File::open(root.join("dev").join(&disk.name));
    let storage = file.and_then(|file| storage::Disk::new(file, disk.logical_sector.into()));
    if let Ok(storage) = storage {
        if is_medium(&storage) {
            return Place::Medium;
        }
        if slot::is_installed(&table::read(&storage).unwrap_or_default()) {
            return Place::Installation;
        }
    }
    if disk.removable { Place::Stick } else { Place::Disk }
}

fn keep(handover: &mut Handover, log: &Log, source: Source, document: Result<Option<String>, SourceError>) {
    match document {
        Ok(Some(text)) => {
            log.info(&format!("machine config: {source}"));
            handover.documents.push((source, text));
        }
        Ok(None) => log.warning(&format!("machine config: {source} is not there")),
        Err(e) => handover.rejected.push(Rejected {
            source,
            line: None,
            message: chain(&e),
        }),
    }
}

/// Where the command line says that a document is.
#[derive(Debug, PartialEq, Eq)]
enum Location {
    Inline(String),
    File(String),
    Url(String),
}

impl Location {
    fn parse(value: &str) -> Result<Self, SourceError> {
        match value.split_once(':') {
            Some(("inline", text)) => Ok(Self::Inline(text.to_owned())),
            Some(("file", path)) if path.starts_with('/') => {
                // `file:///path` is the same file.
                Ok(Self::File(format!("/{}", path.trim_start_matches('/'))))
            }
            Some(("http" | "https", _)) => Ok(Self::Url(value.to_owned())),
            _ => Err(SourceError::Form(value.chars().take(40).collect())),
        }
    }

    /// What people see: no document, no credentials.
    fn name(&self) -> String {
        match self {
            Self::Inline(_) => "inline".to_owned(),
            Self::File(path) => path.clone(),
            Self::Url(url) => fetch::public_name(url),
        }
    }
}

fn read(location: &Location, log: &Log) -> Result<String, SourceError> {
    match location {
        Location::Inline(text) => into_text(STANDARD.decode(text).map_err(SourceError::Base64)?),
        Location::File(path) => read_file(Path::new(path)),
        Location::Url(url) => into_text(fetch::fetch(&Url::parse(url, Path::new("/"))?, log)?),
    }
}

fn read_file(path: &Path) -> Result<String, SourceError> {
    let failed = |source| SourceError::Read {
        path: path.display().to_string(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(failed)?
        .take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    into_text(bytes)
}

fn into_text(bytes: Vec<u8>) -> Result<String, SourceError> {
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_DOCUMENT {
        return Err(SourceError::TooLong);
    }
    String::from_utf8(bytes).map_err(|_| SourceError::NotText)
}

/// The document on a config volume; `None`: there is no such file on it.
fn read_volume(device: &str) -> Result<Option<String>, SourceError> {
    let volume = Mount {
        source: "",
        target: MOUNT_POINT,
        kind: "vfat",
        flags: MsFlags::MS_RDONLY
            .union(MsFlags::MS_NODEV)
            .union(MsFlags::MS_NOSUID)
            .union(MsFlags::MS_NOEXEC),
        options: "",
    };
    volume.perform_at(Path::new(MOUNT_POINT), &format!("/dev/{device}"))?;
    let document = match read_file(&Path::new(MOUNT_POINT).join(FILE_NAME)) {
        Err(SourceError::Read { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    };
    let _ = umount2(MOUNT_POINT, MntFlags::MNT_DETACH);
    let _ = std::fs::remove_dir(MOUNT_POINT);
    document
}

#[cfg(test)]
mod tests;
