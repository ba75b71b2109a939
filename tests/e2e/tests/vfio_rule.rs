//! A device that a rule of the profile keeps for VMs is with its own driver again once the rule is taken out of the config.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use axion_api::host::PowerAction;
use axion_core::profile::ItemState;
use axion_e2e::installation::{INSTALLATION, down};
use axion_e2e::installed::{disk, start_beside};
use axion_lab::machine::READY;
use axion_lab::{Iommu, Machine, Node, Spec};

/// The lab's name of the second disk.
const SERIAL: &str = "axion-1";
const HOST: &str = "nvme";
const VMS: &str = "vfio-pci";

#[test]
fn a_device_whose_rule_is_taken_out_is_the_hosts_again() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let spec = Spec::new("vfio-rule").iommu(Iommu::Intel);
    let boot = disk(dir.path(), &spec.medium_config(""))?;
    let device = dir.path().join("device.img");
    File::create(&device)?.set_len(64 << 20)?;
    let machine = start_beside(spec, &boot, &[&device])?;
    machine.log().wait_for(READY, INSTALLATION)?;
    let node = machine.wait_ready()?;
    let address = address(&node)?.context("the node has no second disk")?;
    ensure!(driver(&node, &address)?.as_deref() == Some(HOST));

    let rule = format!("profile.vfio = [{{ device = \"{address}\" }}]\n");
    let node = restarted_with(&machine, &node, &rule, dir.path())?;
    ensure!(driver(&node, &address)?.as_deref() == Some(VMS));
    ensure!(self::address(&node)?.is_none(), "the host has the disk as well");
    is_in_force(&node, true)?;

    let node = restarted_with(&machine, &node, "", dir.path())?;
    ensure!(driver(&node, &address)?.as_deref() == Some(HOST));
    ensure!(
        self::address(&node)?.as_ref() == Some(&address),
        "the host has a driver for the disk, and not the disk"
    );
    is_in_force(&node, false)?;
    down(machine)
}

/// Gives the node another config and restarts it. Until then, devices stay with whom they are.
fn restarted_with(machine: &Machine, node: &Node, toml: &str, dir: &Path) -> Result<Node> {
    let drivers = |node: &Node| -> Result<Vec<_>> {
        let devices = node.call(node.client().devices())?.into_iter();
        Ok(devices
            .map(|device| (device.function.address, device.function.driver))
            .collect())
    };
    let before = drivers(node)?;
    let file = dir.join("axion.toml");
    fs::write(&file, machine.spec().medium_config(toml))?;
    let told = node.axctl(&["config", "apply", &file.to_string_lossy()])?;
    ensure!(told.contains("is replaced"), "{told}");
    ensure!(
        drivers(node)? == before,
        "a device changed hands while the node runs"
    );
    let seen = machine.log().last().context("the log is empty")?;
    node.call(node.client().power(PowerAction::Reboot))?;
    Ok(machine.wait_ready_after(&seen)?)
}

/// The function that the second disk hangs on; none where the host does not have it.
fn address(node: &Node) -> Result<Option<String>> {
    let disks = node.call(node.client().host())?.topology.disks;
    let disk = disks.iter().find(|disk| disk.serial.as_deref() == Some(SERIAL));
    Ok(disk.and_then(|disk| Some(disk.pci.as_deref()?.to_owned())))
}

fn driver(node: &Node, address: &str) -> Result<Option<String>> {
    let devices = node.call(node.client().devices())?;
    let device = devices.iter().find(|device| device.function.address == address);
    Ok(device
        .with_context(|| format!("no {address} in {devices:?}"))?
        .function
        .driver
        .clone())
}

/// Everything is as planned, and a device is kept for VMs only where one should be.
fn is_in_force(node: &Node, kept: bool) -> Result<()> {
    let profile = node.call(node.client().profile())?;
    let items = &profile.attestation.items;
    let wrong: Vec<_> = items.iter().filter(|item| item.state != ItemState::Ok).collect();
    ensure!(wrong.is_empty(), "{wrong:?}");
    let is_kept = items.iter().any(|item| item.key.starts_with("vfio."));
    let is_translated = items.iter().any(|item| item.key == "cmdline.iommu");
    ensure!((is_kept, is_translated) == (kept, kept), "{items:?}");
    node.axctl(&["profile", "show", "--check"])?;
    Ok(())
}
