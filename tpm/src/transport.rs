//! Commands to the TPM and answers from it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use zeroize::Zeroizing;

use crate::error::TpmError;

/// The kernel's device that gives each opener a TPM of its own: handles are virtual, and are flushed when it is closed.
pub const DEVICE: &str = "/dev/tpmrm0";
/// Longest answer, bytes: TPM_PT_MAX_RESPONSE_SIZE of every TPM that is sold.
pub const LONGEST_ANSWER: usize = 4096;

/// Something that takes a command and gives the TPM's answer.
pub trait Transport: Send {
    /// Sends `command` and waits for its answer until `deadline`.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] where it does not come, or the device's own.
    fn transmit(&mut self, command: &[u8], deadline: Instant) -> io::Result<Zeroizing<Vec<u8>>>;
}

/// The TPM by its device.
///
/// Closing it waits until the TPM has done with its command. One that did not answer in time is closed by a thread of its own.
#[derive(Debug)]
pub struct Device(Option<File>);

impl Device {
    /// Opens it.
    ///
    /// # Errors
    /// [`TpmError::Absent`] where there is none.
    pub fn open(path: &Path) -> Result<Self, TpmError> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            // The kernel then works on a command in the background, and says when its answer is there.
            .custom_flags(nix::libc::O_NONBLOCK | nix::libc::O_CLOEXEC)
            .open(path);
        opened
            .map(|file| Self(Some(file)))
            .map_err(|source| match source.kind() {
                io::ErrorKind::NotFound => TpmError::Absent,
                _ => TpmError::Device {
                    action: "open",
                    source,
                },
            })
    }
}

impl Transport for Device {
    fn transmit(&mut self, command: &[u8], deadline: Instant) -> io::Result<Zeroizing<Vec<u8>>> {
        let silent = || io::Error::from(io::ErrorKind::TimedOut);
        let file = self.0.as_mut().ok_or_else(silent)?;
        file.write_all(command)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout)? == 0 {
            let file = self.0.take();
            // Where no thread can be had, it is closed here.
            let _ = std::thread::Builder::new().spawn(move || drop(file));
            return Err(silent());
        }
        let mut answer = Zeroizing::new(vec![0; LONGEST_ANSWER]);
        let length = file.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}
