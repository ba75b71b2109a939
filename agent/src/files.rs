//! Files that survive a power cut: written beside their place, synced, renamed over it, the directory synced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// A file or directory that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {}", path.display())]
pub struct FileError {
    verb: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// An error of `verb` on `path`.
    pub fn new(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self {
            verb,
            path: path.to_owned(),
            source,
        }
    }
}

/// What uploads and copies leave free on a file system, bytes.
pub const RESERVE: u64 = 64 << 20;

/// Room on a file system, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// For unprivileged processes.
    pub free: u64,
    /// In all.
    pub total: u64,
}

/// Room on the file system that `directory` is on.
pub fn space(directory: &Path) -> Result<Space, FileError> {
    let stat =
        nix::sys::statvfs::statvfs(directory).map_err(|e| FileError::new("inspect", directory, e.into()))?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.fragment_size());
    Ok(Space {
        free: bytes(stat.blocks_available()),
        total: bytes(stat.blocks()),
    })
}

/// Replaces the file at `path` by `contents` with permission bits `mode`; readers see the old file or the new one.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<(), FileError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    let write = || {
        match fs::remove_file(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_parent(path)
    };
    write().map_err(|e| FileError::new("write", path, e))
}

/// Makes a rename or removal in `path`'s directory last.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    path.parent()
        .map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

/// Makes sure that the directory at `path` exists; a new one gets permission bits `mode`.
pub fn ensure_directory(path: &Path, mode: u32) -> Result<(), FileError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .map_err(|e| FileError::new("create", path, e))
}

/// Contents of a file, `None` where there is none.
pub fn read_optional(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(FileError::new("read", path, e)),
    }
}

/// Removes a file, where there is one, for good.
pub fn remove_optional(path: &Path) -> Result<(), FileError> {
    let remove = || match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(e),
    };
    remove().map_err(|e| FileError::new("remove", path, e))
}
