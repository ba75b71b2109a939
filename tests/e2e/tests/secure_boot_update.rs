//! A node under Secure Boot lives as any other one: it is updated, proves the new version, goes back at the console; an image that its
//! firmware would not start is refused before a byte is written.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use axion_core::secure_boot::SecureBootState;
use axion_e2e::SOON;
use axion_e2e::enrolment::{enrolled, foreign_keys, owner_keys, sign};
use axion_e2e::installation::{INSTALLATION, down, look};
use axion_e2e::installed::{Signer, as_version};
use axion_install::slot::Slot;
use axion_lab::machine::READY;
use axion_lab::screen::key;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Image, Machine, Node, Spec};

const NEW: &str = "0.1.9";
/// A boot in emulation with firmware's look at the image, and a guest that shows that guests start.
const TRIAL: Duration = Duration::from_secs(240);

#[test]
fn an_update_is_tried_confirmed_and_taken_back_under_secure_boot() -> Result<()> {
    let (dir, variables) = enrolled()?;
    let dir = dir.path();
    let image = Image::find()?;
    let signer = Signer::new()?;
    let disk = dir.join("disk.img");
    File::create(&disk)?.set_len(3072 << 20)?;
    let nvme = || DiskContent::File(disk.clone());
    let spec = Spec::new("secure-boot-update");
    let config = spec.medium_config(&format!(
        "hostname = \"secure\"\n{}[install]\nafter = \"power-off\"\ndisk.serial = \"axion-0\"\n",
        signer.config()
    ));
    let machine = spec
        .clone()
        .uefi()
        .initramfs(image.signed_medium("initramfs.cpio")?)
        .kernel_arg("axion.mode=install")
        .disk(DiskBus::Nvme, nvme())
        .config(config)
        .start(&image)?;
    machine.log().wait_for("installed on nvme0n1", INSTALLATION)?;
    machine.wait_exit()?;
    drop(machine);

    let unsigned = without_signature(&image.signed_medium("axion.efi")?, dir)?;
    let unsigned = as_version(&unsigned, NEW)?;
    let good = signer.write(dir, "good.efi", &sign(&unsigned, &owner_keys()?, dir)?)?;
    let foreign = sign(&unsigned, &foreign_keys(dir)?, dir)?;
    let foreign = signer.write(dir, "foreign.efi", &foreign)?;
    let unsigned = signer.write(dir, "unsigned.efi", &unsigned)?;

    let machine = spec
        .boot_from_disks()
        .secure_boot(&variables)
        .disk(DiskBus::Nvme, nvme())
        .start(&image)?;
    let seen = machine.log().wait_for(READY, TRIAL)?;
    let node = machine.wait_ready()?;
    is_on(&node)?;
    refused(&node, &unsigned, "no signature for firmware")?;
    refused(&node, &foreign, "firmware does not know")?;

    node.axctl(&["update", "stage", &good.to_string_lossy(), "--reboot"])?;
    machine
        .log()
        .wait_for_after(&seen, "slot b runs, Axion 0.1.9, on trial", TRIAL)?;
    let seen = machine
        .log()
        .wait_for_after(&seen, "slot b is confirmed", TRIAL)?;
    let node = machine.wait_ready()?;
    is_on(&node)?;

    roll_back_at_the_console(&machine)?;
    machine
        .log()
        .wait_for_after(&seen, "slot a runs, Axion 0.1.0, confirmed", TRIAL)?;
    let node = machine.wait_ready_after(&seen)?;
    is_on(&node)?;
    down(machine)?;
    let found = look(&disk)?;
    ensure!(found.good() == Some(Slot::A), "{found:?}");
    Ok(())
}

/// As somebody does whose update has lost the network.
fn roll_back_at_the_console(machine: &Machine) -> Result<()> {
    let screen = machine.screen();
    screen.press("t")?;
    screen.wait_for("versions in the slots", SOON)?;
    screen.press("v")?;
    screen.wait_for("b  Axion 0.1.9, confirmed, runs now, starts next", SOON)?;
    screen.wait_for("a, Axion 0.1.0. Esc goes back.", SOON)?;
    screen.press("roll back")?;
    screen.wait_for("> roll back", SOON)?;
    screen.press(key::ENTER)?;
    Ok(())
}

fn is_on(node: &Node) -> Result<()> {
    let found = node.call(node.client().host())?.secure_boot;
    ensure!(found.state == SecureBootState::On, "{found:?}");
    Ok(())
}

fn refused(node: &Node, image: &Path, why: &str) -> Result<()> {
    let answer = node.try_axctl(&["update", "stage", &image.to_string_lossy()])?;
    ensure!(
        !answer.status.success() && answer.stderr.contains(why),
        "{}: {}",
        image.display(),
        answer.stderr
    );
    Ok(())
}

/// A signed program as it was before.
fn without_signature(program: &Path, dir: &Path) -> Result<Vec<u8>> {
    let to = dir.join("bare.efi");
    fs::copy(program, &to)?;
    let removed = Command::new("sbattach").arg("--remove").arg(&to).output()?;
    ensure!(removed.status.success(), "{removed:?}");
    Ok(fs::read(&to)?)
}
