//! Volumes as zvols: what init is asked for, and the copy of an image onto a device that init has opened.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axion_api::problem::{Kind, Problem};
use axion_api::storage::{Answer, Call, Dataset, Pool, Snapshot, ZvolSpec};
use axion_api::volume::zvol;
use axion_core::quantity::ByteSize;

use super::NotMade;
use super::file::{VolumeFileError, copy};
use crate::files::FileError;
use crate::init::{Init, answer};
use crate::storage::{ask, done, unexpected};

/// Where zvols have links, by their whole names.
const LINKS: &str = "/dev/zvol";

/// The zvols.
pub struct Zvols {
    init: Arc<Init>,
}

impl Zvols {
    /// Zvols that this init knows of.
    pub fn new(init: Arc<Init>) -> Self {
        Self { init }
    }

    /// Where a VMM finds the volume.
    pub fn path(pool: &str, name: &str) -> PathBuf {
        Path::new(LINKS).join(zvol(pool, name))
    }

    /// Every imported pool.
    pub async fn pools(&self) -> Result<Vec<Pool>, Problem> {
        match ask(&self.init, &Call::Pools).await? {
            Answer::Pools(pools) => Ok(pools),
            _ => Err(unexpected()),
        }
    }

    /// Every zvol that is a volume.
    pub async fn list(&self) -> Result<Vec<Dataset>, Problem> {
        match ask(&self.init, &Call::Volumes).await? {
            Answer::Datasets(datasets) => Ok(datasets),
            _ => Err(unexpected()),
        }
    }

    /// Makes the volume, with the contents of `image` and zeros behind them; what an earlier attempt left is replaced.
    pub async fn make(
        &self,
        pool: &str,
        name: &str,
        spec: ZvolSpec,
        image: Option<PathBuf>,
    ) -> Result<(), NotMade> {
        let (pool, name) = (pool.to_owned(), name.to_owned());
        let call = Call::MakeVolume {
            pool: pool.clone(),
            name: name.clone(),
            spec,
        };
        if let Err(problem) = done(&self.init, &call).await {
            // Init goes on with what it did not answer in time.
            let left = problem.status == Kind::Unavailable.status();
            return Err(NotMade { problem, left });
        }
        let Some(image) = image else {
            return Ok(());
        };
        let Err(problem) = self.fill(&pool, &name, image).await else {
            return Ok(());
        };
        // Why it could not be filled is what counts; the next attempt begins anew.
        let left = self.remove(&pool, &name).await.is_err();
        Err(NotMade { problem, left })
    }

    async fn fill(&self, pool: &str, name: &str, image: PathBuf) -> Result<(), Problem> {
        let device: OwnedFd = answer(self.init.proxy()?.open_volume(pool, name)).await?.into();
        let path = Self::path(pool, name);
        let work = move || {
            let device = File::from(device);
            let failed = |error: io::Error| VolumeFileError::from(FileError::new("write", &path, error));
            copy(&image, &device, || Ok(()), failed)?;
            device.sync_all().map_err(failed)
        };
        let filled = tokio::task::spawn_blocking(work).await;
        let filled = filled.unwrap_or(Err(VolumeFileError::Interrupted));
        filled.map_err(|error| super::VolumesError::from(error).into())
    }

    /// Makes the volume larger.
    pub async fn grow(&self, pool: &str, name: &str, size: ByteSize) -> Result<(), Problem> {
        let (pool, name) = (pool.to_owned(), name.to_owned());
        done(&self.init, &Call::GrowVolume { pool, name, size }).await
    }

    /// Removes the volume, where it is there, and its snapshots.
    pub async fn remove(&self, pool: &str, name: &str) -> Result<(), Problem> {
        let (pool, name) = (pool.to_owned(), name.to_owned());
        done(&self.init, &Call::DestroyVolume { pool, name }).await
    }

    /// Snapshots of the volume, oldest first.
    pub async fn snapshots(&self, pool: &str, name: &str) -> Result<Vec<Snapshot>, Problem> {
        let dataset = Some(zvol(pool, name));
        match ask(&self.init, &Call::Snapshots { dataset }).await? {
            Answer::Snapshots(snapshots) => Ok(snapshots),
            _ => Err(unexpected()),
        }
    }

    /// Makes a snapshot of the volume. Answers it and whether it is new.
    pub async fn put_snapshot(
        &self,
        pool: &str,
        name: &str,
        snapshot: &str,
    ) -> Result<(Snapshot, bool), Problem> {
        let call = Call::PutSnapshot {
            name: format!("{}@{snapshot}", zvol(pool, name)),
            recursive: false,
        };
        match ask(&self.init, &call).await? {
            Answer::Snapshot(snapshot, new) => Ok((snapshot, new)),
            _ => Err(unexpected()),
        }
    }

    /// Destroys a snapshot of the volume.
    pub async fn delete_snapshot(&self, pool: &str, name: &str, snapshot: &str) -> Result<(), Problem> {
        let call = Call::DestroySnapshot {
            name: format!("{}@{snapshot}", zvol(pool, name)),
            recursive: false,
        };
        done(&self.init, &call).await
    }

    /// Sets the volume, which nobody has open, back to a snapshot.
    pub async fn roll_back(
        &self,
        pool: &str,
        name: &str,
        snapshot: &str,
        discard_newer: bool,
    ) -> Result<(), Problem> {
        let call = Call::RollbackVolume {
            pool: pool.to_owned(),
            name: name.to_owned(),
            snapshot: snapshot.to_owned(),
            discard_newer,
        };
        done(&self.init, &call).await
    }
}

#[cfg(test)]
mod tests;
