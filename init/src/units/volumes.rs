//! Volumes in the hands of units.
//!
//! A volume's file always belongs to the agent, so that no VMM can open it to others (chmod(2) is the owner's). What is
//! handed over is its group: for as long as a unit exists it is the unit's own (mode 0660, or 0640 where the unit only
//! reads), before and after that nobody's but the agent's (0600). The directory itself can be passed through and not
//! listed (0711).
//!
//! The agent may write to that directory, and must gain nothing by it: a file is opened without following a link and is
//! handed over only if it is a regular file of the agent's with this one name.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use axion_api::init::VolumeGrant;
use axion_core::paths;

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
}

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
            if let Err(error) = self.set(&grant.name, gid, mode) {
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
            match self.set(&grant.name, paths::GROUP_AXION, 0o600) {
                // Deleted meanwhile.
                Err(VolumeError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => result = Err(error),
                Ok(()) => {}
            }
        }
        result
    }

    fn set(&self, name: &str, gid: u32, mode: u32) -> Result<(), VolumeError> {
        let path = self.directory.join(name);
        let failed = |action| {
            let path = path.clone();
            move |source| VolumeError::File { action, path, source }
        };
        let file = open(&path).map_err(failed("open"))?;
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
        fchown(&file, None, Some(gid)).map_err(failed("change the group of"))?;
        file.set_permissions(Permissions::from_mode(mode))
            .map_err(failed("change the mode of"))
    }
}

/// Opens whatever the last part of the path names, without waiting for a peer and without a terminal's side effects.
fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
}

#[cfg(test)]
mod tests;
