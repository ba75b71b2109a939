//! Where machine config documents come from before the root is mounted.
//!
//! A source that cannot be read becomes a rejected document, and the boot goes on: a node that is up with its defaults
//! can be reached and told better.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use axion_core::cmdline::CommandLine;
use axion_core::config::{Rejected, Source};
use axion_install::select::mounts;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::mount::{MntFlags, MsFlags, umount2};

use super::fetch::{self, Url};
use super::volume;
use crate::clock;
use crate::failure::chain;
use crate::handover::Handover;
use crate::log::Log;
use crate::mounts::{Mount, MountError};
use crate::slot::{self, SystemDisk};
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
    if slot::running(cmdline).is_some() {
        wait_for_own_disk(Path::new("/"));
    }
    for device in own_volumes(volume::find(Path::new("/")), cmdline, log) {
        let document = read_volume(&device);
        keep(handover, log, Source::Volume(format!("/dev/{device}")), document);
    }
    for value in cmdline.all("axion.config").filter(|v| !v.is_empty()) {
        let (name, document) = match Location::parse(value) {
            Ok(location) => (location.name(), read(&location, log).map(Some)),
            Err(e) => ("unusable".to_owned(), Err(e)),
        };
        keep(handover, log, Source::CommandLine(name), document);
    }
}

/// Of several disks with an installation, another one may come up before the one that was started. Storage that may not exist is not
/// waited for.
fn wait_for_own_disk(root: &Path) {
    let end = clock::since_start() + volume::SETTLE;
    while volume::is_settling(root) && !slot::is_up() && clock::since_start() < end {
        sys::pause(volume::STEP);
    }
}

/// The config volumes without those of installations that do not run: a disk that is left over must not say what this node is.
fn own_volumes(mut devices: Vec<String>, cmdline: &CommandLine, log: &Log) -> Vec<String> {
    if devices.len() < 2 || slot::running(cmdline).is_none() {
        return devices;
    }
    match slot::find() {
        Ok(installed) => {
            let record = installed.record().ok().flatten();
            let partner = record.and_then(|record| Some(&installed.partner(&record)?.name));
            devices.retain(|device| {
                let on = |disk: &&SystemDisk| !mounts(&format!("/dev/{device} /"), &disk.name).is_empty();
                let other = installed.others.iter().find(on);
                if let Some(SystemDisk { name: disk, .. }) = other {
                    let own = &installed.name;
                    if partner == Some(disk) {
                        log.info(&format!(
                            "machine config: {disk} is the mirror of {own}, which was started; its own copy counts"
                        ));
                    } else {
                        log.warning(&format!(
                            "machine config: /dev/{device} is left out: {disk} holds another installation than {own}, which \
                             runs"
                        ));
                    }
                }
                other.is_none()
            });
        }
        Err(e) => log.warning(&format!(
            "machine config: every volume counts, as the disk that runs is not known: {}",
            chain(&e)
        )),
    }
    devices
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
