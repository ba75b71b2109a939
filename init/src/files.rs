//! Small files and directories with an owner and a mode.

use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// A file or directory that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct FileError {
    action: &'static str,
    path: String,
    source: std::io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> FileError {
    let path = path.display().to_string();
    move |source| FileError { action, path, source }
}

/// Who owns a file, and its mode bits.
#[derive(Debug, Clone, Copy)]
pub struct Access {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Owned by root, readable by everyone.
pub const PUBLIC: Access = Access {
    uid: 0,
    gid: 0,
    mode: 0o644,
};

/// Makes `path` with its parents; an existing directory gets the owner and the mode as well.
///
/// # Errors
/// The system refuses.
pub fn directory(path: &Path, access: Access) -> Result<(), FileError> {
    std::fs::create_dir_all(path).map_err(failed("make the directory", path))?;
    set_access(path, access)
}

/// Gives `path` its owner, then its mode (in this order: a change of owner clears set-id bits).
///
/// # Errors
/// The system refuses.
pub fn set_access(path: &Path, access: Access) -> Result<(), FileError> {
    std::os::unix::fs::chown(path, Some(access.uid), Some(access.gid))
        .map_err(failed("change the owner of", path))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(access.mode))
        .map_err(failed("change the mode of", path))
}

/// Writes a new file; nobody else can open it before it is theirs.
///
/// # Errors
/// The file exists, or the system refuses.
pub fn create(path: &Path, contents: &[u8], access: Access) -> Result<(), FileError> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed("create", path))?;
    file.write_all(contents).map_err(failed("write", path))?;
    set_access(path, access)
}

/// Puts `contents` in the place of the file `path` at once: a reader sees the old text or the new one.
///
/// # Errors
/// The system refuses.
pub fn replace(path: &Path, contents: &[u8], access: Access) -> Result<(), FileError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let new = Path::new(&name);
    // A left-over of a write that was cut short.
    let _ = std::fs::remove_file(new);
    create(new, contents, access)?;
    std::fs::rename(new, path).map_err(failed("replace", path))
}

/// The same for what must survive a power cut once this comes back.
///
/// # Errors
/// The system refuses.
pub fn keep(path: &Path, contents: &[u8], access: Access) -> Result<(), FileError> {
    replace(path, contents, access)?;
    let flush = |path: &Path| std::fs::File::open(path).and_then(|file| file.sync_all());
    flush(path).map_err(failed("flush", path))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    flush(directory).map_err(failed("flush", directory))
}

/// Writes to a kernel file that exists (`/proc/sys`, `/sys`).
///
/// # Errors
/// The kernel refuses the value, or there is no such file.
pub fn set(path: &Path, value: &str) -> Result<(), FileError> {
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(failed("open", path))?;
    file.write_all(value.as_bytes()).map_err(failed("write to", path))
}
