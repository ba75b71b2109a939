//! Volumes: disks that the node keeps for its VMs.
//!
//! ```text
//! PUT ─> record, not ready ─> file beside its place, filled, synced, renamed ─> record, ready
//! ```
//!
//! The record is written first, so what a power cut leaves half-way is known for what it is: a volume that is not ready is
//! no volume to anybody, and the next `PUT` makes it anew. A file without a record is nobody's to overwrite: the store may
//! have been lost.
//!
//! Who may open a volume is not decided here: the file is the agent's own, and init hands it to the one VM that has it, for
//! as long as that VM has a unit. A volume is the disk of one VM at most ([`crate::vm`]); what is to be shared is an image.
//!
//! [`file`] is all that knows that a volume is a file. A node with a pool will have block devices there.

mod file;

use std::path::PathBuf;
use std::sync::Arc;

use axion_api::problem::{Kind, Problem};
use axion_api::volume::{Volume, VolumeSpec};
use axion_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};

use self::file::{Files, VolumeFileError};
use crate::events::unix_us;
use crate::files::FileError;
use crate::images::{Digest, Images};
use crate::log::chain;
use crate::store::{Entry, Expect, Precondition, Store, StoreError};

/// Keys of volume records start with this.
const PREFIX: &str = "volumes/";
/// Sizes are multiples of this, bytes: the largest block that a guest's file system writes at once.
const STEP: u64 = 4096;
/// Least size, bytes.
const LEAST: u64 = 1 << 20;
/// Longest name.
const LONGEST_NAME: usize = 40;

/// A volume as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    spec: VolumeSpec,
    ready: bool,
    created_unix_us: u64,
}

/// A record and where it is in the store.
#[derive(Debug, Clone)]
struct Stored {
    name: String,
    revision: u64,
    record: Record,
}

/// Why volumes cannot be worked on, for the node's own reasons.
#[derive(Debug, thiserror::Error)]
pub enum VolumesError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record.
    #[error("the record `{key}` in the store cannot be read or written")]
    Record {
        /// Its key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] VolumeFileError),
}

impl From<VolumesError> for Problem {
    fn from(error: VolumesError) -> Self {
        match error {
            VolumesError::Store(error) => error.into(),
            VolumesError::File(VolumeFileError::Full { .. }) => {
                Self::new(Kind::InsufficientCapacity, chain(&error))
            }
            VolumesError::Record { .. } | VolumesError::File(_) => Self::new(Kind::Internal, chain(&error)),
        }
    }
}

/// The volumes of a node.
pub struct Volumes {
    store: Arc<dyn Store>,
    images: Arc<Images>,
    files: Files,
    /// Held while a volume is made or deleted.
    making: tokio::sync::Mutex<()>,
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn stored(entry: Entry) -> Result<Stored, VolumesError> {
    let name = entry.key.strip_prefix(PREFIX).unwrap_or(&entry.key).to_owned();
    let record = serde_json::from_slice(&entry.value);
    Ok(Stored {
        name,
        revision: entry.revision,
        record: record.map_err(|source| VolumesError::Record {
            key: entry.key,
            source,
        })?,
    })
}

/// Whether a volume may have this name.
pub fn is_name(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(letters)
}

fn check_name(name: &str) -> Result<(), Problem> {
    if is_name(name) {
        return Ok(());
    }
    let name = name.escape_debug();
    let detail = format!(
        "`{name}` is no volume's name; allowed are 1 to {LONGEST_NAME} of a-z, 0-9 and `-`, starting with a letter"
    );
    Err(Problem::new(Kind::Invalid, detail))
}

/// Checks what does not depend on the node. Answers the image to begin with.
fn check(spec: &VolumeSpec) -> Result<Option<Digest>, Problem> {
    let size = spec.size.0;
    if size < LEAST || !size.is_multiple_of(STEP) {
        let detail = format!(
            "{}; allowed are multiples of {}, {} at least",
            spec.size,
            ByteSize(STEP),
            ByteSize(LEAST)
        );
        return Err(Problem::new(Kind::Invalid, detail).at("/size"));
    }
    let digest = spec.from.as_deref().map(str::parse::<Digest>).transpose();
    digest.map_err(|error| Problem::from(error).at("/from"))
}

impl Volumes {
    /// The volumes whose files are in `directory`, which is made where it is missing.
    pub fn open(store: Arc<dyn Store>, images: Arc<Images>, directory: PathBuf) -> Result<Self, FileError> {
        Ok(Self {
            store,
            images,
            files: Files::open(directory)?,
            making: tokio::sync::Mutex::default(),
        })
    }

    /// Where a VMM finds the volume.
    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path(name)
    }

    /// Whether there is such a volume, ready to be used.
    pub async fn contains(&self, name: &str) -> Result<bool, VolumesError> {
        Ok(self.record(name).await?.is_some_and(|stored| stored.record.ready))
    }

    async fn record(&self, name: &str) -> Result<Option<Stored>, VolumesError> {
        self.store.get(&key(name)).await?.map(stored).transpose()
    }

    async fn write(&self, name: &str, record: &Record, expect: Expect) -> Result<u64, VolumesError> {
        let key = key(name);
        match serde_json::to_vec(record) {
            Ok(value) => Ok(self.store.put(&key, value, expect).await?),
            Err(source) => Err(VolumesError::Record { key, source }),
        }
    }

    fn view(&self, stored: &Stored, used_by: Option<&String>) -> Volume {
        Volume {
            name: stored.name.clone(),
            revision: stored.revision,
            spec: stored.record.spec.clone(),
            allocated: self.files.allocated(&stored.name),
            used_by: used_by.cloned(),
            created_unix_us: stored.record.created_unix_us,
        }
    }

    /// Every volume, by name; `user` says whose disk it is.
    pub async fn list(&self, user: impl Fn(&str) -> Option<String>) -> Result<Vec<Volume>, VolumesError> {
        let records: Vec<Stored> = self
            .store
            .list(PREFIX)
            .await?
            .into_iter()
            .map(stored)
            .collect::<Result<_, _>>()?;
        let ready = records.iter().filter(|stored| stored.record.ready);
        Ok(ready
            .map(|stored| self.view(stored, user(&stored.name).as_ref()))
            .collect())
    }

    /// One volume.
    pub async fn get(&self, name: &str, user: impl Fn(&str) -> Option<String>) -> Result<Volume, Problem> {
        let stored = self.existing(name).await?;
        Ok(self.view(&stored, user(name).as_ref()))
    }

    async fn existing(&self, name: &str) -> Result<Stored, Problem> {
        check_name(name)?;
        let found = self.record(name).await?.filter(|stored| stored.record.ready);
        found.ok_or_else(|| {
            let detail = format!(
                "there is no volume `{name}`; GET /v1/volumes lists them, PUT /v1/volumes/{name} makes it"
            );
            Problem::new(Kind::NotFound, detail)
        })
    }

    /// Makes a volume. Answers it and whether it is new. What is on one that exists is not touched.
    pub async fn put(
        &self,
        name: &str,
        spec: VolumeSpec,
        condition: &Precondition,
        user: impl Fn(&str) -> Option<String>,
    ) -> Result<(Volume, bool), Problem> {
        check_name(name)?;
        let image = check(&spec)?;
        let _making = self.making.lock().await;
        let found = self.record(name).await?;
        let ready = found.as_ref().filter(|stored| stored.record.ready);
        condition.check("volume", name, ready.map(|stored| stored.revision))?;
        if let Some(stored) = ready {
            if stored.record.spec == spec {
                return Ok((self.view(stored, user(name).as_ref()), false));
            }
            let detail = format!(
                "volume `{name}` exists with another size or origin ({}); delete it first, with what is on it",
                stored.record.spec.size
            );
            return Err(Problem::new(Kind::Conflict, detail));
        }
        if found.is_none() && self.files.exists(name) {
            let detail = format!(
                "there is a file {} without a record, which is not overwritten; remove it or choose another name",
                self.path(name).display()
            );
            return Err(Problem::new(Kind::Conflict, detail));
        }
        let image = match image {
            Some(digest) => Some(self.image(digest, spec.size.0).await?),
            None => None,
        };
        let mut record = Record {
            spec,
            ready: false,
            created_unix_us: unix_us(),
        };
        let expect = found.map_or(Expect::Absent, |stored| Expect::Revision(stored.revision));
        let begun = self.write(name, &record, expect).await?;
        let made = self.files.make(name, record.spec.size.0, image).await;
        if let Err(error) = made {
            // Where this fails, a record that is not ready stays, which harms nobody.
            let _ = self.store.delete(&key(name), begun).await;
            return Err(VolumesError::from(error).into());
        }
        record.ready = true;
        let revision = self.write(name, &record, Expect::Revision(begun)).await?;
        let stored = Stored {
            name: name.to_owned(),
            revision,
            record,
        };
        Ok((self.view(&stored, None), true))
    }

    /// The file of an image that fits into `size` bytes.
    async fn image(&self, digest: Digest, size: u64) -> Result<PathBuf, Problem> {
        let Some(there) = self.images.size(digest).await else {
            let detail = format!("there is no image {digest}; upload it with PUT /v1/images/{digest}");
            return Err(Problem::new(Kind::Invalid, detail).at("/from"));
        };
        if there > size {
            let detail = format!("{}; the image has {there} bytes, which must fit", ByteSize(size));
            return Err(Problem::new(Kind::Invalid, detail).at("/size"));
        }
        Ok(self.images.path(digest))
    }

    /// Deletes a volume that nobody uses: whoever calls has made sure of that, and keeps it so.
    pub async fn delete(&self, name: &str, condition: &Precondition) -> Result<(), Problem> {
        let _making = self.making.lock().await;
        let stored = self.existing(name).await?;
        condition.check("volume", name, Some(stored.revision))?;
        // The file first: without it the record can still be deleted, without the record the file could not.
        self.files.remove(name).await.map_err(VolumesError::from)?;
        Ok(self.store.delete(&key(name), stored.revision).await?)
    }
}

#[cfg(test)]
mod tests;
