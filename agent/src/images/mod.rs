//! Uploaded guest kernels, initial RAM disks and disk images, by content.
//!
//! The file name is the SHA-256, so what a VM boots cannot change under its name. An upload streams into a file of its
//! own, is hashed on the way, and gets its name only when the hash fits; what a power cut leaves half-way is removed at
//! the next start.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::vm::Image;
use futures_util::{Stream, StreamExt};
use sha2::{Digest as _, Sha256};
use tokio::fs;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use crate::files::{FileError, RESERVE, ensure_directory, space, sync_parent};

/// Largest image, bytes.
pub const LARGEST: u64 = 4 << 30;
/// Uploads at a time.
const UPLOADS: usize = 4;
/// How long a further one waits for its turn.
const TURN: Duration = Duration::from_secs(30);
/// Names of unfinished uploads start with this.
const UNFINISHED: &str = ".upload-";

/// A SHA-256, written `sha256:` and 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

/// Text that is no [`Digest`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no digest; allowed is `sha256:` with 64 hex digits (lower case)", .0.escape_debug())]
pub struct DigestError(String);

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let bad = || DigestError(text.chars().take(80).collect());
        let digits = text.strip_prefix("sha256:").ok_or_else(bad)?;
        let mut digest = [0; 32];
        hex::decode_to_slice(digits, &mut digest).map_err(|_| bad())?;
        // One content has one name.
        if digits.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(bad());
        }
        Ok(Self(digest))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.file_name())
    }
}

impl Digest {
    fn file_name(self) -> String {
        hex::encode(self.0)
    }
}

impl From<DigestError> for Problem {
    fn from(error: DigestError) -> Self {
        Self::new(Kind::Invalid, error.to_string())
    }
}

/// Why an image cannot be stored.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// The body has another hash.
    #[error("the body's digest is {found}, not {wanted}; nothing was stored")]
    Mismatch {
        /// What the request names.
        wanted: Digest,
        /// What the body has.
        found: Digest,
    },
    /// The body is larger than allowed.
    #[error("the image is larger than {} GiB, the most that is allowed", LARGEST >> 30)]
    TooLarge,
    /// The file system is full.
    #[error("there is no room for the image; {} MiB stay reserved", RESERVE >> 20)]
    Full,
    /// Others are at it.
    #[error("{UPLOADS} images are being uploaded, as many as are at a time; try again")]
    Busy,
    /// The client went away or broke the protocol.
    #[error("the body ended early: {0}")]
    Body(String),
    /// The file system failed.
    #[error(transparent)]
    File(#[from] FileError),
}

impl From<ImageError> for Problem {
    fn from(error: ImageError) -> Self {
        let kind = match error {
            ImageError::Mismatch { .. } => Kind::Invalid,
            ImageError::TooLarge => Kind::TooLarge,
            ImageError::Full => Kind::InsufficientCapacity,
            ImageError::Busy => Kind::Unavailable,
            ImageError::Body(_) => Kind::Malformed,
            ImageError::File(_) => Kind::Internal,
        };
        Self::new(kind, crate::log::chain(&error))
    }
}

/// The images of a node.
pub struct Images {
    directory: PathBuf,
    uploads: Semaphore,
    next: AtomicU64,
}

impl Images {
    /// The images in `directory`, which is made where it is missing; unfinished uploads in it are removed.
    pub fn open(directory: PathBuf) -> Result<Self, FileError> {
        ensure_directory(&directory, 0o755)?;
        let entries = std::fs::read_dir(&directory).map_err(|e| FileError::new("list", &directory, e))?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                std::fs::remove_file(entry.path()).map_err(|e| FileError::new("remove", &entry.path(), e))?;
            }
        }
        Ok(Self {
            directory,
            uploads: Semaphore::new(UPLOADS),
            next: AtomicU64::new(0),
        })
    }

    /// Where the image of that digest is, or would be.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.directory.join(digest.file_name())
    }

    /// Whether there is an image of that digest.
    pub async fn contains(&self, digest: Digest) -> bool {
        fs::try_exists(self.path(digest)).await.unwrap_or(false)
    }

    /// Size of the image of that digest, bytes, where there is one.
    pub async fn size(&self, digest: Digest) -> Option<u64> {
        fs::metadata(self.path(digest))
            .await
            .ok()
            .map(|found| found.len())
    }

    /// Every image, by digest.
    pub async fn list(&self) -> Result<Vec<Image>, FileError> {
        let failed = |e| FileError::new("list", &self.directory, e);
        let mut images = Vec::new();
        let mut entries = fs::read_dir(&self.directory).await.map_err(failed)?;
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            let digest = format!("sha256:{}", entry.file_name().to_string_lossy()).parse::<Digest>();
            if let Ok(digest) = digest {
                let size = entry.metadata().await.map_err(failed)?.len();
                images.push(Image {
                    digest: digest.to_string(),
                    size,
                });
            }
        }
        images.sort_by(|a, b| a.digest.cmp(&b.digest));
        Ok(images)
    }

    /// Stores a body whose SHA-256 is `digest`. Answers the image and whether it is new.
    pub async fn put<B, E>(
        &self,
        digest: Digest,
        announced: Option<u64>,
        body: impl Stream<Item = Result<B, E>> + Unpin,
    ) -> Result<(Image, bool), ImageError>
    where
        B: AsRef<[u8]>,
        E: fmt::Display,
    {
        if announced.is_some_and(|bytes| bytes > LARGEST) {
            return Err(ImageError::TooLarge);
        }
        let turn = tokio::time::timeout(TURN, self.uploads.acquire()).await;
        let _turn = turn.ok().and_then(Result::ok).ok_or(ImageError::Busy)?;
        self.room(announced.unwrap_or(0))?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.directory.join(format!("{UNFINISHED}{number}"));
        let stored = self.store(digest, &unfinished, body).await;
        if stored.is_err() {
            remove(&unfinished).await;
        }
        stored
    }

    async fn store<B: AsRef<[u8]>, E: fmt::Display>(
        &self,
        digest: Digest,
        unfinished: &Path,
        body: impl Stream<Item = Result<B, E>> + Unpin,
    ) -> Result<(Image, bool), ImageError> {
        let (found, size) = self.receive(unfinished, body).await?;
        if found != digest {
            return Err(ImageError::Mismatch {
                wanted: digest,
                found,
            });
        }
        let path = self.path(digest);
        let new = !self.contains(digest).await;
        let failed = |e| FileError::new("write", &path, e);
        let (from, to) = (unfinished.to_owned(), path.clone());
        let finish = move || std::fs::rename(&from, &to).and_then(|()| sync_parent(&to));
        let finished = tokio::task::spawn_blocking(finish).await;
        finished.map_err(|e| failed(e.into()))?.map_err(failed)?;
        Ok((
            Image {
                digest: digest.to_string(),
                size,
            },
            new,
        ))
    }

    async fn receive<B: AsRef<[u8]>, E: fmt::Display>(
        &self,
        path: &Path,
        mut body: impl Stream<Item = Result<B, E>> + Unpin,
    ) -> Result<(Digest, u64), ImageError> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ImageError::Full,
            _ => FileError::new("write", path, e).into(),
        };
        // VMMs, which run as users of their own, read it.
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(path)
            .await
            .map_err(failed)?;
        let mut hash = Sha256::new();
        let (mut size, mut checked) = (0_u64, 0_u64);
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|e| ImageError::Body(e.to_string()))?;
            let chunk = chunk.as_ref();
            size = size.saturating_add(chunk.len() as u64);
            if size > LARGEST {
                return Err(ImageError::TooLarge);
            }
            if size - checked > RESERVE / 4 {
                checked = size;
                self.room(0)?;
            }
            hash.update(chunk);
            file.write_all(chunk).await.map_err(failed)?;
        }
        file.flush().await.map_err(failed)?;
        file.sync_all().await.map_err(failed)?;
        Ok((Digest(hash.finalize().into()), size))
    }

    /// Removes an image; false where there is none.
    pub async fn delete(&self, digest: Digest) -> Result<bool, FileError> {
        let path = self.path(digest);
        match fs::remove_file(&path).await {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(FileError::new("remove", &path, e)),
        }
    }

    /// Whether `bytes` more fit and leave the reserve.
    fn room(&self, bytes: u64) -> Result<(), ImageError> {
        if space(&self.directory)?.free < RESERVE.saturating_add(bytes) {
            Err(ImageError::Full)
        } else {
            Ok(())
        }
    }
}

/// Removes an upload's file, if it came to be.
async fn remove(unfinished: &Path) {
    if let Err(error) = fs::remove_file(unfinished).await
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("cannot remove {}: {error}", unfinished.display());
    }
}

#[cfg(test)]
mod tests;
