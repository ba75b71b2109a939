//! Who changed what: one JSON line for each mutating call, refused ones included, to stderr and to a bounded file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::events::unix_us;
use crate::files::FileError;

/// The file is set aside (`.1`) when it has grown to this, bytes; the one set aside before is dropped.
const LARGEST: u64 = 4 << 20;

/// One call.
#[derive(Debug, Serialize)]
pub struct Call<'a> {
    /// Who, where it is known.
    pub who: Option<String>,
    /// Where from.
    pub peer: String,
    /// HTTP method.
    pub method: &'a str,
    /// Path and query.
    pub target: &'a str,
    /// HTTP status of the answer.
    pub status: u16,
}

#[derive(Serialize)]
struct Line<'a> {
    unix_us: u64,
    #[serde(flatten)]
    call: &'a Call<'a>,
}

/// The audit log.
pub struct Audit(Mutex<Log>);

struct Log {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Audit {
    /// Appends to the file at `path`.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let log = Log::open(path).map_err(|e| FileError::new("open", path, e))?;
        Ok(Self(Mutex::new(log)))
    }

    /// The last lines, at most `most` bytes; those of the file that was set aside are not among them.
    pub fn tail(&self, most: u64) -> io::Result<String> {
        let path = {
            let log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            log.path.clone()
        };
        let mut file = File::open(path)?;
        let from = file.metadata()?.len().saturating_sub(most);
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.take(most).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let whole = match text.split_once('\n') {
            Some((_, rest)) if from > 0 => rest.to_owned(),
            _ => text,
        };
        Ok(whole)
    }

    /// Records a call.
    pub fn record(&self, call: &Call<'_>) {
        let who = call.who.as_deref().unwrap_or("nobody");
        tracing::info!(
            "audit: {who} from {}: {} {} -> {}",
            call.peer,
            call.method,
            call.target,
            call.status
        );
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = log.append(&Line {
            unix_us: unix_us(),
            call,
        }) {
            tracing::error!("cannot write {}: {error}", log.path.display());
        }
    }
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        let size = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            size,
        })
    }

    fn append(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        if self.size + text.len() as u64 > LARGEST {
            let mut aside = self.path.clone().into_os_string();
            aside.push(".1");
            std::fs::rename(&self.path, aside)?;
            *self = Self::open(&self.path.clone())?;
        }
        self.file.write_all(&text)?;
        self.size += text.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
