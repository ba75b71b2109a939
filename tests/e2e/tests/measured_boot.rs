//! What UEFI starts is measured by systemd-stub into PCR 11, and who signs images vouches for it: an update finds the state that
//! the version before has sealed, with nobody at the keyboard. An image that nobody vouches for does not.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::client::Precondition;
use axion_api::keys::HostTpm;
use axion_api::update::SlotState;
use axion_api::volume::VolumeSpec;
use axion_e2e::installed::{Signer, VERSION, as_version, disk_of, start};
use axion_install::uki::measured;
use axion_lab::deadline::Poll;
use axion_lab::machine::READY;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Image, Node, Spec, Token};
use axion_tpm::Pcrs;
use axion_tpm::policy::{Signer as Voucher, signatures};

/// A boot in emulation by UEFI, with a second kernel, and a guest that shows that guests start.
const BOOT: Duration = Duration::from_secs(240);
const POOL_MIB: u64 = 512;
const CONFIG: &str = "hostname = \"measured\"\n[profile]\nmode = \"hpc\"\n[storage]\nsettle = \"5s\"\n\
                      [storage.encryption]\nkey = \"tpm\"\n[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\n\
                      disks = [\"serial:axion-0\"]\n";
const NEXT: &str = "0.1.9";
const UNKNOWN: &str = "0.2.0";

#[test]
fn an_update_that_is_vouched_for_finds_the_state_and_another_does_not() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let signer = Signer::new()?;
    let image = fs::read(Image::find()?.signed_medium("axion.efi")?)?;
    let next = vouched(as_version(&image, NEXT)?, dir)?;
    let unknown = as_version(&image, UNKNOWN)?;
    let (pool, tpm) = (dir.join("pool"), dir.join("tpm"));
    File::create(&pool)?.set_len(POOL_MIB << 20)?;
    let spec = Spec::new("measured-boot")
        .cpus(4, 1)
        .tpm(&tpm)
        .token(Token::random())
        .disk(DiskBus::Nvme, DiskContent::File(pool));
    let config = spec.medium_config(&format!("{}{CONFIG}", signer.config()));
    let disk = disk_of(dir, &config, &image, VERSION)?;

    let machine = start(spec, &disk)?;
    machine.log().wait_for("starting the kernel again", BOOT)?;
    let node = machine.wait_ready()?;
    machine.log().wait_for("has a recovery passphrase", BOOT)?;
    is_sealed_to_whoever_vouches(&node, &image)?;
    let shown = node.axctl(&["tpm", "show"])?;
    ensure!(
        shown.contains("7, 11 signed") && shown.contains("gives it"),
        "{shown}"
    );
    let volume = VolumeSpec::of("8MiB".parse().map_err(anyhow::Error::msg)?);
    node.call(node.client().put_volume("kept", &volume, Precondition::Absent))?;
    let fingerprint = node.fingerprint();

    let seen = machine.log().wait_for(READY, BOOT)?;
    let file = signer.write(dir, "axion.efi", &next)?;
    node.axctl(&["update", "stage", &file.to_string_lossy(), "--reboot"])?;
    machine
        .log()
        .wait_for_after(&seen, "slot b runs, Axion 0.1.9, on trial", BOOT)?;
    let node = machine.wait_ready_after(&seen)?;
    ensure!(
        node.fingerprint() == fingerprint,
        "the agent made itself another CA"
    );
    is_sealed_to_whoever_vouches(&node, &next)?;
    node.call(node.client().volume("kept"))?;
    node.poll("slot b confirmed", BOOT, |node| {
        let status = node.call(node.client().update())?;
        Ok(match status.slot("b").map(|slot| slot.state) {
            Some(SlotState::Confirmed) => Poll::Ready(()),
            other => Poll::Pending(format!("{other:?}")),
        })
    })?;

    let seen = machine.log().wait_for_after(&seen, READY, BOOT)?;
    let file = signer.write(dir, "unknown.efi", &unknown)?;
    node.axctl(&["update", "stage", &file.to_string_lossy(), "--reboot"])?;
    machine.log().wait_for_after(
        &seen,
        "state locked: PCR 11 changed since the key was sealed",
        BOOT,
    )?;
    Ok(())
}

/// PCR 11 is what the image says that it will be, and the state's key is bound to who says so.
fn is_sealed_to_whoever_vouches(node: &Node, image: &[u8]) -> Result<()> {
    let host = node.call(node.client().host())?;
    ensure!(host.persistent_state && host.state_lock.is_none(), "{host:?}");
    let tpm: HostTpm = node.call(node.client().tpm())?;
    let register = tpm.pcrs.iter().find(|register| register.pcr == 11);
    let register = &register.context("PCR 11 is not told")?.sha256;
    ensure!(
        *register == hex::encode(measured(image)?),
        "the stub has measured something else: {tpm:?}"
    );
    let key = tpm.keys.first().context("no key is sealed")?;
    ensure!(
        key.pcrs == [7] && key.signed_pcrs == [11] && key.changed.is_empty() && key.unlocked,
        "{key:?}"
    );
    Ok(())
}

/// The image with a signature of what it is now, by the key that has vouched for what it was.
fn vouched(mut image: Vec<u8>, dir: &Path) -> Result<Vec<u8>> {
    let keys = Image::find()?.kernel().with_file_name("secure-boot-keys");
    let voucher = Voucher::from_pem(&fs::read_to_string(keys.join("pcr.pub"))?)?;
    let pcrs: Pcrs = [11].into_iter().collect();
    let policy = pcrs.policy(&[measured(&image)?]);
    let (of, signature) = (dir.join("policy"), dir.join("policy.sig"));
    fs::write(&of, policy)?;
    let mut openssl = Command::new("openssl");
    openssl
        .args(["dgst", "-sha256", "-sign"])
        .arg(keys.join("pcr.key"));
    let status = openssl.arg("-out").arg(&signature).arg(&of).status()?;
    ensure!(status.success(), "openssl: {status}");
    let text = signatures(&voucher, pcrs, &policy, &fs::read(&signature)?);
    let begin = b"{\"sha256\":[{\"pcrs\":[11]";
    let at = image.windows(begin.len()).position(|part| part == begin);
    let at = at.context("the media's image has no signature of what is measured")?;
    let place = image.get_mut(at..at + text.len()).context("it is cut off")?;
    place.copy_from_slice(text.as_bytes());
    Ok(image)
}
