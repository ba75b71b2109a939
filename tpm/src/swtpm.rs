//! The commands against a TPM in software (Debian's swtpm, by its Unix socket): what it refuses, no script of ours would.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::poll;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::{Pcrs, Sealed, Tpm, TpmError, Transport, extended};

const SECRET: &[u8] = b"a recovery passphrase";

/// A TPM with a state of its own.
struct Swtpm {
    state: TempDir,
    child: Child,
}

impl Swtpm {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let child = start(state.path());
        Self { state, child }
    }

    /// Off and on again: registers are as they were at its start, its seeds stay.
    fn restart(&mut self) {
        self.stop();
        self.child = start(self.state.path());
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn tpm(&self) -> Tpm {
        let deadline = Instant::now() + Duration::from_secs(20);
        let stream = loop {
            match UnixStream::connect(self.state.path().join("tpm")) {
                Ok(stream) => break stream,
                Err(_) if Instant::now() < deadline => {
                    poll(&mut [], 20_u8).unwrap();
                }
                Err(error) => panic!("swtpm does not listen: {error}"),
            }
        };
        Tpm::new(Box::new(Socket(stream)), Duration::from_secs(30))
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}

fn start(state: &Path) -> Child {
    let _ = std::fs::remove_file(state.join("tpm"));
    Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .arg("--tpmstate")
        .arg(format!("dir={}", state.display()))
        .arg("--server")
        .arg(format!("type=unixio,path={}", state.join("tpm").display()))
        .stdout(Stdio::null())
        .spawn()
        .expect("swtpm is a Debian package that `cargo xtask setup` installs")
}

/// A stream of commands and answers, each with its length in its header.
struct Socket(UnixStream);

impl Transport for Socket {
    fn transmit(&mut self, command: &[u8], deadline: Instant) -> io::Result<Zeroizing<Vec<u8>>> {
        self.0.set_read_timeout(Some(deadline - Instant::now()))?;
        self.0.write_all(command)?;
        let mut answer = Zeroizing::new(vec![0; 10]);
        self.0.read_exact(&mut answer)?;
        let length = u32::from_be_bytes(answer[2..6].try_into().unwrap());
        answer.resize(usize::try_from(length).unwrap(), 0);
        self.0.read_exact(&mut answer[10..])?;
        Ok(answer)
    }
}

fn pcrs(pcrs: &[u8]) -> Pcrs {
    pcrs.iter().copied().collect()
}

#[test]
fn a_tpm_measures_and_keeps_a_secret_while_its_registers_are_as_they_were() {
    let mut swtpm = Swtpm::new();
    let (sealed, bare) = {
        let mut tpm = swtpm.tpm();
        let identity = tpm.identity().unwrap();
        assert_eq!(identity.manufacturer, "IBM");

        let all = tpm.read(Pcrs::ALL).unwrap();
        assert_eq!(all.len(), 24);
        assert_eq!(all[15], [0; 32]);
        tpm.measure(15, b"axion-profile:00").unwrap();
        let value = tpm.read(pcrs(&[15])).unwrap()[0];
        assert_eq!(value, extended(&[0; 32], b"axion-profile:00"));

        let sealed = tpm.seal(SECRET, pcrs(&[7, 11, 15])).unwrap();
        assert_eq!(tpm.unseal(&sealed).unwrap().as_slice(), SECRET);
        // Handles are given back: a TPM has room for three objects.
        for _ in 0..4 {
            assert_eq!(tpm.unseal(&sealed).unwrap().as_slice(), SECRET);
        }
        let longest = [7; 128];
        let bare = tpm.seal(&longest, pcrs(&[7])).unwrap();
        assert_eq!(tpm.unseal(&bare).unwrap().as_slice(), longest);

        tpm.measure(15, b"something else").unwrap();
        let error = tpm.unseal(&sealed).unwrap_err();
        assert!(
            matches!(&error, TpmError::Changed { changed } if *changed == [15]),
            "{error}"
        );
        (sealed, bare)
    };

    swtpm.restart();
    let mut tpm = swtpm.tpm();
    assert!(tpm.unseal(&sealed).unwrap_err().is_drift());
    assert_eq!(tpm.unseal(&bare).unwrap().len(), 128);
    tpm.measure(15, b"axion-profile:00").unwrap();
    assert_eq!(tpm.unseal(&sealed).unwrap().as_slice(), SECRET);

    let other = Swtpm::new();
    let error = other.tpm().unseal(&bare).unwrap_err();
    assert!(error.to_string().contains("not this TPM's"), "{error}");
}

#[test]
fn the_tpm_itself_refuses_registers_that_changed() {
    let swtpm = Swtpm::new();
    let mut tpm = swtpm.tpm();
    let sealed = tpm.seal(SECRET, pcrs(&[16])).unwrap();
    tpm.measure(16, b"drift").unwrap();
    let now = tpm.read(pcrs(&[16])).unwrap();
    // As somebody would who has the sealed secret and puts what he likes beside it.
    let text = serde_json::to_string(&sealed).unwrap();
    let then = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let then = then["values"][0].as_str().unwrap().to_owned();
    let zero = tpm.seal(SECRET, pcrs(&[16])).unwrap();
    let forged = serde_json::to_value(&zero).unwrap()["values"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let forged: Sealed = serde_json::from_str(&text.replace(&then, &forged)).unwrap();
    assert!(forged.changed(&now).is_empty());
    let error = tpm.unseal(&forged).unwrap_err();
    assert!(
        matches!(&error, TpmError::Changed { changed } if *changed == [16]),
        "{error}"
    );
}
