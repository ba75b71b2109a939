//! Readiness as services tell it (sd_notify(3)): datagrams to a socket that only the service's user may write to.

use std::path::{Path, PathBuf};

use tokio::net::UnixDatagram;

use crate::files::{self, Access, FileError};

const DIRECTORY: &str = "/run/axion/notify";

/// A notification socket that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NotifyError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The socket.
    #[error("cannot listen on {path}")]
    Bind {
        /// Path.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

/// Where the service of the unit `name` finds its socket.
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Makes the socket of the unit `name` for its user.
///
/// # Errors
/// The system refuses.
pub fn listen(name: &str, uid: u32) -> Result<UnixDatagram, NotifyError> {
    files::directory(
        Path::new(DIRECTORY),
        Access {
            uid: 0,
            gid: 0,
            mode: 0o755,
        },
    )?;
    let path = path(name);
    let _ = std::fs::remove_file(&path);
    let socket = UnixDatagram::bind(&path).map_err(|source| NotifyError::Bind {
        path: path.display().to_string(),
        source,
    })?;
    files::set_access(
        &path,
        Access {
            uid,
            gid: 0,
            mode: 0o600,
        },
    )?;
    Ok(socket)
}

/// Waits until the service says that it is ready.
///
/// # Errors
/// The socket fails.
pub async fn ready(socket: &UnixDatagram) -> std::io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if is_ready(buffer.get(..length).unwrap_or_default()) {
            return Ok(());
        }
    }
}

fn is_ready(message: &[u8]) -> bool {
    message.split(|b| *b == b'\n').any(|line| line == b"READY=1")
}

#[cfg(test)]
mod tests;
