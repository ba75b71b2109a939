//! A VMM at work, seen from outside: what its guest prints and when, and how much memory it takes.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::vmm::Vmm;
use crate::{GUEST_MIB, Job};

/// How often a console socket is tried that is not there yet.
const RETRY: Duration = Duration::from_micros(200);
/// A writable mapping of at least so many bytes is the guest's memory: a part of it where it is mapped in parts.
const GUEST_PART: u64 = (GUEST_MIB << 20) / 4;

/// A VMM process; it is killed when this is dropped.
pub struct Run {
    child: Child,
    started: Instant,
    console: Receiver<(Instant, Vec<u8>)>,
    text: String,
    errors: PathBuf,
}

impl Run {
    /// Starts `vmm` for `job` with its files in the new directory `dir`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(vmm: Vmm, job: Job, dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let mut command = vmm.command(job, dir)?;
        let errors = dir.join("errors.log");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?);
        let socket = vmm.console(dir);
        let started = Instant::now();
        let mut child = command
            .spawn()
            .with_context(|| format!("starting {}", vmm.name()))?;
        let (sender, console) = mpsc::channel();
        match socket {
            Some(socket) => drop(thread::spawn(move || follow(connect(&socket), &sender))),
            None => {
                let output = child.stdout.take();
                drop(thread::spawn(move || follow(output, &sender)));
            }
        }
        Ok(Self {
            child,
            started,
            console,
            text: String::new(),
            errors,
        })
    }

    /// Waits until the guest has printed `text`; returns the time from the start to then.
    ///
    /// # Errors
    /// It does not `within` that time, or the process ends.
    pub fn wait_for(&mut self, text: &str, within: Duration) -> Result<Duration> {
        let end = self.started + within;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.console.recv_timeout(left) {
                Ok((at, bytes)) => {
                    self.text.push_str(&String::from_utf8_lossy(&bytes));
                    if self.text.contains(text) {
                        return Ok(at - self.started);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("no {text:?} in {within:?}; {}", self.last_words()),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(anyhow!("it ended without {text:?}; {}", self.last_words()));
                }
            }
        }
    }

    /// What the guest has printed so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The ends of what guest and process have printed.
    fn last_words(&self) -> String {
        let errors = fs::read_to_string(&self.errors).unwrap_or_default();
        let end = |text: &str| {
            let skip = text.chars().count().saturating_sub(400);
            text.chars().skip(skip).collect::<String>()
        };
        format!("console: {:?}; errors: {:?}", end(&self.text), end(&errors))
    }

    /// Its resident memory without the guest's.
    ///
    /// # Errors
    /// The process is gone.
    pub fn overhead(&self) -> Result<Overhead> {
        let file = format!("/proc/{}/smaps", self.child.id());
        let text = fs::read_to_string(&file).with_context(|| format!("reading {file}"))?;
        Ok(overhead(&text))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Resident memory of a process without its guest's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Overhead {
    /// Bytes.
    pub resident: u64,
    /// Of those the bytes that no file backs.
    pub anonymous: u64,
}

/// From the text of `/proc/PID/smaps`.
pub fn overhead(smaps: &str) -> Overhead {
    let mut sum = Overhead::default();
    let (mut writable, mut guest) = (false, false);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(value)) = (words.next(), words.next()) else {
            continue;
        };
        let Some(field) = name.strip_suffix(':') else {
            // The first line of a mapping: addresses, then permissions.
            writable = value.contains('w');
            continue;
        };
        let bytes = value.parse::<u64>().unwrap_or(0) << 10;
        match field {
            "Size" => guest = writable && bytes >= GUEST_PART,
            "Rss" if !guest => sum.resident += bytes,
            "Anonymous" if !guest => sum.anonymous += bytes,
            _ => {}
        }
    }
    sum
}

/// The socket, once somebody listens; none when nobody does for a minute.
fn connect(path: &Path) -> Option<UnixStream> {
    let end = Instant::now() + Duration::from_secs(60);
    while Instant::now() < end {
        if let Ok(stream) = UnixStream::connect(path) {
            return Some(stream);
        }
        rest(RETRY);
    }
    None
}

/// Does nothing for that time, for what no event tells of.
#[allow(
    clippy::disallowed_methods,
    reason = "a measurement must not disturb what it waits for"
)]
pub fn rest(time: Duration) {
    thread::sleep(time);
}

fn follow(stream: Option<impl Read>, sender: &Sender<(Instant, Vec<u8>)>) {
    let Some(mut stream) = stream else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap_or_default().to_vec();
        if sender.send((Instant::now(), bytes)).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
