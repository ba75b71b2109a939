//! Volumes as sparse raw files in one directory.
//!
//! A file takes room as it is written. That more is promised than there is is allowed, and a guest whose volume finds no
//! room is paused until there is some; only one volume that is larger than the whole file system is refused, since it can
//! never be filled. Copying an image leaves a reserve free, as an upload does, and leaves out blocks of zeros.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::files::{FileError, RESERVE, ensure_directory, space, sync_parent};

/// Names of files that are being made start with this.
const UNFINISHED: &str = ".new-";
/// Bytes that are read at a time; the free space is looked at after each.
const PIECE: usize = 1 << 20;
/// Zeros are left out in blocks of this size, bytes.
const BLOCK: usize = 64 << 10;

/// Why a volume's file cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum VolumeFileError {
    /// There is no room.
    #[error("there is no room for {wanted} MiB: {free} of {total} MiB are free, {reserve} MiB stay reserved", reserve = RESERVE >> 20)]
    Full {
        /// MiB that were wanted.
        wanted: u64,
        /// MiB that are free.
        free: u64,
        /// MiB that there are in all.
        total: u64,
    },
    /// The file system.
    #[error(transparent)]
    File(#[from] FileError),
    /// The thread that did it.
    #[error("the work on the file was interrupted")]
    Interrupted,
}

/// The files.
#[derive(Debug, Clone)]
pub struct Files {
    directory: PathBuf,
    /// Number of the next file that is made: no two attempts write to the same one.
    next: Arc<AtomicU64>,
}

impl Files {
    /// The files in `directory`, which is made where it is missing; unfinished ones in it are removed.
    pub fn open(directory: PathBuf) -> Result<Self, FileError> {
        // VMMs pass through it to the one file that is theirs.
        ensure_directory(&directory, 0o711)?;
        let entries = std::fs::read_dir(&directory).map_err(|e| FileError::new("list", &directory, e))?;
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                std::fs::remove_file(entry.path()).map_err(|e| FileError::new("remove", &entry.path(), e))?;
            }
        }
        Ok(Self {
            directory,
            next: Arc::default(),
        })
    }

    /// Whether they lie in the node's memory, on a node whose state does not survive a reboot.
    pub fn are_in_memory(&self) -> bool {
        let found = nix::sys::statfs::statfs(&self.directory);
        found.is_ok_and(|found| found.filesystem_type() == nix::sys::statfs::TMPFS_MAGIC)
    }

    /// Where the volume is, or would be.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether there is a file of that name.
    pub async fn exists(&self, name: &str) -> bool {
        tokio::fs::symlink_metadata(self.path(name)).await.is_ok()
    }

    /// Bytes that the volume takes.
    pub async fn allocated(&self, name: &str) -> u64 {
        let found = tokio::fs::symlink_metadata(self.path(name)).await;
        // stat(2): blocks of 512 bytes, whatever the file system's are.
        found.map_or(0, |found| found.blocks().saturating_mul(512))
    }

    /// Makes the volume, with the contents of `image` and zeros behind them; one of that name is replaced.
    pub async fn make(&self, name: &str, size: u64, image: Option<PathBuf>) -> Result<(), VolumeFileError> {
        let name = name.to_owned();
        self.apart(move |files| files.make_now(&name, size, image.as_deref()))
            .await
    }

    /// Work that may block for as long as a pool stands still, on a thread for that.
    async fn apart(
        &self,
        work: impl FnOnce(&Self) -> Result<(), VolumeFileError> + Send + 'static,
    ) -> Result<(), VolumeFileError> {
        let files = self.clone();
        let done = tokio::task::spawn_blocking(move || work(&files)).await;
        done.unwrap_or(Err(VolumeFileError::Interrupted))
    }

    fn make_now(&self, name: &str, size: u64, image: Option<&Path>) -> Result<(), VolumeFileError> {
        let there = space(&self.directory)?;
        if size > there.total {
            return Err(self.full(size)?);
        }
        self.room(0)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.directory.join(format!("{UNFINISHED}{name}-{number}"));
        let path = self.path(name);
        let made = self.fill(&unfinished, size, image).and_then(|()| {
            let rename = || std::fs::rename(&unfinished, &path).and_then(|()| sync_parent(&path));
            Ok(rename().map_err(|e| FileError::new("write", &path, e))?)
        });
        if made.is_err() {
            // It may be there or not; why it was not made is what counts.
            let _ = std::fs::remove_file(&unfinished);
        }
        made
    }

    fn fill(&self, path: &Path, size: u64, image: Option<&Path>) -> Result<(), VolumeFileError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                self.full(PIECE as u64).unwrap_or_else(Into::into)
            }
            _ => FileError::new("write", path, error).into(),
        };
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        file.set_len(size).map_err(failed)?;
        if let Some(image) = image {
            copy(image, &file, || self.room(0), failed)?;
        }
        file.sync_all().map_err(failed)
    }

    /// Makes the volume larger.
    pub async fn grow(&self, name: &str, size: u64) -> Result<(), VolumeFileError> {
        let path = self.path(name);
        self.apart(move |files| files.grow_now(&path, size)).await
    }

    fn grow_now(&self, path: &Path, size: u64) -> Result<(), VolumeFileError> {
        let there = space(&self.directory)?;
        if size > there.total {
            return Err(self.full(size)?);
        }
        let grow = || {
            let file = OpenOptions::new().write(true).open(path)?;
            if file.metadata()?.len() < size {
                file.set_len(size)?;
            }
            file.sync_all()
        };
        Ok(grow().map_err(|e| FileError::new("write", path, e))?)
    }

    /// Removes the volume, where it is there.
    pub async fn remove(&self, name: &str) -> Result<(), VolumeFileError> {
        let path = self.path(name);
        match tokio::fs::remove_file(&path).await {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(FileError::new("remove", &path, e).into()),
            _ => Ok(()),
        }
    }

    /// Whether `bytes` more fit and leave the reserve.
    fn room(&self, bytes: u64) -> Result<(), VolumeFileError> {
        if space(&self.directory)?.free < RESERVE.saturating_add(bytes) {
            return Err(self.full(bytes)?);
        }
        Ok(())
    }

    fn full(&self, wanted: u64) -> Result<VolumeFileError, FileError> {
        let there = space(&self.directory)?;
        Ok(VolumeFileError::Full {
            wanted: wanted >> 20,
            free: there.free >> 20,
            total: there.total >> 20,
        })
    }
}

/// Copies an image to where all is zeros; `room` is asked before each piece, `failed` is what a failed write means.
pub(super) fn copy(
    image: &Path,
    to: &File,
    room: impl Fn() -> Result<(), VolumeFileError>,
    failed: impl Fn(io::Error) -> VolumeFileError,
) -> Result<(), VolumeFileError> {
    let mut from = File::open(image).map_err(|e| FileError::new("open", image, e))?;
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let count = read(&mut from, &mut piece).map_err(|e| FileError::new("read", image, e))?;
        let piece = piece.get(..count).unwrap_or_default();
        if piece.is_empty() {
            return Ok(());
        }
        room()?;
        for block in piece.chunks(BLOCK) {
            if block.iter().any(|byte| *byte != 0) {
                to.write_all_at(block, offset).map_err(&failed)?;
            }
            offset += block.len() as u64;
        }
    }
}

/// Reads until `buffer` is full or the file ends.
fn read(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buffer.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
