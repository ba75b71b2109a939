//! Volumes in the hands of units.
//!
//! A volume's file always belongs to the agent, so that no VMM can open it to others (chmod(2) is the owner's). What is
//! handed over is its group: for as long as a unit exists it is the unit's own (mode 0660, or 0640 where the unit only
//! reads), before and after that nobody's but the agent's (0600). The directory itself can be passed through and not
//! listed (0711).
//!
//! A volume that is a zvol is the same with a device: its node belongs to root (0600), and to the unit's group (0660, 0640) while
//! the unit exists. The unit knows it by its link below `/dev/zvol`, as numbers change from boot to boot.
//!
//! The agent may write to that directory, and must gain nothing by it: a file is opened without following a link and is
//! handed over only if it is a regular file of the agent's with this one name, a device only if the kernel says that it is a zvol
//! among those of volumes.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use axion_api::init::VolumeGrant;
use axion_core::paths;
use axion_storage::{StorageError, names, zvol};

/// A volume that cannot be handed over.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The system refuses.
    #[error("cannot {action} the volume {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is something else.
    #[error("{} is {found}; a volume is a regular file of user {owner} with one name", path.display())]
    Strange {
        /// The file.
        path: PathBuf,
        /// What it is.
        found: String,
        /// Who it should belong to.
        owner: u32,
    },
    /// It is called something that no zvol of a volume is.
    #[error(transparent)]
    Name(#[from] StorageError),
    /// There is no such zvol, or another device took its place.
    #[error("no device of this node is the zvol {0}")]
    NoZvol(String),
}

/// Where devices are, and what the kernel says of them.
const DEV: &str = "/dev";
const SYS: &str = "/sys";

/// The volumes of the node.
#[derive(Debug, Clone)]
pub struct Volumes {
    directory: PathBuf,
    owner: u32,
}

impl Default for Volumes {
    fn default() -> Self {
        Self {
            directory: paths::VOLUMES.into(),
            owner: paths::UID_AGENT,
        }
    }
}

impl Volumes {
    /// Volumes in `directory` whose files belong to `owner`.
    #[cfg(test)]
    pub fn in_directory(directory: &Path, owner: u32) -> Self {
        Self {
            directory: directory.to_owned(),
            owner,
        }
    }

    /// Hands volumes to the group `gid`; all of them or none.
    ///
    /// # Errors
    /// One of them is not there, or is no volume.
    pub fn grant(&self, grants: &[VolumeGrant], gid: u32) -> Result<(), VolumeError> {
        for grant in grants {
            let mode = if grant.writable { 0o660 } else { 0o640 };
            if let Err(error) = self.set(grant, Some(gid), mode) {
                // What went well is taken back; why the rest did not is what counts.
                let _ = self.revoke(grants);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Takes volumes back, as many as there still are.
    ///
    /// # Errors
    /// The last one that could not be taken back.
    pub fn revoke(&self, grants: &[VolumeGrant]) -> Result<(), VolumeError> {
        let mut result = Ok(());
        for grant in grants {
            match self.set(grant, None, 0o600) {
                // Deleted meanwhile.
                Err(VolumeError::NoZvol(_)) => {}
                Err(VolumeError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => result = Err(error),
                Ok(()) => {}
            }
        }
        result
    }

    /// Sets a volume's group and mode; without a group it is nobody's.
    fn set(&self, grant: &VolumeGrant, gid: Option<u32>, mode: u32) -> Result<(), VolumeError> {
        let (path, file) = if grant.pool.is_empty() {
            self.file(&grant.name)?
        } else {
            device(&grant.pool, &grant.name, false)?
        };
        let failed = |action| {
            let path = path.clone();
            move |source| VolumeError::File { action, path, source }
        };
        let nobody = if grant.pool.is_empty() {
            paths::GROUP_AXION
        } else {
            0
        };
        fchown(&file, None, Some(gid.unwrap_or(nobody))).map_err(failed("change the group of"))?;
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(failed("change the mode of"))
    }

    /// A volume that is a file.
    fn file(&self, name: &str) -> Result<(PathBuf, File), VolumeError> {
        let path = self.directory.join(name);
        let failed = |action| {
            let path = path.clone();
            move |source| VolumeError::File { action, path, source }
        };
        let file = open(&path, false).map_err(failed("open"))?;
        let found = file.metadata().map_err(failed("inspect"))?;
        if !found.is_file() || found.nlink() != 1 || found.uid() != self.owner {
            return Err(VolumeError::Strange {
                path: path.clone(),
                found: format!(
                    "of type {:o}, of user {}, with {} names",
                    found.mode() >> 12,
                    found.uid(),
                    found.nlink()
                ),
                owner: self.owner,
            });
        }
        Ok((path, file))
    }
}

/// Opens the zvol of a volume; its node is seen to be that zvol's after it was opened, as numbers are used again.
///
/// # Errors
/// There is none, or it cannot be opened.
pub fn device(pool: &str, name: &str, write: bool) -> Result<(PathBuf, File), VolumeError> {
    let whole = names::volume(pool, name)?;
    let none = || VolumeError::NoZvol(whole.clone());
    let path = zvol::node(Path::new(DEV), Path::new(SYS), &whole).ok_or_else(none)?;
    let failed = |source| VolumeError::File {
        action: "open",
        path: path.clone(),
        source,
    };
    let file = open(&path, write).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    if !found.file_type().is_block_device() || !zvol::is(&file, &whole) {
        return Err(none());
    }
    Ok((path, file))
}

/// Opens whatever the last part of the path names, without waiting for a peer and without a terminal's side effects.
fn open(path: &Path, write: bool) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(write)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

#[cfg(test)]
mod tests;
