//! A TPM: the boot profile is measured into it once, it unlocks the node's encrypted state by itself, and where it does not, the
//! node comes up all the same, says why, and takes the recovery passphrase from afar or from its console.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use axion_api::client::Precondition;
use axion_api::host::PowerAction;
use axion_api::keys::{HostTpm, PROFILE_PCR, Recovery};
use axion_api::volume::VolumeSpec;
use axion_e2e::{SOON, boot};
use axion_lab::deadline::{Poll, poll};
use axion_lab::machine::READY;
use axion_lab::screen::key;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Image, Machine, Node, Spec, Token};
use axion_tpm::extended;

const UUID: &str = "2f1c6a1e-7d54-4a0b-9b1f-6f0d2c3b4a59";
const STORAGE: &str = "[storage]\nsettle = \"5s\"\n[storage.encryption]\nkey = \"tpm\"\npcrs = [7, 11, 15]\n\
                       [[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"serial:axion-0\"]\n";
/// Another profile, one that costs a second kernel.
const HPC: &str = "[profile]\nmode = \"hpc\"\n";
const DISK: u64 = 512 << 20;

fn machine(name: &str, token: &Token, disk: &Path, profile: &str) -> Spec {
    Spec::new(name)
        .uuid(UUID)
        .cpus(4, 1)
        .token(token.clone())
        .disk(DiskBus::Nvme, DiskContent::File(disk.to_owned()))
        .config_with_token(&format!("{STORAGE}{profile}"))
}

#[test]
fn a_tpm_unlocks_the_state_and_its_absence_or_drift_stops_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let (tpm, disk) = (directory.path().join("tpm"), directory.path().join("disk"));
    File::create(&disk)?.set_len(DISK)?;
    let token = Token::random();

    let spec = machine("tpm", &token, &disk, "").tpm(&tpm);
    let (machine_1, node) = boot(spec)?;
    machine_1.log().wait_for("has a recovery passphrase", SOON)?;
    state_is_encrypted_on_the_pool(&node)?;
    the_profile_is_measured_once(&node)?;
    let recovery = the_recovery_passphrase_is_shown_once(&machine_1, &node)?;
    ensure!(
        !machine_1.log().text().contains(&recovery),
        "the log has the passphrase"
    );
    let spec = VolumeSpec::of("8MiB".parse().map_err(anyhow::Error::msg)?);
    node.call(node.client().put_volume("kept", &spec, Precondition::Absent))?;
    let (ready, fingerprint) = (machine_1.log().wait_for(READY, SOON)?, node.fingerprint());

    node.call(node.client().power(PowerAction::Reboot))?;
    let node = machine_1.wait_ready_after(&ready)?;
    state_is_encrypted_on_the_pool(&node)?;
    the_profile_is_measured_once(&node)?;
    ensure!(
        node.fingerprint() == fingerprint,
        "the agent made itself another CA"
    );
    node.call(node.client().volume("kept"))?;
    power_off(&machine_1, &node)?;
    drop(machine_1);

    let passphrase = directory.path().join("passphrase");
    std::fs::write(&passphrase, format!("{}\n", recovery.to_uppercase()))?;
    let archives = directory.path().join("initramfs.cpio");
    let image = Image::find()?;
    let whole = [std::fs::read(image.initramfs())?, std::fs::read(image.kexec()?)?].concat();
    std::fs::write(&archives, whole)?;
    let spec = machine("tpm-drift", &token, &disk, HPC).tpm(&tpm);
    let (drifted, node) = boot(spec.initramfs(&archives))?;
    drifted.log().wait_for("starting the kernel again", SOON)?;
    drifted
        .log()
        .wait_for("state locked: PCR 15 changed since the key was sealed", SOON)?;
    the_profile_is_measured_once(&node)?;
    let host = node.call(node.client().host())?;
    ensure!(!host.persistent_state && host.state_lock.is_some(), "{host:?}");
    a_wrong_passphrase_is_refused(&node, directory.path())?;
    let file = passphrase.display().to_string();
    node.axctl(&["pool", "unlock", "--passphrase-file", &file])?;
    let node = with_its_state(&drifted, &token, fingerprint)?;
    node.call(node.client().volume("kept"))?;
    let told = node.call(node.client().tpm())?;
    let sealed = told.keys.first().context("no key is sealed")?;
    ensure!(sealed.changed.is_empty() && sealed.unlocked, "{sealed:?}");
    power_off(&drifted, &node)?;
    drop(drifted);

    let (without, node) = boot(machine("tpm-absent", &token, &disk, ""))?;
    without
        .log()
        .wait_for("state locked: this machine has no TPM 2.0", SOON)?;
    ensure!(!node.call(node.client().tpm())?.present);
    let screen = without.screen();
    screen.wait_for("State locked", SOON)?;
    screen.press("u")?;
    screen.wait_for("Unlock the node's state", SOON)?;
    screen.press(&recovery)?;
    screen.press(key::ENTER)?;
    screen.wait_for("kept on disk", SOON)?;
    let node = with_its_state(&without, &token, fingerprint)?;
    node.call(node.client().volume("kept"))?;
    power_off(&without, &node)
}

fn state_is_encrypted_on_the_pool(node: &Node) -> Result<()> {
    let host = node.call(node.client().host())?;
    ensure!(host.persistent_state && host.state_lock.is_none(), "{host:?}");
    for name in ["tank/axion", "tank/axion/state", "tank/axion/volumes"] {
        let dataset = node.call(node.client().dataset(name))?;
        ensure!(
            dataset.encryption.as_deref() == Some("aes-256-gcm"),
            "{dataset:?}"
        );
    }
    Ok(())
}

/// However many kernels the boot took: the register is what one event makes of zeros.
fn the_profile_is_measured_once(node: &Node) -> Result<()> {
    let tpm: HostTpm = node.call(node.client().tpm())?;
    ensure!(tpm.present && tpm.problem.is_none(), "{tpm:?}");
    let [event] = tpm.events.as_slice() else {
        anyhow::bail!("not one event: {tpm:?}");
    };
    let value = tpm.pcrs.iter().find(|register| register.pcr == PROFILE_PCR);
    let value = &value.context("PCR 15 is not told")?.sha256;
    let expected = extended(&[0; 32], event.content.string.as_bytes());
    let expected: String = expected.iter().map(|byte| format!("{byte:02x}")).collect();
    ensure!(*value == expected, "{tpm:?}");
    let profile = node.call(node.client().profile())?;
    let item = profile.attestation.items.iter().find(|item| item.key == "tpm");
    ensure!(
        item.is_some_and(|item| item.state == axion_core::profile::ItemState::Ok),
        "{item:?}"
    );
    Ok(())
}

fn the_recovery_passphrase_is_shown_once(machine: &Machine, node: &Node) -> Result<String> {
    machine.screen().wait_for("Recovery passphrase", SOON)?;
    let shown = node.axctl(&["pool", "recovery", "-o", "json"])?;
    let recovery: Recovery = serde_json::from_str(&shown)?;
    ensure!(
        recovery.pool == "tank" && recovery.passphrase.len() == 39,
        "{recovery:?}"
    );
    let again = node.try_axctl(&["pool", "recovery"])?;
    ensure!(again.status.code() == Some(4), "{again:?}");
    Ok(recovery.passphrase)
}

fn a_wrong_passphrase_is_refused(node: &Node, directory: &Path) -> Result<()> {
    let wrong: PathBuf = directory.join("wrong");
    std::fs::write(&wrong, "not the passphrase\n")?;
    let refused = node.try_axctl(&[
        "pool",
        "unlock",
        "--passphrase-file",
        &wrong.display().to_string(),
    ])?;
    ensure!(!refused.status.success(), "{refused:?}");
    Ok(())
}

/// The node once its agent runs on the state: it has the certificate that it had.
fn with_its_state(
    machine: &Machine,
    token: &Token,
    fingerprint: axion_api::client::Fingerprint,
) -> Result<Node> {
    let step = std::time::Duration::from_millis(500);
    Ok(poll("the agent with its state", SOON, step, || {
        Ok(match machine.node(token) {
            Ok(node) if node.fingerprint() == fingerprint => Poll::Ready(node),
            Ok(_) => Poll::Pending("another certificate".to_owned()),
            Err(error) => Poll::Pending(error.to_string()),
        })
    })?)
}

fn power_off(machine: &Machine, node: &Node) -> Result<()> {
    node.call(node.client().power(PowerAction::PowerOff))?;
    ensure!(machine.wait_exit()?.success());
    Ok(())
}
