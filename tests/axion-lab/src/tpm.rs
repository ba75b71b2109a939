//! A TPM 2.0 in software (Debian package swtpm) beside a machine. Its seeds lie in a directory that outlives the machine, so that
//! the next one with that directory has the same TPM.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::deadline::{self, Poll};
use crate::{Error, Result};

/// It listens well within a second.
const START: Duration = Duration::from_secs(20);

/// A TPM that runs; it ends with QEMU's connection, or when it is dropped.
#[derive(Debug)]
pub struct SoftwareTpm(Child);

impl SoftwareTpm {
    /// Starts it with its state in `state`; QEMU talks to it on `socket`.
    ///
    /// # Errors
    /// There is no swtpm, or it does not listen.
    pub fn start(state: &Path, socket: &Path) -> Result<Self> {
        std::fs::create_dir_all(state).map_err(Error::io("make", state))?;
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--terminate", "--tpmstate"])
            .arg(format!("dir={}", state.display()))
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(Error::io("start (Debian package swtpm)", "swtpm"))?;
        let tpm = Self(child);
        deadline::poll("swtpm's socket", START, Duration::from_millis(10), || {
            Ok(if socket.exists() {
                Poll::Ready(())
            } else {
                Poll::Pending("it is not there".to_owned())
            })
        })?;
        Ok(tpm)
    }
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
