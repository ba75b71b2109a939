//! The commands against a TPM in software (Debian's swtpm, by its Unix socket): what it refuses, no script of ours would.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::poll;
use tempfile::TempDir;
use zeroize::Zeroizing;

use crate::policy::signatures;
use crate::{Pcrs, Sealed, SignedPolicy, Signer, Tpm, TpmError, Transport, extended};

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

        let sealed = tpm.seal(SECRET, pcrs(&[7, 11, 15]), None).unwrap();
        assert_eq!(tpm.unseal(&sealed, None).unwrap().as_slice(), SECRET);
        // Handles are given back: a TPM has room for three objects.
        for _ in 0..4 {
            assert_eq!(tpm.unseal(&sealed, None).unwrap().as_slice(), SECRET);
        }
        let longest = [7; 128];
        let bare = tpm.seal(&longest, pcrs(&[7]), None).unwrap();
        assert_eq!(tpm.unseal(&bare, None).unwrap().as_slice(), longest);

        tpm.measure(15, b"something else").unwrap();
        let error = tpm.unseal(&sealed, None).unwrap_err();
        assert!(
            matches!(&error, TpmError::Changed { changed } if *changed == [15]),
            "{error}"
        );
        (sealed, bare)
    };

    swtpm.restart();
    let mut tpm = swtpm.tpm();
    assert!(tpm.unseal(&sealed, None).unwrap_err().is_drift());
    assert_eq!(tpm.unseal(&bare, None).unwrap().len(), 128);
    tpm.measure(15, b"axion-profile:00").unwrap();
    assert_eq!(tpm.unseal(&sealed, None).unwrap().as_slice(), SECRET);

    let other = Swtpm::new();
    let error = other.tpm().unseal(&bare, None).unwrap_err();
    assert!(error.to_string().contains("not this TPM's"), "{error}");
}

#[test]
fn the_tpm_itself_refuses_registers_that_changed() {
    let swtpm = Swtpm::new();
    let mut tpm = swtpm.tpm();
    let sealed = tpm.seal(SECRET, pcrs(&[16]), None).unwrap();
    tpm.measure(16, b"drift").unwrap();
    let now = tpm.values(pcrs(&[16])).unwrap();
    // As somebody would who has the sealed secret and puts what he likes beside it.
    let text = serde_json::to_string(&sealed).unwrap();
    let then = serde_json::from_str::<serde_json::Value>(&text).unwrap();
    let then = then["values"][0].as_str().unwrap().to_owned();
    let zero = tpm.seal(SECRET, pcrs(&[16]), None).unwrap();
    let forged = serde_json::to_value(&zero).unwrap()["values"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let forged: Sealed = serde_json::from_str(&text.replace(&then, &forged)).unwrap();
    assert!(forged.changed(&now, None).is_empty());
    let error = tpm.unseal(&forged, None).unwrap_err();
    assert!(
        matches!(&error, TpmError::Changed { changed } if *changed == [16]),
        "{error}"
    );
}

/// Someone who vouches for registers: openssl's key.
struct Voucher {
    dir: TempDir,
}

impl Voucher {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let voucher = Self { dir };
        voucher.openssl(&["genrsa", "-out", "key", "2048"]);
        voucher.openssl(&["pkey", "-in", "key", "-pubout", "-out", "pub"]);
        voucher
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut openssl = Command::new("openssl");
        openssl
            .current_dir(&self.dir)
            .args(arguments)
            .stderr(Stdio::null());
        assert!(openssl.status().unwrap().success(), "{arguments:?}");
    }

    /// What an image brings that sets PCR 16 to `value`.
    fn vouch(&self, value: [u8; 32]) -> SignedPolicy {
        let path = |name| self.dir.path().join(name);
        let policy = pcrs(&[16]).policy(&[value]);
        std::fs::write(path("policy"), policy).unwrap();
        self.openssl(&["dgst", "-sha256", "-sign", "key", "-out", "signature", "policy"]);
        let pem = std::fs::read_to_string(path("pub")).unwrap();
        let signer = Signer::from_pem(&pem).unwrap();
        let signature = std::fs::read(path("signature")).unwrap();
        SignedPolicy::parse(&pem, &signatures(&signer, pcrs(&[16]), &policy, &signature)).unwrap()
    }
}

#[test]
fn who_is_vouched_for_gets_the_secret_whatever_was_measured() {
    let mut swtpm = Swtpm::new();
    let (owner, stranger) = (Voucher::new(), Voucher::new());
    let value = |event: &[u8]| extended(&[0; 32], event);
    let first = owner.vouch(value(b"image 1"));
    let second = owner.vouch(value(b"image 2"));
    let (sealed, only) = {
        let mut tpm = swtpm.tpm();
        tpm.measure(16, b"image 1").unwrap();
        let sealed = tpm.seal(SECRET, pcrs(&[7, 16]), Some(&first)).unwrap();
        assert_eq!(Vec::from(sealed.pcrs), [7]);
        assert_eq!(Vec::from(sealed.signed_registers()), [16]);
        for _ in 0..4 {
            assert_eq!(tpm.unseal(&sealed, Some(&first)).unwrap().as_slice(), SECRET);
        }
        let only = tpm.seal(SECRET, pcrs(&[16]), Some(&first)).unwrap();
        assert_eq!(tpm.unseal(&only, Some(&first)).unwrap().as_slice(), SECRET);
        // Of another image, the secret is bound to what is measured.
        let plain = tpm.seal(SECRET, pcrs(&[16]), Some(&second)).unwrap();
        assert!(plain.signed_registers().is_empty());
        (sealed, only)
    };

    swtpm.restart();
    let mut tpm = swtpm.tpm();
    tpm.measure(16, b"image 2").unwrap();
    for sealed in [&sealed, &only] {
        assert_eq!(tpm.unseal(sealed, Some(&second)).unwrap().as_slice(), SECRET);
    }
    let strange = stranger.vouch(value(b"image 2"));
    for image in [None, Some(&first), Some(&strange)] {
        let error = tpm.unseal(&sealed, image).unwrap_err();
        assert_eq!(error.to_string(), "PCR 16 changed since the key was sealed");
    }
}

#[test]
fn the_tpm_itself_refuses_what_nobody_signed() {
    let swtpm = Swtpm::new();
    let (owner, stranger) = (Voucher::new(), Voucher::new());
    let mut tpm = swtpm.tpm();
    let good = owner.vouch([0; 32]);
    let sealed = tpm.seal(SECRET, pcrs(&[16]), Some(&good)).unwrap();
    tpm.measure(16, b"somebody else").unwrap();
    let now = tpm.read(pcrs(&[16])).unwrap()[0];
    // Somebody who writes the owner's name beside a signature of his own.
    let (theirs, right) = (stranger.vouch(now), owner.vouch(now));
    let forged = right.with_signatures_of(&theirs);
    let error = tpm.unseal(&sealed, Some(&forged)).unwrap_err();
    assert!(error.to_string().contains("TPM_RC_SIGNATURE"), "{error}");
    assert_eq!(tpm.unseal(&sealed, Some(&right)).unwrap().as_slice(), SECRET);
    // And nothing is sealed to it.
    let plain = tpm.seal(SECRET, pcrs(&[16]), Some(&forged)).unwrap();
    assert!(plain.signed_registers().is_empty());
}
