//! A machine with a BIOS is installed onto an NVMe disk; from then on, machines start from that disk by GRUB: as installed, with
//! an update that never starts, and with one that is good. The same disk starts on UEFI, too.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use axion_e2e::SOON;
use axion_e2e::installation::{FALL_BACK, INSTALLATION, blank, down, installer, look, options, stage, start};
use axion_install::slot::Slot;
use axion_lab::machine::READY;
use axion_lab::{Firmware, Spec};

const BIOS: Firmware = Firmware::Bios;

#[test]
fn a_node_with_a_bios_starts_from_its_disk_takes_updates_and_falls_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk.img");
    blank(&disk)?;
    install(&disk, dir.path())?;
    ensure!(on_bios(&disk)? == "axion-a.conf");

    let machine = start("bios-first", BIOS, &disk)?;
    machine.log().wait_for("slot a runs", SOON)?;
    machine.log().wait_for(READY, INSTALLATION)?;
    down(machine)?;

    // A kernel that ends at once, three times; then the slot that was good. What GRUB has counted is in the name from then on.
    stage(&disk, "0.9.1", "console=ttyS1 panic=1 rdinit=/none")?;
    ensure!(on_bios(&disk)? == "axion-b+3.conf");
    let machine = start("bios-bad-update", BIOS, &disk)?;
    machine
        .log()
        .wait_for("slot b, Axion 0.9.1, was given up", FALL_BACK)?;
    down(machine)?;
    ensure!(on_bios(&disk)? == "axion-a.conf");
    let found = look(&disk)?;
    let given_up = found.entries.iter().find(|(named, _)| named.name.slot == Slot::B);
    ensure!(
        given_up.is_some_and(|(named, _)| named.name.to_string() == "axion-b+0-3.conf"),
        "{found:?}"
    );

    stage(&disk, "0.9.2", &options(&disk)?)?;
    let machine = start("bios-good-update", BIOS, &disk)?;
    machine.log().wait_for("slot b is confirmed", INSTALLATION)?;
    down(machine)?;
    ensure!(on_bios(&disk)? == "axion-b.conf");

    let machine = start("bios-disk-uefi", Firmware::Uefi, &disk)?;
    machine.log().wait_for("slot b runs", INSTALLATION)?;
    machine.log().wait_for(READY, INSTALLATION)?;
    down(machine)
}

fn install(disk: &Path, dir: &Path) -> Result<()> {
    let config = Spec::new("bios").medium_config("hostname = \"bios\"\n");
    let config = format!("{config}[install]\nafter = \"power-off\"\ndisk.serial = \"axion-0\"\n");
    let machine = installer("bios-install", BIOS, disk, dir, &config)?;
    machine.log().wait_for("installed on nvme0n1", INSTALLATION)?;
    machine.wait_exit()?;
    Ok(())
}

/// The entry that GRUB starts next.
fn on_bios(disk: &Path) -> Result<String> {
    let on_bios = look(disk)?.bios.context("a BIOS finds no loader")?;
    let next = on_bios.starts().context("what GRUB starts is not whole")?;
    Ok(next.name.to_string())
}
