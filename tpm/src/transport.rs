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
#[derive(Debug)]
pub struct Device(File);

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
        opened.map(Self).map_err(|source| match source.kind() {
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
        self.0.write_all(command)?;
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, timeout)? == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut answer = Zeroizing::new(vec![0; LONGEST_ANSWER]);
        let length = self.0.read(&mut answer)?;
        answer.truncate(length);
        Ok(answer)
    }
}
