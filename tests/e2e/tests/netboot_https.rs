//! `axctl netboot serve` with a certificate: a machine whose firmware trusts the CA gets iPXE by PXE, and by HTTPS all that iPXE
//! loads, to its config; one that trusts another is not booted. The lab's firmware has a TLS too old for HTTPS from the first
//! byte: it offers no key exchange that is still taken. Each test is in a network namespace of its own. Needs root.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_e2e::SOON;
use axion_lab::command::{Program, run};
use axion_lab::deadline::{Poll, poll};
use axion_lab::machine::READY;
use axion_lab::media::signature_list;
use axion_lab::{Firmware, Image, Network, NetworkBoot, Spec, lan, node};

/// MAC address that QEMU gives its first card.
const MAC: &str = "52:54:00:12:34:56";
/// Firmware and iPXE, which compute TLS in emulation.
const LOADED: Duration = Duration::from_secs(400);

/// iPXE wants RSA; what firmware and iPXE check is the address.
const REQUEST: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = Axion lab
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = serverAuth
subjectAltName = IP:10.77.0.1
";

#[test]
fn a_machine_that_trusts_the_ca_boots_by_https_with_a_config_of_its_own() -> Result<()> {
    lan::enter()?;
    let dir = tempfile::tempdir()?;
    let authority = Authority::new(dir.path(), "own")?;
    let spec = machine("netboot-https").https_cas(&authority.list);
    let server = serve(dir.path(), &authority, &spec)?;
    nothing_is_said_in_clear()?;
    let booted = spec.start(&Image::find()?)?;
    for step in [
        "snponly.efi  100 %",
        "boots https://10.77.0.1:8069/boot.ipxe",
        "initramfs.cpio  100 %",
    ] {
        server.log().wait_for(step, LOADED)?;
    }
    booted.log().wait_for(READY, LOADED)?;
    let node = booted.wait_ready()?;
    // The certificate is proved by its digest, which the script told the node.
    server.log().wait_for("config 52-54-00-12-34-56.toml", SOON)?;
    node.poll("the host name of its config", SOON, |node| {
        let hostname = node.call(node.client().host())?.hostname;
        Ok(if hostname == "netboot-https" {
            Poll::Ready(())
        } else {
            Poll::Pending(hostname)
        })
    })?;
    Ok(())
}

#[test]
fn a_machine_that_trusts_another_ca_is_not_booted() -> Result<()> {
    lan::enter()?;
    let dir = tempfile::tempdir()?;
    let (authority, other) = (
        Authority::new(dir.path(), "own")?,
        Authority::new(dir.path(), "other")?,
    );
    let spec = machine("netboot-https-other").https_cas(&other.list);
    let server = serve(dir.path(), &authority, &spec)?;
    let _booted = spec.start(&Image::find()?)?;
    server.log().wait_for("refused: TLS: ", LOADED)?;
    ensure!(
        server.log().wait_for("vmlinuz", Duration::from_secs(20)).is_err(),
        "it was given a file"
    );
    Ok(())
}

fn machine(name: &str) -> Spec {
    let tap = Network::Tap {
        name: lan::TAP,
        address: lan::LENT,
    };
    let spec = Spec::new(name).network(tap);
    spec.boot_from_card(Firmware::Uefi, NetworkBoot::Pxe)
}

/// A CA with a server's certificate.
struct Authority {
    certificate: PathBuf,
    key: PathBuf,
    /// The CA's own, for firmware.
    list: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Result<Self> {
        let at = |what: &str| dir.join(format!("{name}-{what}"));
        let request = at("request.cnf");
        fs::write(&request, REQUEST)?;
        let (ca, ca_key, der) = (at("ca.crt"), at("ca.key"), at("ca.der"));
        let (certificate, key) = (at("server.crt"), at("server.key"));
        let new = |extensions: &str, key: &Path, certificate: &Path| {
            let mut command = Command::new("openssl");
            command
                .args([
                    "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-sha256", "-days", "3650",
                ])
                .args(["-extensions", extensions, "-config"])
                .arg(&request)
                .arg("-keyout")
                .arg(key)
                .arg("-out")
                .arg(certificate);
            command
        };
        succeeds(&mut new("ca", &ca_key, &ca))?;
        let mut signed = new("server", &key, &certificate);
        signed.args(["-subj", "/CN=boot", "-CA"]).arg(&ca);
        succeeds(signed.arg("-CAkey").arg(&ca_key))?;
        let mut convert = Command::new("openssl");
        convert.args(["x509", "-outform", "DER", "-in"]).arg(&ca);
        succeeds(convert.arg("-out").arg(&der))?;
        let list = at("ca.esl");
        fs::write(&list, signature_list(&fs::read(der)?))?;
        Ok(Self {
            certificate,
            key,
            list,
        })
    }
}

fn succeeds(command: &mut Command) -> Result<()> {
    let output = run(command, SOON)?;
    ensure!(output.status.success(), "{command:?}: {}", output.stderr);
    Ok(())
}

/// `axctl netboot serve` with the certificate and a config for the machine, once it serves.
fn serve(dir: &Path, authority: &Authority, spec: &Spec) -> Result<Program> {
    let configs = dir.join("configs");
    fs::create_dir(&configs)?;
    let config = spec.medium_config(&format!("hostname = \"{}\"\n", spec.name));
    fs::write(configs.join(format!("{}.toml", MAC.replace(':', "-"))), config)?;
    let script = Image::find()?.medium("axion.ipxe")?;
    let mut command = node::axctl()?;
    command
        .args(["netboot", "serve"])
        .arg(script.parent().context("the script is in no directory")?)
        .args(["--interface", lan::BRIDGE])
        .args(["--dhcp-range", "10.77.0.50-10.77.0.50", "--configs"])
        .arg(&configs)
        .arg("--tls-cert")
        .arg(&authority.certificate)
        .arg("--tls-key")
        .arg(&authority.key);
    let program = Program::start(&mut command, &dir.join("axctl"))?;
    let said = dir.join("axctl.err");
    poll(
        "the start of the servers",
        SOON,
        Duration::from_millis(50),
        || {
            let text = fs::read_to_string(&said).unwrap_or_default();
            Ok(
                if text.contains("HTTPS port 8069") && text.contains("Ctrl-C ends it.") {
                    Poll::Ready(())
                } else {
                    Poll::Pending(text)
                },
            )
        },
    )?;
    Ok(program)
}

fn nothing_is_said_in_clear() -> Result<()> {
    let mut stream = TcpStream::connect((lan::HERE, 8069))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"GET /boot.ipxe HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    // It is cut off, by whatever end.
    let _ = stream.read_to_end(&mut answer);
    ensure!(
        !answer
            .windows(5)
            .any(|bytes| bytes == b"#!ipx" || bytes == b"HTTP/"),
        "{answer:?}"
    );
    Ok(())
}
