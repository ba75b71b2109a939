//! Firmware that takes the owner's keys starts what is signed with them, by every medium, and nothing else; and the node keeps
//! to it. The keys are enrolled once, as a person does it: in the menu of a medium.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_core::profile::ItemState;
use axion_core::secure_boot::{Lockdown, SecureBoot, SecureBootState};
use axion_e2e::SOON;
use axion_e2e::enrolment::{DRIVE, FIRMWARE, enrolled, foreign_keys, owner_keys, sign};
use axion_install::authenticode::for_kexec;
use axion_lab::machine::READY;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Drive, Firmware, Image, Machine, Node, Spec, media};

const INSTALLATION: Duration = Duration::from_secs(240);
/// What each kernel says first.
const KERNEL_START: &str = "Linux version";
const PROMISED: SecureBoot = SecureBoot {
    state: SecureBootState::On,
    lockdown: Lockdown::Integrity,
};

#[test]
fn a_node_with_a_profile_is_locked_down_after_its_kexec() -> Result<()> {
    let (dir, variables) = enrolled()?;
    let disk = dir.path().join("disk.img");
    let spec = Spec::new("secure-boot-hpc")
        .boot_from(Firmware::Uefi, DRIVE, &disk)
        .secure_boot(variables);
    let config = spec
        .medium_config("hostname = \"secure\"\n[profile]\nmode = \"hpc\"\n[profile.cpu]\nisolated = \"1\"\n");
    media::edited_image(&Image::find()?.signed_medium("axion.img")?, &disk, &config)?;
    let machine = spec.start(&Image::find()?)?;
    let node = machine.wait_ready()?;
    is_locked_down(&node)?;
    // The first kernel writes to no serial line; the second one tells what it was started with.
    machine.log().wait_for("axion.kexec=1", SOON)?;
    machine
        .screen()
        .wait_for("Secure Boot on, kernel lockdown integrity", SOON)?;
    Ok(())
}

#[test]
fn the_iso_starts_as_a_cd() -> Result<()> {
    starts(
        "secure-boot-cd",
        Drive::CdRom,
        &Image::find()?.signed_medium("axion.iso")?,
    )
}

#[test]
fn the_iso_starts_as_a_usb_stick() -> Result<()> {
    starts(
        "secure-boot-usb",
        Drive::UsbStick,
        &Image::find()?.signed_medium("axion.iso")?,
    )
}

#[test]
fn the_uki_starts_from_any_fat_volume() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let stick = dir.path().join("stick.img");
    media::efi_volume(&stick, &Image::find()?.signed_medium("axion.efi")?)?;
    starts("secure-boot-uki", DRIVE, &stick)
}

/// A medium starts a node that is locked down.
fn starts(name: &str, drive: Drive, medium: &Path) -> Result<()> {
    let (_dir, variables) = enrolled()?;
    let spec = Spec::new(name)
        .boot_from(Firmware::Uefi, drive, medium)
        .secure_boot(variables);
    let config = spec.medium_config("");
    let machine = spec.config_volume(&config).start(&Image::find()?)?;
    is_locked_down(&machine.wait_ready()?)
}

#[test]
fn an_installed_node_starts_with_its_slot() -> Result<()> {
    let (dir, variables) = enrolled()?;
    let disk = dir.path().join("disk.img");
    File::create(&disk)?.set_len(3072 << 20)?;
    let image = Image::find()?;
    let nvme = || DiskContent::File(disk.clone());
    let spec = Spec::new("secure-boot-install")
        .uefi()
        .initramfs(image.signed_medium("initramfs.cpio")?)
        .kernel_arg("axion.mode=install")
        .disk(DiskBus::Nvme, nvme());
    let config =
        Spec::new("x").medium_config("[install]\nafter = \"power-off\"\ndisk.serial = \"axion-0\"\n");
    let machine = spec.config(config).start(&image)?;
    machine.log().wait_for("installed on nvme0n1", INSTALLATION)?;
    machine.wait_exit()?;
    drop(machine);

    let spec = Spec::new("secure-boot-installed")
        .boot_from_disks()
        .secure_boot(variables)
        .disk(DiskBus::Nvme, nvme());
    let machine = spec.start(&image)?;
    // The stub does not hand the arguments of the loader's entry on.
    machine.log().wait_for("slot a runs", INSTALLATION)?;
    machine
        .log()
        .wait_for("Secure Boot: on, kernel lockdown integrity", SOON)?;
    machine.log().wait_for(READY, INSTALLATION)?;
    Ok(())
}

#[test]
fn what_is_not_signed_or_not_with_these_keys_is_not_started() -> Result<()> {
    let (dir, variables) = enrolled()?;
    let image = Image::find()?;
    let uki = fs::read(image.signed_medium("axion.efi")?)?;
    let mut tampered = uki.clone();
    let middle = tampered.len() / 2;
    let byte = tampered.get_mut(middle).context("the image is empty")?;
    *byte ^= 1;
    is_refused("secure-boot-tampered", &variables, &tampered, DENIED, dir.path())?;
    let unsigned = fs::read(image.medium("axion.efi")?)?;
    is_refused("secure-boot-unsigned", &variables, &unsigned, DENIED, dir.path())?;
    // The image as it was, with somebody else's signature.
    let foreign = sign(&unsigned, &foreign_keys(dir.path())?, dir.path())?;
    is_refused("secure-boot-foreign", &variables, &foreign, DENIED, dir.path())
}

#[test]
fn a_kernel_that_is_signed_for_kexec_is_not_started_by_firmware() -> Result<()> {
    let (dir, variables) = enrolled()?;
    let keys = owner_keys()?;
    let kernel = fs::read(Image::find()?.kernel())?;
    let kernel = sign(&for_kexec(&kernel)?, &keys, dir.path())?;
    is_refused(
        "secure-boot-kernel",
        &variables,
        &kernel,
        NO_APPLICATION,
        dir.path(),
    )
}

fn is_locked_down(node: &Node) -> Result<()> {
    let found = node.call(node.client().host())?.secure_boot;
    ensure!(found == PROMISED, "{found:?}");
    let profile = node.call(node.client().profile())?;
    let item = profile
        .attestation
        .items
        .iter()
        .find(|item| item.key == "secure-boot");
    ensure!(item.is_some_and(|item| item.state == ItemState::Ok), "{item:?}");
    // Modules came through, with their signatures.
    let report = node.call(node.client().boot())?;
    let failed = report
        .phases
        .iter()
        .flat_map(|phase| &phase.tasks)
        .find(|task| task.error.is_some());
    ensure!(failed.is_none(), "{failed:?}");
    Ok(())
}

/// What firmware says of a program whose signature is not right.
const DENIED: [&str; 2] = ["Access Denied", "Security Violation"];
/// What it says of a program that is no EFI application.
const NO_APPLICATION: [&str; 2] = ["Not Found", "Unsupported"];

/// Firmware does not start `program`, and says one of `words`.
fn is_refused(name: &str, variables: &Path, program: &[u8], words: [&str; 2], dir: &Path) -> Result<()> {
    let (efi, stick) = (dir.join("program.efi"), dir.join(format!("{name}.img")));
    fs::write(&efi, program)?;
    media::efi_volume(&stick, &efi)?;
    let spec = Spec::new(name)
        .boot_from(Firmware::Uefi, DRIVE, &stick)
        .secure_boot(variables);
    let machine: Machine = spec.start(&Image::find()?)?;
    let said = machine
        .screen()
        .wait_until("firmware's refusal", FIRMWARE, |screen| {
            words.iter().any(|word| screen.contains(word))
        })?;
    ensure!(!said.contains("Axion"), "{said}");
    ensure!(machine.log().find(KERNEL_START).is_none(), "a kernel has started");
    Ok(())
}
