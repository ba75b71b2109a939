//! A factory reset of everything, of a node that is installed and has its state on the rest of its disk: config, the config before it
//! and state are gone, and what comes up is a node that knows nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::client::Precondition;
use axion_api::volume::VolumeSpec;
use axion_e2e::SOON;
use axion_e2e::installation::down;
use axion_e2e::installed::{disk, look, open, start};
use axion_install::config;
use axion_install::fat::Volume;
use axion_install::storage::Part;
use axion_install::table;
use axion_lab::Spec;
use axion_lab::machine::READY;

/// A boot in emulation.
const BOOT: Duration = Duration::from_secs(170);
const POOL: &str = "[[storage.pools]]\nname = \"system\"\nlayout = \"stripe\"\ndisks = [\"system\"]\n";

#[test]
fn an_installed_node_forgets_everything() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let spec = Spec::new("reset-all");
    let document = spec.medium_config(&format!("hostname = \"forgetful\"\n{POOL}"));
    let disk = disk(dir.path(), &document)?;

    let machine = start(spec.clone(), &disk)?;
    let node = machine.wait_ready()?;
    machine.log().wait_for("pool `system` was made", SOON)?;
    let size = VolumeSpec::of("8MiB".parse().map_err(anyhow::Error::msg)?);
    node.call(node.client().put_volume("kept", &size, Precondition::Absent))?;
    machine
        .log()
        .wait_for("slot a: the next start has the arguments of this one", SOON)?;
    let changed = dir.path().join("axion.toml");
    std::fs::write(&changed, document.replace("forgetful", "forgetful-2"))?;
    node.axctl(&["config", "apply", &changed.to_string_lossy()])?;

    let seen = machine.log().wait_for(READY, BOOT)?;
    node.axctl(&["host", "reset", "--scope", "all", "--confirm", "forgetful"])?;
    for told in [
        "the machine config on the installed disk is taken away",
        "factory reset: the node's state on `system` is destroyed",
        "factory reset: done",
        READY,
    ] {
        machine.log().wait_for_after(&seen, told, BOOT)?;
    }
    // Nobody's token is known, so that it makes one and shows it.
    machine.screen().wait_for("First API token", SOON)?;
    machine.screen().wait_until("a name of its own", SOON, |screen| {
        screen.contains(" axion-") && !screen.contains("forgetful")
    })?;
    down(machine)?;
    let left = configs(&disk)?;
    ensure!(left == [None, None], "{left:?}");
    ensure!(look(&disk)?.starts().is_some(), "nothing starts any more");

    // It comes up so again, and forgets nothing more.
    let machine = start(spec, &disk)?;
    let ready = machine.log().wait_for(READY, BOOT)?;
    ensure!(
        machine.log().find("factory reset").is_none(),
        "the order came back: {ready:?}"
    );
    machine.screen().wait_for(" axion-", SOON)?;
    Ok(())
}

/// The present machine config on the disk, and the one before.
fn configs(disk: &Path) -> Result<[Option<Vec<u8>>; 2]> {
    let disk = open(disk)?;
    let partitions = table::read(&disk)?;
    let own = partitions.iter().find(|partition| partition.name == "AXION-CFG");
    let own = own.context("there is no AXION-CFG")?;
    let volume = Volume::open(Part::new(&disk, own.start, own.length))?;
    Ok([config::read(&volume)?, config::read_previous(&volume)?])
}
