//! Who changed what: one JSON line for each mutating call, refused ones included, to stderr and to a bounded file.
//!
//! The file is on the pool that keeps the node's state. A thread of its own writes to it, so that a pool that stands still does not
//! stand in the way of whoever mends it. Of calls without a valid token [`refused`] leaves out most.

pub mod refused;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::events::unix_us;
use crate::files::FileError;

/// The file is set aside (`.1`) when it has grown to this, bytes; the one set aside before is dropped.
const LARGEST: u64 = 4 << 20;
/// Lines that wait to be written.
const QUEUE: usize = 1024;

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
pub struct Audit {
    path: PathBuf,
    work: mpsc::Sender<Work>,
    missed: Arc<AtomicU64>,
}

/// What the thread has to do.
enum Work {
    Write(Vec<u8>),
    /// Say that all before it was written.
    Say(oneshot::Sender<()>),
}

struct Log {
    path: PathBuf,
    file: File,
    size: u64,
}

impl Audit {
    /// Appends to the file at `path`.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |e| FileError::new("open", path, e);
        let log = Log::open(path).map_err(failed)?;
        let (work, todo) = mpsc::channel(QUEUE);
        let missed = Arc::new(AtomicU64::new(0));
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let missing = missed.clone();
        thread.spawn(move || write(log, todo, &missing)).map_err(failed)?;
        Ok(Self {
            path: path.to_owned(),
            work,
            missed,
        })
    }

    /// Waits until all that was recorded is in the file.
    pub async fn written(&self) {
        let (say, said) = oneshot::channel();
        if self.work.send(Work::Say(say)).await.is_ok() {
            // The thread ends with this log.
            let _ = said.await;
        }
    }

    /// The last lines, at most `most` bytes; those of the file that was set aside are not among them.
    pub async fn tail(&self, most: u64) -> io::Result<String> {
        self.written().await;
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || tail(&path, most));
        read.await.map_err(io::Error::other)?
    }

    /// Records a call. It waits for nothing: a line for which there is no room is in the node's log alone.
    pub fn record(&self, call: &Call<'_>) {
        let who = call.who.as_deref().unwrap_or("nobody");
        tracing::info!(
            "audit: {who} from {}: {} {} -> {}",
            call.peer,
            call.method,
            call.target,
            call.status
        );
        let line = serde_json::to_vec(&Line {
            unix_us: unix_us(),
            call,
        });
        let queued = line
            .ok()
            .and_then(|line| self.work.try_send(Work::Write(line)).ok());
        if queued.is_none() {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The thread.
fn write(mut log: Log, mut todo: mpsc::Receiver<Work>, missed: &AtomicU64) {
    while let Some(work) = todo.blocking_recv() {
        match work {
            Work::Write(line) => {
                if let Err(error) = log.append(line) {
                    tracing::error!("cannot write {}: {error}", log.path.display());
                }
            }
            Work::Say(say) => {
                // Nobody may wait any more.
                let _ = say.send(());
            }
        }
        let missed = missed.swap(0, Ordering::Relaxed);
        if missed > 0 {
            tracing::error!(
                "{missed} calls are not in {}, which took too long to write; they are above in this log",
                log.path.display()
            );
        }
    }
}

fn tail(path: &Path, most: u64) -> io::Result<String> {
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

    fn append(&mut self, mut text: Vec<u8>) -> io::Result<()> {
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
