//! What comes over the network is installed, and firmware with Secure Boot takes from it what is signed and nothing else.
//!
//! Needs root, for its network namespace.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use axion_core::secure_boot::{Lockdown, SecureBoot, SecureBootState};
use axion_e2e::enrolment::{FIRMWARE, enrolled};
use axion_e2e::installation::{INSTALLATION, blank, down, look};
use axion_e2e::netboot::{LOADED, config_for_machine, media, serve, signed_media};
use axion_lab::machine::READY;
use axion_lab::spec::DiskBus;
use axion_lab::{Firmware, Image, Network, NetworkBoot, Node, Spec, lan};

/// Addresses that `axctl` lends.
const ONLY: [&str; 2] = ["--dhcp-range", "10.77.0.50-10.77.0.50"];
const TAP: Network = Network::Tap {
    name: lan::TAP,
    address: lan::LENT,
};
/// What OVMF says of what it fetched and does not start.
const DENIED: [&str; 2] = ["Access Denied", "Security Violation"];

#[test]
fn a_node_is_installed_over_the_network_by_bios() -> Result<()> {
    is_installed("netboot-install", Firmware::Bios)
}

#[test]
fn a_node_is_installed_over_the_network_by_uefi() -> Result<()> {
    is_installed("netboot-install-uefi", Firmware::Uefi)
}

/// The installer comes by PXE with its config, takes the one NVMe disk by its model, and leaves the other one alone; then the disk
/// starts by itself, and also where firmware goes on to prefer the network: the installer finds it installed and starts it.
fn is_installed(name: &str, firmware: Firmware) -> Result<()> {
    lan::enter()?;
    let dir = tempfile::tempdir()?;
    let (disk, other) = (dir.path().join("disk.img"), dir.path().join("other.img"));
    blank(&disk)?;
    blank(&other)?;
    let spec = Spec::new(name);
    let config = spec.medium_config(
        "hostname = \"from-the-net\"\n[install]\nafter = \"power-off\"\ndisk.model = \"QEMU NVMe Ctrl\"\n",
    );
    let configs = config_for_machine(dir.path(), &config)?;
    let arguments = [
        &ONLY[..],
        &["--configs", &configs, "--kernel-args", "axion.mode=install"],
    ]
    .concat();
    let server = serve(&media()?, dir.path(), &arguments)?;
    let machine = spec
        .clone()
        .network(TAP)
        .boot_from_card(firmware, NetworkBoot::Pxe)
        .disk(DiskBus::Virtio, &other)
        .disk(DiskBus::Nvme, &disk)
        .start(&Image::find()?)?;
    server
        .log()
        .wait_for("script, config 52-54-00-12-34-56.toml", LOADED)?;
    machine.log().wait_for("installed on nvme0n1", INSTALLATION)?;
    machine.wait_exit()?;
    drop(machine);
    ensure!(look(&other).is_err(), "the other disk was written");
    let found = look(&disk)?;
    let starts = found.starts().context("nothing starts")?;
    // What is installed is not the installer.
    ensure!(!starts.entry.options.contains("axion.mode"), "{starts:?}");

    let machine = spec
        .clone()
        .network(TAP)
        .boot_from_card(firmware, NetworkBoot::Pxe)
        .disk(DiskBus::Nvme, &disk)
        .start(&Image::find()?)?;
    let there = machine
        .log()
        .wait_for("holds Axion 0.1.0 already", INSTALLATION)?;
    machine
        .log()
        .wait_for_after(&there, "slot a runs", INSTALLATION)?;
    machine.log().wait_for_after(&there, READY, INSTALLATION)?;
    down(machine)?;
    drop(server);

    let machine = spec
        .uefi()
        .boot_from_disks()
        .disk(DiskBus::Nvme, &disk)
        .start(&Image::find()?)?;
    machine.log().wait_for("slot a runs", INSTALLATION)?;
    let node = machine.wait_ready()?;
    let hostname = node.call(node.client().host())?.hostname;
    ensure!(hostname == "from-the-net", "{hostname}");
    Ok(())
}

#[test]
fn firmware_with_secure_boot_takes_a_signed_image_by_pxe() -> Result<()> {
    starts("netboot-signed-pxe", NetworkBoot::Pxe)
}

#[test]
fn firmware_with_secure_boot_takes_a_signed_image_by_http() -> Result<()> {
    starts("netboot-signed-http", NetworkBoot::Http)
}

/// The machine comes up locked down with what was served.
fn starts(name: &str, by: NetworkBoot) -> Result<()> {
    let (dir, variables) = enrolled()?;
    lan::enter()?;
    let spec = machine(name, by, &variables);
    let config = spec.medium_config("hostname = \"signed\"\n");
    let arguments = [&ONLY[..], &["--uki"]].concat();
    let server = serve(&signed_media()?, dir.path(), &arguments)?;
    let machine = spec.config_volume(&config).start(&Image::find()?)?;
    server.log().wait_for("axion.efi  100 %", LOADED)?;
    locked_down(&machine.wait_ready()?)
}

fn locked_down(node: &Node) -> Result<()> {
    let found = node.call(node.client().host())?.secure_boot;
    let wanted = SecureBoot {
        state: SecureBootState::On,
        lockdown: Lockdown::Integrity,
    };
    ensure!(found == wanted, "{found:?}");
    Ok(())
}

/// Without `--uki` the signed iPXE comes first; its script leads to the signed image, and to no kernel that firmware would refuse.
#[test]
fn firmware_with_secure_boot_is_led_to_the_signed_image_by_ipxe() -> Result<()> {
    let (dir, variables) = enrolled()?;
    lan::enter()?;
    let spec = machine("netboot-signed-ipxe", NetworkBoot::Pxe, &variables);
    let config = spec.medium_config("hostname = \"signed\"\n");
    let server = serve(&signed_media()?, dir.path(), &ONLY)?;
    let machine = spec.config_volume(&config).start(&Image::find()?)?;
    server.log().wait_for("snponly.efi  100 %", LOADED)?;
    server.log().wait_for("axion.efi  100 %", LOADED)?;
    locked_down(&machine.wait_ready()?)
}

/// The same media without Secure Boot: the image is told its config by the script.
#[test]
fn firmware_without_secure_boot_gets_a_config_from_signed_media() -> Result<()> {
    lan::enter()?;
    let dir = tempfile::tempdir()?;
    let spec = Spec::new("netboot-signed-config")
        .network(TAP)
        .boot_from_card(Firmware::Uefi, NetworkBoot::Pxe);
    let config = spec.medium_config("hostname = \"told\"\n");
    let configs = config_for_machine(dir.path(), &config)?;
    let arguments = [&ONLY[..], &["--configs", &configs]].concat();
    let server = serve(&signed_media()?, dir.path(), &arguments)?;
    let machine = spec.start(&Image::find()?)?;
    server.log().wait_for("axion.efi  100 %", LOADED)?;
    let node = machine.wait_ready()?;
    let hostname = node.call(node.client().host())?.hostname;
    ensure!(hostname == "told", "{hostname}");
    Ok(())
}

/// What was not signed is fetched, and not started.
#[test]
fn firmware_with_secure_boot_refuses_an_image_that_is_not_signed() -> Result<()> {
    let (dir, variables) = enrolled()?;
    lan::enter()?;
    let arguments = [&ONLY[..], &["--uki"]].concat();
    let server = serve(&media()?, dir.path(), &arguments)?;
    let machine = machine("netboot-unsigned", NetworkBoot::Http, &variables).start(&Image::find()?)?;
    server.log().wait_for("axion.efi  100 %", LOADED)?;
    machine
        .screen()
        .wait_until("firmware's refusal", FIRMWARE, |screen| {
            DENIED.iter().any(|word| screen.contains(word))
        })?;
    ensure!(
        machine.log().find("Linux version").is_none(),
        "a kernel has started"
    );
    Ok(())
}

fn machine(name: &str, by: NetworkBoot, variables: &Path) -> Spec {
    Spec::new(name)
        .network(TAP)
        .boot_from_card(Firmware::Uefi, by)
        .secure_boot(variables)
}
