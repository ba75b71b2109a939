//! A node is installed from one machine's memory onto an NVMe disk; from then on, machines start from that disk: as installed, with
//! an update that is good, and with one that never starts. What the installer wrote is cut as by a power failure.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use axion_e2e::SOON;
use axion_e2e::installation::{
    FALL_BACK, INSTALLATION, blank, down, installer, look, open, options, stage, start,
};
use axion_e2e::recorded::Recorded;
use axion_install::inspect;
use axion_install::slot::Slot;
use axion_lab::machine::READY;
use axion_lab::spec::DiskContent;
use axion_lab::{Firmware, Spec};

const UEFI: Firmware = Firmware::Uefi;

#[test]
fn an_installed_node_starts_from_its_disk_takes_updates_and_falls_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk.img");
    blank(&disk)?;
    let config = Spec::new("installed").medium_config("hostname = \"installed\"\n");

    let recorded = Recorded::begin(&disk)?;
    install(&recorded, dir.path(), &config)?;
    recorded.check("an installation")?;
    let installed = look(&disk)?;
    let first = installed.starts().context("nothing starts")?;
    ensure!(first.name.to_string() == "axion-a.conf", "{installed:?}");
    ensure!(first.entry.options.ends_with("axion.slot=a"), "{first:?}");

    let machine = start("installed-first", UEFI, &disk)?;
    machine.log().wait_for("slot a runs", SOON)?;
    machine.log().wait_for(READY, INSTALLATION)?;
    down(machine)?;

    // A kernel that ends at once, three times; then the slot that was good.
    stage(&disk, "0.9.1", "console=ttyS1 panic=1 rdinit=/none")?;
    let machine = start("installed-bad-update", UEFI, &disk)?;
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
    let machine = start("installed-good-update", UEFI, &disk)?;
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
    blank(&disk)?;
    let config =
        "boot.on_failure = \"power-off\"\nboot.countdown = \"1s\"\n[install.disk]\nserial = \"none-such\"\n";
    let machine = installer("install-refused", UEFI, &disk, dir.path(), config)?;
    machine
        .log()
        .wait_for("no disk fits `install.disk`", INSTALLATION)?;
    machine.wait_exit()?;
    ensure!(inspect::inspect(&open(&disk)?).is_err(), "the disk was written");
    Ok(())
}

fn install(disk: impl Into<DiskContent>, dir: &Path, config: &str) -> Result<()> {
    let config = format!("{config}[install]\nafter = \"power-off\"\ndisk.serial = \"axion-0\"\n");
    let machine = installer("install", UEFI, disk, dir, &config)?;
    machine.log().wait_for("installed on nvme0n1", INSTALLATION)?;
    machine.screen().wait_for("100 %", SOON)?;
    machine.wait_exit()?;
    Ok(())
}
