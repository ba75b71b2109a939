//! An installed node takes an update over its API: what nobody trusted has made, what was changed on its way and what is older
//! is refused before a byte is written; what is good is started on trial, proves itself and stays; and there is a way back. A disk
//! of another installation lies beside it all the time, and is left alone. All that the machine, its loader and its firmware wrote is cut
//! as by a power failure, and the node starts from what such a cut leaves.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use axion_api::update::{SlotState, UpdateStatus};
use axion_e2e::installed::{Signer, VERSION, disk, esp_digest, left_over, look, start, start_beside, uki};
use axion_e2e::recorded::Recorded;
use axion_lab::deadline::Poll;
use axion_lab::machine::READY;
use axion_lab::{Node, Spec};

const NEW: &str = "0.1.9";
const OLD: &str = "0.0.9";
/// A boot in emulation, with a guest that shows that guests start.
const TRIAL: Duration = Duration::from_secs(170);

#[test]
fn an_update_is_checked_tried_and_confirmed() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    let (signer, stranger) = (Signer::new()?, Signer::new()?);
    let spec = Spec::new("update");
    let config = spec.medium_config(&format!("hostname = \"updated\"\n{}", signer.config()));
    let disk = disk(dir, &config)?;
    let good = signer.write(dir, "axion.efi", &uki(NEW)?)?;

    let other = left_over(dir, "hostname = \"left-over\"\n")?;
    let untouched = esp_digest(&other)?;

    let recorded = Recorded::begin(&disk)?;
    let machine = start_beside(spec.clone(), &recorded, &[&other])?;
    let node = machine.wait_ready()?;
    ensure!(node.call(node.client().host())?.hostname == "updated");
    let status = status(&node)?;
    ensure!(
        status.running == "a" && status.next.as_deref() == Some("a"),
        "{status:?}"
    );
    ensure!(status.trusted_keys.len() == 1, "{status:?}");
    // The node's own writes come first.
    machine.log().wait_for(
        "slot a: the next start has the arguments of this one",
        axion_e2e::SOON,
    )?;
    let before = esp_digest(&disk)?;
    refused(
        &node,
        &stranger.write(dir, "strange.efi", b"MZ")?,
        "does not trust",
    )?;
    let changed = signer.write(dir, "changed.efi", b"MZ")?;
    fs::write(&changed, b"ZM")?;
    refused(&node, &changed, "it was changed")?;
    refused(&node, &signer.write(dir, "none.efi", b"MZ")?, "no UKI of Axion")?;
    refused(
        &node,
        &signer.write(dir, "old.efi", &uki(OLD)?)?,
        "--allow-downgrade",
    )?;
    ensure!(
        esp_digest(&disk)? == before,
        "a refused image has changed the disk"
    );

    let seen = machine.log().wait_for(READY, TRIAL)?;
    node.axctl(&["update", "stage", &good.to_string_lossy(), "--reboot"])?;
    machine
        .log()
        .wait_for_after(&seen, "slot b runs, Axion 0.1.9, on trial", TRIAL)?;
    let node = machine.wait_ready_after(&seen)?;
    let seen = machine
        .log()
        .wait_for_after(&seen, "slot b is confirmed", TRIAL)?;
    let confirmed = node.poll("slot b confirmed", TRIAL, |node| {
        let status = node.call(node.client().update())?;
        Ok(match status.slot("b").map(|slot| slot.state) {
            Some(SlotState::Confirmed) => Poll::Ready(status),
            other => Poll::Pending(format!("{other:?}")),
        })
    })?;
    ensure!(confirmed.running == "b", "{confirmed:?}");
    let shown = node.axctl(&["update", "status"])?;
    ensure!(shown.contains(NEW) && shown.contains(VERSION), "{shown}");

    let back = node.axctl(&["-o", "json", "update", "rollback", "--reboot"])?;
    let back: UpdateStatus = serde_json::from_str(&back)?;
    ensure!(back.next.as_deref() == Some("a"), "{back:?}");
    machine
        .log()
        .wait_for_after(&seen, "slot a runs, Axion 0.1.0, confirmed", TRIAL)?;
    let node = machine.wait_ready_after(&seen)?;
    ensure!(
        self::status(&node)?.running == "a",
        "the version before does not run"
    );
    machine.power_button()?;
    machine.wait_exit()?;
    let found = look(&disk)?;
    let next = found.starts().map(|named| named.name.to_string());
    ensure!(next.as_deref() == Some("axion-a.conf"), "{found:?}");
    ensure!(esp_digest(&other)? == untouched, "the other disk was written");

    // Only one machine runs at a time.
    drop(machine);
    recorded.check("an update, its trial, its confirmation and the way back")?;
    recorded.cut()?;
    let machine = start(spec, &disk)?;
    machine.wait_ready()?;
    Ok(())
}

fn status(node: &Node) -> Result<UpdateStatus> {
    Ok(node.call(node.client().update())?)
}

fn refused(node: &Node, image: &Path, why: &str) -> Result<()> {
    let answer = node.try_axctl(&["update", "stage", &image.to_string_lossy()])?;
    let told = &answer.stderr;
    ensure!(
        !answer.status.success() && told.contains(why),
        "{}: {told}",
        image.display()
    );
    Ok(())
}
