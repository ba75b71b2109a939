//! Volumes: disks that the node keeps for its VMs.
//!
//! ```text
//! PUT ─> place ─> record, not ready ─> file beside its place, filled, synced, renamed ─> record, ready
//!                                  └─> zvol, made by init, filled, synced ───────────┘
//! ```
//!
//! The record is written first, so what a power cut leaves half-way is known for what it is: a volume that is not ready is
//! no volume to anybody, the next `PUT` makes it anew, and `DELETE` removes what there is of it. A file or zvol without a record is
//! nobody's to overwrite: the store may have been lost. So a record stays for as long as something of its volume may be there.
//!
//! Who may open a volume is not decided here: the file is the agent's own, and init hands it to the one VM that has it, for
//! as long as that VM has a unit. A volume is the disk of one VM at most ([`crate::vm`]); what is to be shared is an image.
//!
//! [`file`] is all that knows that a volume is a file, [`zvol`] that it is a zvol, [`place`] decides which, and [`turns`] who waits. Where a volume is
//! does not change while it is there; that is in its record.

mod file;
mod place;
mod turns;
mod zvol;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Dataset, Snapshot, ZvolSpec};
use axion_api::volume::{Volume, VolumeKind, VolumeSpec, zvol as whole_name};
use axion_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use self::file::{Files, VolumeFileError};
use self::place::{Origin, check, choose, settled, wants_zvol};
use self::turns::{Turns, Withheld};
use self::zvol::Zvols;
use crate::events::unix_us;
use crate::files::FileError;
use crate::images::{Digest, Images};
use crate::init::Init;
use crate::log::chain;
use crate::store::{Entry, Expect, Precondition, Store, StoreError, kept};

/// Keys of volume records start with this.
const PREFIX: &str = "volumes/";
/// Longest name.
const LONGEST_NAME: usize = 40;
/// Images that are copied at a time: each copy keeps a thread, of which the store needs some.
const COPIES: usize = 2;

/// A volume as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    spec: VolumeSpec,
    /// The pool that its zvol is in; without one it is a file.
    #[serde(default)]
    pool: Option<String>,
    ready: bool,
    created_unix_us: u64,
}

/// Where a volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The pool that its zvol is in; without one it is a file.
    pub pool: Option<String>,
    /// Where a VMM finds it.
    pub path: PathBuf,
    /// Bytes of the node's memory that it comes to take as it is written.
    pub memory: u64,
}

/// A record and where it is in the store.
#[derive(Debug, Clone)]
struct Stored {
    name: String,
    revision: u64,
    record: Record,
}

/// A volume that was not made.
struct NotMade {
    problem: Problem,
    /// Whether something of it may be there.
    left: bool,
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
    zvols: Zvols,
    turns: Turns,
    copying: Semaphore,
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn stored(entry: Entry) -> Result<Stored, VolumesError> {
    let name = entry.key.strip_prefix(PREFIX).unwrap_or(&entry.key).to_owned();
    let record = kept::read(&entry.key, &entry.value);
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

/// What a file of `size` bytes takes of a file system in memory, with the kernel's index of its pages.
fn in_memory(size: u64) -> u64 {
    size.saturating_add(size / 64)
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

impl Volumes {
    /// The volumes whose files are in `directory`, which is made where it is missing, and whose zvols `init` knows of.
    pub fn open(
        store: Arc<dyn Store>,
        images: Arc<Images>,
        init: Arc<Init>,
        directory: PathBuf,
    ) -> Result<Self, FileError> {
        Ok(Self {
            store,
            images,
            files: Files::open(directory)?,
            zvols: Zvols::new(init),
            turns: Turns::default(),
            copying: Semaphore::new(COPIES),
        })
    }

    /// Where volumes are, those of `names` that are there.
    pub async fn places(
        &self,
        names: impl Iterator<Item = &str>,
    ) -> Result<BTreeMap<String, Place>, VolumesError> {
        let mut places = BTreeMap::new();
        for name in names {
            if let Some(stored) = self.record(name).await?.filter(|stored| stored.record.ready) {
                let pool = stored.record.pool;
                let path = match &pool {
                    Some(pool) => Zvols::path(pool, name),
                    None => self.files.path(name),
                };
                let memory = match &pool {
                    None if self.files.are_in_memory() => in_memory(stored.record.spec.size.0),
                    _ => 0,
                };
                places.insert(name.to_owned(), Place { pool, path, memory });
            }
        }
        Ok(places)
    }

    /// Whether there is such a volume, ready to be used.
    pub async fn contains(&self, name: &str) -> Result<bool, VolumesError> {
        Ok(self.record(name).await?.is_some_and(|stored| stored.record.ready))
    }

    /// Withholds a volume from VMs for as long as the answer lives; `what` becomes of it: `is being deleted`.
    pub fn withhold(&self, name: &str, what: &'static str) -> Result<Withheld, Problem> {
        let withheld = self.turns.withhold(name, what);
        withheld.map_err(|already| Problem::new(Kind::Conflict, format!("volume `{name}` {already}")))
    }

    /// What becomes of a volume that is withheld from VMs.
    pub fn withheld(&self, name: &str) -> Option<&'static str> {
        self.turns.withheld(name)
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

    /// Zvols of volumes; none where nobody asks for one, and none where their pools do not answer.
    async fn zvols_of(&self, records: &[Stored]) -> Vec<Dataset> {
        if records.iter().all(|stored| stored.record.pool.is_none()) {
            return Vec::new();
        }
        let listed = self.zvols.list().await;
        listed.unwrap_or_else(|problem| {
            tracing::warn!("what volumes take is not known: {}", problem.detail);
            Vec::new()
        })
    }

    async fn view(&self, stored: &Stored, zvols: &[Dataset], used_by: Option<String>) -> Volume {
        let Stored { name, record, .. } = stored;
        let dataset = record.pool.as_ref().map(|pool| whole_name(pool, name));
        let allocated = match &dataset {
            Some(dataset) => zvols
                .iter()
                .find(|zvol| zvol.name == *dataset)
                .map(|zvol| zvol.used),
            None => Some(self.files.allocated(name).await),
        };
        Volume {
            name: name.clone(),
            revision: stored.revision,
            spec: record.spec.clone(),
            kind: match dataset {
                Some(_) => VolumeKind::Zvol,
                None => VolumeKind::File,
            },
            dataset,
            allocated,
            used_by,
            created_unix_us: record.created_unix_us,
        }
    }

    async fn view_one(&self, stored: &Stored, used_by: Option<String>) -> Volume {
        let zvols = self.zvols_of(std::slice::from_ref(stored)).await;
        self.view(stored, &zvols, used_by).await
    }

    /// Every volume, by name; `user` says whose disk it is.
    pub async fn list(&self, user: impl Fn(&str) -> Option<String>) -> Result<Vec<Volume>, VolumesError> {
        let records = self.store.list(PREFIX).await?.into_iter().map(stored);
        let records: Vec<Stored> = records.collect::<Result<_, _>>()?;
        let zvols = self.zvols_of(&records).await;
        let mut volumes = Vec::new();
        for stored in records.iter().filter(|stored| stored.record.ready) {
            volumes.push(self.view(stored, &zvols, user(&stored.name)).await);
        }
        Ok(volumes)
    }

    /// One volume.
    pub async fn get(&self, name: &str, user: impl Fn(&str) -> Option<String>) -> Result<Volume, Problem> {
        let stored = self.existing(name).await?;
        Ok(self.view_one(&stored, user(name)).await)
    }

    async fn existing(&self, name: &str) -> Result<Stored, Problem> {
        check_name(name)?;
        let found = self.record(name).await?.filter(|stored| stored.record.ready);
        found.ok_or_else(|| missing(name))
    }

    /// Makes a volume, or makes one larger. Answers it and whether it is new. What is on one that exists is not touched.
    pub async fn put(
        &self,
        name: &str,
        spec: VolumeSpec,
        condition: &Precondition,
        user: impl Fn(&str) -> Option<String>,
    ) -> Result<(Volume, bool), Problem> {
        check_name(name)?;
        let origin = check(&spec)?;
        let _turn = self.turns.take(name).await;
        let found = self.record(name).await?;
        let ready = found.as_ref().filter(|stored| stored.record.ready);
        condition.check("volume", name, ready.map(|stored| stored.revision))?;
        if let Some(stored) = ready {
            let stored = self.change(stored.clone(), spec).await?;
            return Ok((self.view_one(&stored, user(name)).await, false));
        }
        let (pool, from) = self.place(&spec, &origin).await?;
        let half = found.as_ref().map(|stored| &stored.record);
        if half.is_none_or(|half| half.pool != pool) {
            self.is_free(name, pool.as_deref()).await?;
            if let Some(elsewhere) = half {
                self.clear(name, elsewhere).await?;
            }
        }
        let (image, _copying) = match origin {
            Origin::Image(digest) => {
                let copying = self.copying.acquire().await.ok();
                (Some(self.image(digest, spec.size.0).await?), copying)
            }
            _ => (None, None),
        };
        let mut record = Record {
            spec,
            pool,
            ready: false,
            created_unix_us: unix_us(),
        };
        let expect = found.map_or(Expect::Absent, |stored| Expect::Revision(stored.revision));
        let begun = self.write(name, &record, expect).await?;
        if let Err(NotMade { problem, left }) = self.make(name, &record, from, image).await {
            if !left && expect == Expect::Absent {
                // Where this fails, a record that is not ready stays, which harms nobody.
                let _ = self.store.delete(&key(name), begun).await;
            }
            return Err(problem);
        }
        record.ready = true;
        let revision = self.write(name, &record, Expect::Revision(begun)).await?;
        let stored = Stored {
            name: name.to_owned(),
            revision,
            record,
        };
        Ok((self.view_one(&stored, None).await, true))
    }

    /// The pool of a new volume, and the whole name of the snapshot that it begins with. No pool: it is a file.
    async fn place(
        &self,
        spec: &VolumeSpec,
        origin: &Origin,
    ) -> Result<(Option<String>, Option<String>), Problem> {
        let invalid = |detail: String, pointer: &str| Err(Problem::new(Kind::Invalid, detail).at(pointer));
        let from = match origin {
            Origin::Snapshot(whole) => Some(whole.clone()),
            Origin::Volume { volume, snapshot } => {
                let stored = self
                    .existing(volume)
                    .await
                    .map_err(|problem| problem.at("/from"))?;
                let Some(pool) = stored.record.pool else {
                    return invalid(no_snapshots(volume), "/from");
                };
                Some(format!("{}@{snapshot}", whole_name(&pool, volume)))
            }
            Origin::Zeros | Origin::Image(_) => None,
        };
        let of_snapshot = from.as_deref().and_then(|whole| whole.split('/').next());
        match (of_snapshot, &spec.pool) {
            (Some(has), Some(wanted)) if has != wanted => {
                let detail = format!("the snapshot is in pool `{has}`, and shares its blocks there");
                return invalid(detail, "/pool");
            }
            (Some(pool), _) => return Ok((Some(pool.to_owned()), from)),
            (None, Some(pool)) => return Ok((Some(pool.clone()), None)),
            (None, None) if spec.kind == Some(VolumeKind::File) => return Ok((None, None)),
            (None, None) => {}
        }
        let pools = self.zvols.pools().await;
        match pools.as_deref().map(choose) {
            Ok(Some(pool)) => Ok((Some(pool.name.clone()), None)),
            Ok(None) if wants_zvol(spec, origin) => {
                invalid("no pool is imported that a zvol could be in".to_owned(), "/kind")
            }
            Ok(None) => Ok((None, None)),
            Err(problem) => Err(problem.clone()),
        }
    }

    /// Whether nothing without a record has a volume's place.
    async fn is_free(&self, name: &str, pool: Option<&str>) -> Result<(), Problem> {
        let (taken, what) = match pool {
            None => (
                self.files.exists(name).await,
                format!("a file {}", self.files.path(name).display()),
            ),
            Some(pool) => {
                let whole = whole_name(pool, name);
                let there = self.zvols.list().await?;
                (
                    there.iter().any(|zvol| zvol.name == whole),
                    format!("a zvol {whole}"),
                )
            }
        };
        if taken {
            let detail = format!(
                "there is {what} without a record, which is not overwritten; remove it or choose another name"
            );
            return Err(Problem::new(Kind::Conflict, detail));
        }
        Ok(())
    }

    async fn make(
        &self,
        name: &str,
        record: &Record,
        from: Option<String>,
        image: Option<PathBuf>,
    ) -> Result<(), NotMade> {
        let spec = &record.spec;
        let Some(pool) = &record.pool else {
            let made = self.files.make(name, spec.size.0, image).await;
            let Err(error) = made else { return Ok(()) };
            // It has its name where only that could not be made to last.
            let left = self.files.remove(name).await.is_err();
            let problem = VolumesError::from(error).into();
            return Err(NotMade { problem, left });
        };
        let wanted = ZvolSpec {
            size: spec.size,
            block_size: spec.block_size,
            reserved: spec.reserved,
            from,
        };
        self.zvols.make(pool, name, wanted, image).await
    }

    /// Makes a volume as large as it is to be, if that is all that is new.
    async fn change(&self, mut stored: Stored, spec: VolumeSpec) -> Result<Stored, Problem> {
        let there = &stored.record.spec;
        let spec = settled(spec, there);
        if *there == spec {
            return Ok(stored);
        }
        let name = &stored.name;
        let size_alone = VolumeSpec {
            size: there.size,
            ..spec.clone()
        };
        if size_alone != *there || spec.size < there.size {
            let detail = format!(
                "volume `{name}` exists with another size or origin ({}); it can grow, and else has to be deleted first, with \
                 what is on it",
                there.size
            );
            return Err(Problem::new(Kind::Conflict, detail));
        }
        match &stored.record.pool {
            Some(pool) => self.zvols.grow(pool, name, spec.size).await?,
            None => {
                let grown = self.files.grow(name, spec.size.0).await;
                grown.map_err(VolumesError::from)?;
            }
        }
        stored.record.spec = spec;
        let expect = Expect::Revision(stored.revision);
        stored.revision = self.write(&stored.name, &stored.record, expect).await?;
        Ok(stored)
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

    /// Deletes a volume that nobody uses, or what there is of one that is half made: whoever calls has made sure of that, and keeps
    /// it so.
    pub async fn delete(&self, name: &str, forget: bool, condition: &Precondition) -> Result<(), Problem> {
        check_name(name)?;
        let _turn = self.turns.take(name).await;
        let stored = self.record(name).await?.ok_or_else(|| missing(name))?;
        let seen = stored.record.ready.then_some(stored.revision);
        condition.check("volume", name, seen)?;
        if forget {
            self.check_gone(name, stored.record.pool.as_deref()).await?;
            return Ok(self.store.delete(&key(name), stored.revision).await?);
        }
        // What it is kept in first: without that the record can still be deleted, without the record that could not.
        self.clear(name, &stored.record).await?;
        Ok(self.store.delete(&key(name), stored.revision).await?)
    }

    /// Removes what a volume is kept in, where it is there.
    async fn clear(&self, name: &str, record: &Record) -> Result<(), Problem> {
        match &record.pool {
            Some(pool) => self.zvols.remove(pool, name).await,
            None => Ok(self.files.remove(name).await.map_err(VolumesError::from)?),
        }
    }

    /// Whether the pool of a volume is away.
    async fn check_gone(&self, name: &str, pool: Option<&str>) -> Result<(), Problem> {
        let Some(pool) = pool else {
            let detail =
                format!("volume `{name}` is a file on the node and can only be deleted, not forgotten");
            return Err(Problem::new(Kind::Conflict, detail));
        };
        if self.zvols.pools().await?.iter().any(|there| there.name == pool) {
            let detail = format!("pool `{pool}` of volume `{name}` is imported: delete the volume instead");
            return Err(Problem::new(Kind::Conflict, detail));
        }
        Ok(())
    }

    /// The pool of a volume that has snapshots.
    async fn pool(&self, name: &str) -> Result<String, Problem> {
        let pool = self.existing(name).await?.record.pool;
        pool.ok_or_else(|| Problem::new(Kind::Conflict, no_snapshots(name)))
    }

    /// Snapshots of a volume, oldest first.
    pub async fn snapshots(&self, name: &str) -> Result<Vec<Snapshot>, Problem> {
        let pool = self.pool(name).await?;
        self.zvols.snapshots(&pool, name).await
    }

    /// Makes a snapshot of a volume; one that is there stays as it is. Answers it and whether it is new.
    pub async fn put_snapshot(&self, name: &str, snapshot: &str) -> Result<(Snapshot, bool), Problem> {
        let pool = self.pool(name).await?;
        self.zvols.put_snapshot(&pool, name, snapshot).await
    }

    /// Destroys a snapshot of a volume.
    pub async fn delete_snapshot(&self, name: &str, snapshot: &str) -> Result<(), Problem> {
        let pool = self.pool(name).await?;
        self.zvols.delete_snapshot(&pool, name, snapshot).await
    }

    /// Sets a volume back to a snapshot: whoever calls has made sure that nobody has it open, and keeps it so.
    pub async fn roll_back(&self, name: &str, snapshot: &str, discard_newer: bool) -> Result<(), Problem> {
        let _turn = self.turns.take(name).await;
        let pool = self.pool(name).await?;
        self.zvols.roll_back(&pool, name, snapshot, discard_newer).await
    }
}

fn missing(name: &str) -> Problem {
    let detail =
        format!("there is no volume `{name}`; GET /v1/volumes lists them, PUT /v1/volumes/{name} makes it");
    Problem::new(Kind::NotFound, detail)
}

fn no_snapshots(name: &str) -> String {
    format!("volume `{name}` is a file, which has no snapshots; a zvol has")
}

#[cfg(test)]
mod tests;
