//! A node is installed from one machine's memory onto an NVMe disk; from then on, machines start from that disk: as installed, with
//! an update that is good, and with one that never starts.

use std::fs::{self, File};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_e2e::SOON;
use axion_e2e::installed::{look, open, stage_image, start};
use axion_install::esp::Esp;
use axion_install::fat::{Volume, join};
use axion_install::inspect;
use axion_install::slot::{IMAGES, Slot};
use axion_install::storage::Part;
use axion_lab::machine::READY;
use axion_lab::spec::{DiskBus, DiskContent};
use axion_lab::{Image, Machine, Spec};

/// The layout needs little more than 2 GiB.
const DISK_MIB: u64 = 3072;
/// Writing the image in emulation, the plan and the farewell.
const INSTALLATION: Duration = Duration::from_secs(240);
/// Three starts that fail, and one that does not.
const FALL_BACK: Duration = Duration::from_secs(280);

#[test]
fn an_installed_node_starts_from_its_disk_takes_updates_and_falls_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk.img");
    File::create(&disk)?.set_len(DISK_MIB << 20)?;
    let config = Spec::new("installed").medium_config("hostname = \"installed\"\n");

    install(&disk, dir.path(), &config)?;
    let installed = look(&disk)?;
    let first = installed.starts().context("nothing starts")?;
    ensure!(first.name.to_string() == "axion-a.conf", "{installed:?}");
    ensure!(first.entry.options.ends_with("axion.slot=a"), "{first:?}");

    let machine = start(Spec::new("installed-first"), &disk)?;
    machine.log().wait_for("slot a runs", SOON)?;
    machine.log().wait_for(READY, INSTALLATION)?;
    down(machine)?;

    // A kernel that ends at once, three times; then the slot that was good.
    stage(&disk, "0.9.1", "console=ttyS1 panic=1 rdinit=/none")?;
    let machine = start(Spec::new("installed-bad-update"), &disk)?;
    machine
        .log()
        .wait_for("slot b, Axion 0.9.1, was given up", FALL_BACK)?;
    down(machine)?;
    ensure!(
        look(&disk)?
            .starts()
            .is_some_and(|named| named.name.slot == Slot::A)
    );

    stage(&disk, "0.9.2", &options(&disk)?)?;
    let machine = start(Spec::new("installed-good-update"), &disk)?;
    machine.log().wait_for("slot b is confirmed", INSTALLATION)?;
    down(machine)?;
    let updated = look(&disk)?;
    let next = updated.starts().context("nothing starts")?;
    ensure!(next.name.to_string() == "axion-b.conf", "{updated:?}");
    ensure!(updated.good() == Some(Slot::B), "{updated:?}");
    Ok(())
}

#[test]
fn no_disk_is_written_that_is_not_the_one() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk.img");
    File::create(&disk)?.set_len(DISK_MIB << 20)?;
    let config =
        "boot.on_failure = \"power-off\"\nboot.countdown = \"1s\"\n[install.disk]\nserial = \"none-such\"\n";
    let machine = installer("install-refused", &disk, dir.path(), config)?;
    machine
        .log()
        .wait_for("no disk fits `install.disk`", INSTALLATION)?;
    machine.wait_exit()?;
    ensure!(inspect::inspect(&open(&disk)?).is_err(), "the disk was written");
    Ok(())
}

/// A UEFI machine that runs the installer.
fn installer(name: &str, disk: &Path, dir: &Path, config: &str) -> Result<Machine> {
    let image = Image::find()?;
    let archives = dir.join("initramfs.cpio");
    let content = [fs::read(image.initramfs())?, fs::read(image.kexec()?)?].concat();
    fs::write(&archives, content)?;
    let spec = Spec::new(name)
        .uefi()
        .initramfs(&archives)
        .kernel_arg("axion.mode=install")
        .config(config)
        .disk(DiskBus::Nvme, DiskContent::File(disk.to_owned()));
    Ok(spec.start(&image)?)
}

fn install(disk: &Path, dir: &Path, config: &str) -> Result<()> {
    let config = format!("{config}[install]\nafter = \"power-off\"\ndisk.serial = \"axion-0\"\n");
    let machine = installer("install", disk, dir, &config)?;
    machine.log().wait_for("installed on nvme0n1", INSTALLATION)?;
    machine.screen().wait_for("100 %", SOON)?;
    machine.wait_exit()?;
    Ok(())
}

fn down(machine: Machine) -> Result<()> {
    machine.power_button()?;
    machine.wait_exit()?;
    drop(machine);
    Ok(())
}

/// Kernel arguments of the installed slot.
fn options(disk: &Path) -> Result<String> {
    let found = look(disk)?;
    let (named, _) = found.entries.first().context("no entry")?;
    Ok(named.entry.options.clone())
}

/// Writes the image of slot a to the other slot, as another version and with other kernel arguments.
fn stage(disk: &Path, version: &str, options: &str) -> Result<()> {
    let opened = open(disk)?;
    let esp = inspect::esp(&opened)?;
    let esp = Esp::new(Volume::open(Part::new(&opened, esp.start, esp.length))?);
    let uki = esp.volume().read(&join(IMAGES, &Slot::A.image()), 1 << 30)?;
    stage_image(disk, &uki.context("slot a has no image")?, version, options)
}
