//! What a trial finds out: a kernel that stands still is brought back by the watchdog, a pool that is missing speaks against the
//! version that runs, and an image for which there is no room changes nothing. All this without a variable of the firmware that can be
//! written.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use axion_api::update::SlotState;
use axion_e2e::installed::{ARGUMENTS, Signer, disk, look, open, stage, start, start_beside, uki};
use axion_e2e::{SOON, contents, installation};
use axion_install::fat::Volume;
use axion_install::inspect;
use axion_install::slot::Slot;
use axion_install::storage::Part;
use axion_lab::deadline::Poll;
use axion_lab::spec::WatchdogDevice;
use axion_lab::{Firmware, Spec};

/// A start that fails, and one of the version before.
const FALL_BACK: Duration = Duration::from_secs(170);
/// A boot in emulation, with a guest that shows that guests start.
const TRIAL: Duration = Duration::from_secs(170);
const TRIES: usize = 3;
/// Bytes of a disk for a pool.
const POOL: u64 = 512 << 20;

#[test]
fn an_update_that_stands_still_is_reset_by_the_watchdog_and_gives_way() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let spec = Spec::new("update-stands-still").watchdog(WatchdogDevice::I6300esb);
    let config = spec.medium_config("watchdog.timeout = \"10s\"\n");
    let disk = disk(dir.path(), &config)?;
    stage(&disk, "0.1.9", &ARGUMENTS.replace("panic=1", "panic=0"))?;
    let machine = start(spec, &disk)?;
    let mut runs = machine
        .log()
        .wait_for("slot b runs, Axion 0.1.9, on trial", TRIAL)?;
    for _ in 0..TRIES {
        // SysRq-C (Documentation/admin-guide/sysrq.rst), behind which this kernel was told to stand still.
        machine.press_keys(&["alt", "sysrq", "c"])?;
        let end = machine.log().wait_for_after(&runs, "Kernel panic", SOON)?;
        runs = machine.log().wait_for_after(&end, " runs, Axion ", TRIAL)?;
        if runs.text.contains("slot a") {
            break;
        }
    }
    ensure!(runs.text.contains("slot a runs"), "{runs:?}");
    machine
        .log()
        .wait_for("slot b, Axion 0.1.9, was given up: ", FALL_BACK)?;
    machine.wait_ready_after(&runs)?;
    installation::down(machine)?;
    let found = look(&disk)?;
    ensure!(found.good() == Some(Slot::A), "{found:?}");
    Ok(())
}

#[test]
fn an_update_that_misses_a_pool_gives_way() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let signer = Signer::new()?;
    let spec = Spec::new("update-misses-pool").read_only_variables();
    let pool = "[storage]\nsettle = \"2s\"\n[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\n\
                disks = [\"serial:axion-1\"]\n";
    let disk = disk(dir, &spec.medium_config(&format!("{}{pool}", signer.config())))?;
    let image = signer.write(dir, "axion.efi", &uki("0.1.9")?)?;
    let data = dir.join("pool.img");
    fs::File::create(&data)?.set_len(POOL)?;

    let machine = start_beside(spec.clone(), &disk, &[&data])?;
    let node = machine.wait_ready()?;
    machine.log().wait_for("pool `tank` was made", SOON)?;
    node.axctl(&["update", "stage", &image.to_string_lossy()])?;
    installation::down(machine)?;

    let machine = start(spec, &disk)?;
    let told = machine
        .log()
        .wait_for("slot b, Axion 0.1.9, was given up: ", FALL_BACK)?;
    ensure!(
        told.text
            .contains("pool `tank` was imported before and is not now"),
        "{told:?}"
    );
    let node = machine.wait_ready()?;
    let status = node.poll("slot a and what became of slot b", FALL_BACK, |node| {
        let status = node.call(node.client().update())?;
        let failed = status
            .slot("b")
            .is_some_and(|slot| slot.state == SlotState::Failed);
        Ok(if failed && status.running == "a" {
            Poll::Ready(status)
        } else {
            Poll::Pending(format!("{status:?}"))
        })
    })?;
    ensure!(status.next.as_deref() == Some("a"), "{status:?}");
    Ok(())
}

#[test]
fn an_image_for_which_there_is_no_room_changes_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let signer = Signer::new()?;
    let spec = Spec::new("update-no-room");
    let disk = disk(dir, &spec.medium_config(&signer.config()))?;
    let image = uki("0.1.9")?;
    fill(&disk, u64::try_from(image.len())?)?;
    let image = signer.write(dir, "axion.efi", &image)?;

    let machine = start(spec, &disk)?;
    let node = machine.wait_ready()?;
    machine
        .log()
        .wait_for("slot a: the next start has the arguments of this one", SOON)?;
    let before = node.call(node.client().update())?;
    let answer = node.try_axctl(&["update", "stage", &image.to_string_lossy()])?;
    ensure!(
        !answer.status.success() && answer.stderr.contains("EFI/axion/b.efi needs"),
        "{}",
        answer.stderr
    );
    let after = node.call(node.client().update())?;
    ensure!(after == before, "{before:?} {after:?}");
    installation::down(machine)?;
    let found = look(&disk)?;
    ensure!(found.good() == Some(Slot::A), "{found:?}");
    Ok(())
}

/// Fills the disk's EFI system partition, so that less than `wanted` bytes are left.
fn fill(disk: &Path, wanted: u64) -> Result<()> {
    let disk = open(disk)?;
    let esp = inspect::esp(&disk)?;
    let volume = Volume::open(Part::new(&disk, esp.start, esp.length))?;
    let (mut least, mut most) = (0, esp.length);
    // The largest file that has room.
    while most - least > wanted / 4 {
        let middle = least.midpoint(most);
        if volume.room("filler", middle, &[]).is_ok() {
            least = middle;
        } else {
            most = middle;
        }
    }
    volume.write(
        "filler",
        &mut std::io::repeat(0x55).take(least),
        least,
        &mut |_| {},
    )?;
    ensure!(volume.room("more", wanted, &[]).is_err(), "there is room");
    Ok(())
}

#[test]
fn a_pool_on_the_system_disk_outlives_another_installation() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let pool = "[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"system\"]\n";
    let spec = Spec::new("system-pool");
    let disk = disk(dir, &spec.medium_config(&format!("hostname = \"first\"\n{pool}")))?;
    let machine = start(spec.clone(), &disk)?;
    let node = machine.wait_ready()?;
    machine.log().wait_for("pool `tank` was made", SOON)?;
    ensure!(
        node.call(node.client().host())?.persistent_state,
        "the state is nowhere"
    );
    let kept = contents::made_of(7);
    contents::put_volume(&node, "kept", &kept, dir)?;
    let snapshot = contents::snapshot(&node, "kept", "before")?;
    installation::down(machine)?;

    let config = spec.medium_config(&format!(
        "hostname = \"second\"\n{pool}[install]\nafter = \"power-off\"\nexisting = \"replace\"\ndisk.serial = \"axion-0\"\n"
    ));
    let machine = installation::installer("system-pool-install", Firmware::Uefi, &disk, dir, &config)?;
    machine
        .log()
        .wait_for("installed on nvme0n1", installation::INSTALLATION)?;
    machine.wait_exit()?;
    drop(machine);

    let machine = start(spec, &disk)?;
    let node = machine.wait_ready()?;
    let host = node.call(node.client().host())?;
    ensure!(host.hostname == "second" && host.persistent_state, "{host:?}");
    contents::are_in(&node, &snapshot, &kept, dir)
}
