//! A node on two system disks survives the loss of the first: it is installed on both without a question, what is changed is on
//! both, it starts from the second alone and says so, takes a blank third disk in the place of the lost one, and starts from that one
//! alone, by the other firmware, with all that was changed meanwhile. Its state lies in a pool that does the same.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use axion_api::storage::Health;
use axion_api::update::{MirrorPlan, MirrorState, MirrorStatus, UpdateStatus};
use axion_e2e::SOON;
use axion_e2e::installation::{
    INSTALLATION, blank, down, installer_beside, look, open, start, start_with_second,
};
use axion_install::config;
use axion_install::fat::Volume;
use axion_install::inspect;
use axion_install::mirror::{self, Record, may_follow};
use axion_install::storage::Part;
use axion_install::table;
use axion_lab::deadline::Poll;
use axion_lab::machine::READY;
use axion_lab::{Firmware, Machine, Node, Spec};

/// A pool on what the installation leaves of both disks.
const POOL: &str = "[storage]\nsettle = \"3s\"\n[[storage.pools]]\nname = \"tank\"\nlayout = \"mirror\"\ndisks = [\"system\"]\n";

#[test]
fn a_node_on_two_disks_survives_the_loss_of_one() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let [first, second, third] =
        ["first", "second", "third"].map(|name| dir.path().join(format!("{name}.img")));
    for disk in [&first, &second, &third] {
        blank(disk)?;
    }
    let spec = Spec::new("mirror");
    let named = |hostname: &str| spec.medium_config(&format!("hostname = \"{hostname}\"\n{POOL}"));
    install(&first, &second, dir.path(), &named("installed"))?;

    let machine = start_with_second("mirror-both", Firmware::Uefi, first.as_path(), Some(&second))?;
    let node = ready(&machine, &spec)?;
    in_sync(&node)?;
    machine.log().wait_for("pool `tank` was made", SOON)?;
    keeps_its_state(&node)?;
    let fingerprint = node.fingerprint();
    apply(&node, dir.path(), &named("mirrored"))?;
    down(machine)?;
    ensure!(config_on(&first)? == named("mirrored"), "not applied");
    ensure!(
        config_on(&second)? == named("mirrored"),
        "the second disk did not follow"
    );

    // The first disk is gone.
    let machine = start("mirror-second", Firmware::Uefi, second.as_path())?;
    machine.log().wait_for("slot a runs", INSTALLATION)?;
    let node = ready(&machine, &spec)?;
    ensure!(node.call(node.client().host())?.hostname == "mirrored");
    machine.log().wait_for("system disk mirror degraded", SOON)?;
    let status = mirror_when(&node, MirrorState::Degraded)?;
    ensure!(status.why.as_deref() == Some("it is not there"), "{status:?}");
    let shown = node.axctl(&["update", "status"])?;
    ensure!(
        shown.contains("degraded: it is not there") && shown.contains("serial:axion-0"),
        "{shown}"
    );
    keeps_its_state(&node)?;
    apply(&node, dir.path(), &named("alone"))?;
    down(machine)?;

    let machine = start_with_second("mirror-third", Firmware::Uefi, second.as_path(), Some(&third))?;
    let node = ready(&machine, &spec)?;
    ensure!(node.call(node.client().host())?.hostname == "alone");
    add(&node)?;
    in_sync(&node)?;
    bring_the_pool_to(&node)?;
    down(machine)?;
    let [own, other] = [record(&second)?, record(&third)?];
    ensure!(may_follow(&own, Some(&other)).is_ok(), "{own:?} {other:?}");
    // The lost one is no part of it any more, and is not overwritten if it comes back.
    ensure!(may_follow(&own, Some(&record(&first)?)).is_err(), "{own:?}");

    let machine = start("mirror-third-alone", Firmware::Bios, third.as_path())?;
    machine.log().wait_for("slot a runs", INSTALLATION)?;
    let node = ready(&machine, &spec)?;
    ensure!(node.call(node.client().host())?.hostname == "alone");
    mirror_when(&node, MirrorState::Degraded)?;
    keeps_its_state(&node)?;
    ensure!(
        node.fingerprint() == fingerprint,
        "the agent made itself another CA"
    );
    // Who wants no other disk is not told of one any more.
    node.axctl(&["update", "mirror", "forget", "--yes"])?;
    let mirror = node.call(node.client().update())?.mirror;
    ensure!(mirror.is_none(), "{mirror:?}");
    down(machine)?;
    Ok(())
}

fn keeps_its_state(node: &Node) -> Result<()> {
    let host = node.call(node.client().host())?;
    ensure!(host.persistent_state, "{host:?}");
    Ok(())
}

/// The part of the disk that was added takes the place of the lost one's in the pool.
fn bring_the_pool_to(node: &Node) -> Result<()> {
    let pool = node.call(node.client().pool("tank"))?;
    let devices = pool.vdevs.iter().flat_map(|vdev| &vdev.children);
    let lost = devices.clone().find(|device| device.state != Health::Online);
    let lost = lost.with_context(|| format!("no device is lost: {pool:?}"))?;
    node.axctl(&["pool", "replace", "tank", &lost.guid, "system"])?;
    node.poll("a whole pool", INSTALLATION, |node| {
        let pool = node.call(node.client().pool("tank"))?;
        let devices = pool.vdevs.iter().flat_map(|vdev| &vdev.children);
        let whole =
            devices.clone().count() == 2 && devices.clone().all(|device| device.state == Health::Online);
        Ok(if whole && pool.state == Health::Online {
            Poll::Ready(())
        } else {
            Poll::Pending(format!("{pool:?}"))
        })
    })?;
    Ok(())
}

fn install(first: &Path, second: &Path, dir: &Path, config: &str) -> Result<()> {
    let config = format!(
        "{config}[install]\nafter = \"power-off\"\ndisk.serial = \"axion-0\"\nmirror.serial = \"axion-1\"\n"
    );
    let machine = installer_beside(
        "mirror-install",
        Firmware::Uefi,
        first,
        &[second.to_owned()],
        dir,
        &config,
    )?;
    machine.log().wait_for("installed on nvme", INSTALLATION)?;
    machine.wait_exit()?;
    drop(machine);
    let [own, other] = [record(first)?, record(second)?];
    ensure!(may_follow(&own, Some(&other)).is_ok(), "{own:?} {other:?}");
    for disk in [first, second] {
        let found = look(disk)?;
        ensure!(found.starts().is_some(), "{found:?}");
        let on_bios = found.bios.as_ref().and_then(|bios| bios.starts());
        ensure!(on_bios.is_some(), "{found:?}");
    }
    Ok(())
}

fn ready(machine: &Machine, spec: &Spec) -> Result<Node> {
    machine.log().wait_for(READY, INSTALLATION)?;
    Ok(machine.node(&spec.token)?)
}

fn mirror_when(node: &Node, state: MirrorState) -> Result<MirrorStatus> {
    Ok(node.poll("the state of the mirror", INSTALLATION, |node| {
        let status = node.call(node.client().update())?;
        Ok(match status.mirror {
            Some(mirror) if mirror.state == state => Poll::Ready(mirror),
            other => Poll::Pending(format!("{other:?}")),
        })
    })?)
}

fn in_sync(node: &Node) -> Result<()> {
    let status = mirror_when(node, MirrorState::InSync)?;
    ensure!(
        status.started.contains("serial:axion-0") && status.other.contains("serial:axion-1"),
        "{status:?}"
    );
    Ok(())
}

fn apply(node: &Node, dir: &Path, config: &str) -> Result<()> {
    let file = dir.join("axion.toml");
    fs::write(&file, config)?;
    let told = node.axctl(&["config", "apply", &file.to_string_lossy()])?;
    ensure!(told.contains("is replaced"), "{told}");
    Ok(())
}

/// A wrong word and the disk that runs are refused; the word of the plan is taken.
fn add(node: &Node) -> Result<()> {
    let refused = node.try_axctl(&["update", "mirror", "add", "serial:axion-1", "--word", "qqqq"])?;
    ensure!(
        !refused.status.success() && refused.stderr.contains("is not the word of this plan"),
        "{}",
        refused.stderr
    );
    let refused = node.try_axctl(&["update", "mirror", "add", "serial:axion-0", "--dry-run"])?;
    ensure!(
        !refused.status.success() && refused.stderr.contains("started from"),
        "{}",
        refused.stderr
    );
    let plan = [
        "-o",
        "json",
        "update",
        "mirror",
        "add",
        "serial:axion-1",
        "--dry-run",
    ];
    let plan: MirrorPlan = serde_json::from_str(&node.axctl(&plan)?)?;
    ensure!(plan.text.contains("serial \"axion-1\""), "{plan:?}");
    let add = [
        "-o",
        "json",
        "update",
        "mirror",
        "add",
        "serial:axion-1",
        "--word",
        &plan.token,
    ];
    let status: UpdateStatus = serde_json::from_str(&node.axctl(&add)?)?;
    let state = status.mirror.as_ref().map(|mirror| mirror.state);
    ensure!(state == Some(MirrorState::InSync), "{status:?}");
    Ok(())
}

fn record(disk: &Path) -> Result<Record> {
    let disk = open(disk)?;
    let esp = inspect::open(&disk)?;
    mirror::read(esp.volume())?.context("the disk has no record of a mirror")
}

fn config_on(disk: &Path) -> Result<String> {
    let disk = open(disk)?;
    let partitions = table::read(&disk)?;
    let config = partitions.first().context("no partition")?;
    let volume = Volume::open(Part::new(&disk, config.start, config.length))?;
    let text = config::read(&volume)?.context("no machine config")?;
    Ok(String::from_utf8(text)?)
}
