//! A node is installed from one machine's memory onto an NVMe disk; from then on, machines start from that disk: as installed, with
//! an update that is good, and with one that never starts. What the installer wrote is cut as by a power failure. The machine config
//! is replaced meanwhile: the first start after that takes a second kernel, the next one does not.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use axion_e2e::installation::{
    FALL_BACK, INSTALLATION, blank, down, installer, installer_beside, look, options, stage, start,
};
use axion_e2e::recorded::Recorded;
use axion_e2e::{SECOND_KERNEL, SOON};
use axion_install::slot::Slot;
use axion_lab::machine::READY;
use axion_lab::spec::DiskContent;
use axion_lab::{Firmware, Node, Spec};

const UEFI: Firmware = Firmware::Uefi;
const WITHOUT_MITIGATIONS: &str = "hostname = \"installed\"\n[profile.cpu]\nmitigations = \"off\"\n";

#[test]
fn an_installed_node_starts_from_its_disk_takes_updates_and_falls_back() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let disk = dir.path().join("disk.img");
    blank(&disk)?;
    let spec = Spec::new("installed");
    let config = spec.medium_config("hostname = \"installed\"\n");

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
    ensure!(options(&disk)?.contains("axion.esp="), "{installed:?}");
    let node = machine.node(&spec.token)?;
    replace_config(&node, dir.path(), &spec.medium_config(WITHOUT_MITIGATIONS))?;
    down(machine)?;

    // A kernel that ends at once, three times; then the slot that was good.
    stage(&disk, "0.9.1", "console=ttyS1 panic=1 rdinit=/none")?;
    let machine = start("installed-bad-update", UEFI, &disk)?;
    machine
        .log()
        .wait_for("slot b, Axion 0.9.1, was given up", FALL_BACK)?;
    // The config that was applied is in force, and what it took is kept.
    machine.log().wait_for(SECOND_KERNEL, SOON)?;
    machine
        .log()
        .wait_for("the next start has the arguments of this one", INSTALLATION)?;
    let node = machine.node(&spec.token)?;
    let in_force = node.call(node.client().kept_config(false))?;
    ensure!(
        in_force.in_force && in_force.text.contains("mitigations"),
        "{in_force:?}"
    );
    down(machine)?;
    ensure!(options(&disk)?.contains("mitigations=off"), "{}", options(&disk)?);
    ensure!(
        look(&disk)?
            .starts()
            .is_some_and(|named| named.name.slot == Slot::A)
    );

    stage(&disk, "0.9.2", &options(&disk)?)?;
    let machine = start("installed-good-update", UEFI, &disk)?;
    machine.log().wait_for("slot b is confirmed", INSTALLATION)?;
    ensure!(
        !machine.log().text().contains(SECOND_KERNEL),
        "it took a second kernel"
    );
    down(machine)?;
    let updated = look(&disk)?;
    let next = updated.starts().context("nothing starts")?;
    ensure!(next.name.to_string() == "axion-b.conf", "{updated:?}");
    ensure!(updated.good() == Some(Slot::B), "{updated:?}");
    Ok(())
}

#[test]
fn no_disk_is_written_that_is_not_the_one() -> Result<()> {
    refused("serial = \"none-such\"", &[3072], "no disk fits `install.disk`")
}

#[test]
fn no_disk_is_written_where_two_are_meant() -> Result<()> {
    refused(
        "model = \"QEMU NVMe Ctrl\"",
        &[3072, 3072],
        "more than one disk fits `install.disk`",
    )
}

#[test]
fn no_disk_is_written_that_is_too_small() -> Result<()> {
    refused("serial = \"axion-0\"", &[1024], "are needed")
}

/// On a machine with disks of so many MiB, the installer says `why` and leaves them as they were.
fn refused(selector: &str, disks: &[u64], why: &str) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut files = Vec::new();
    for (number, mib) in disks.iter().enumerate() {
        let file = dir.path().join(format!("{number}.img"));
        fs::File::create(&file)?.set_len(mib << 20)?;
        files.push(file);
    }
    let config =
        format!("boot.on_failure = \"power-off\"\nboot.countdown = \"1s\"\n[install.disk]\n{selector}\n");
    let (first, others) = files.split_first().context("no disk")?;
    let machine = installer_beside("install-refused", UEFI, first, others, dir.path(), &config)?;
    machine.log().wait_for(why, INSTALLATION)?;
    machine.wait_exit()?;
    for file in &files {
        let blocks = fs::metadata(file)?.blocks();
        ensure!(blocks == 0, "{} was written", file.display());
    }
    Ok(())
}

/// What is wrong is refused with every mistake; what is right is kept for the next start.
fn replace_config(node: &Node, dir: &Path, config: &str) -> Result<()> {
    let file = dir.join("axion.toml");
    let path = file.to_string_lossy();
    fs::write(
        &file,
        "[network]\ndsn = []\n[watchdog]\ntimeout = \"1s\"\nmodules = 1\n",
    )?;
    let refused = node.try_axctl(&["config", "apply", &path])?;
    let told = &refused.stderr;
    ensure!(
        !refused.status.success() && told.contains("line 2") && told.contains("line 5"),
        "{told}"
    );
    let before = node.axctl(&["config", "show"])?;
    fs::write(&file, config)?;
    node.axctl(&["config", "apply", &path, "--dry-run"])?;
    ensure!(
        node.axctl(&["config", "show"])? == before,
        "a dry run has written"
    );
    let told = node.axctl(&["config", "apply", &path])?;
    ensure!(told.contains("is replaced"), "{told}");
    ensure!(
        node.axctl(&["config", "show", "--previous"])? == before,
        "the config before is not kept"
    );
    let kept = node.call(node.client().kept_config(false))?;
    ensure!(kept.text == config && !kept.in_force, "{kept:?}");
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
