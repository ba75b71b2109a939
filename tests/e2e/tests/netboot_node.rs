//! A node boots other machines, as its machine config says: a diskless one on a network of its own, and an installed one beside a
//! site's DHCP server. Two machines run at once, on a bridge in a network namespace. Needs root.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axion_api::host::UnitState;
use axion_api::netboot::{Netboot, NetbootState, NetbootStepKind};
use axion_e2e::{SOON, installed};
use axion_lab::deadline::Poll;
use axion_lab::machine::READY;
use axion_lab::{Firmware, Image, Machine, Network, NetworkBoot, Node, Spec, lan};

/// MAC address of the machine that boots; the server has another one.
const MAC: &str = "52:54:00:12:34:56";
const SERVER_MAC: &str = "52:54:00:12:34:57";
/// Address of the server.
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);
/// The server's own image is read, checked and put into memory, in emulation.
const PREPARED: Duration = Duration::from_secs(120);
/// Firmware, loaders and the kernel's own start, with another machine beside.
const LOADED: Duration = Duration::from_secs(300);

/// What the server is told besides.
fn config(netboot: &str) -> String {
    format!(
        "[netboot]\ninterface = \"eth0\"\n{netboot}\n\
         [[network.interfaces]]\nmatch.name = \"eth0\"\naddresses = [\"{SERVER}/24\"]\n"
    )
}

fn server(name: &str) -> Spec {
    let network = Network::Tap {
        name: lan::SECOND_TAP,
        address: SERVER,
    };
    Spec::new(name).network(network).mac(SERVER_MAC)
}

/// A machine that boots from its network, and the config that makes it known there.
fn client(name: &str, firmware: Firmware) -> (Spec, String) {
    let network = Network::Tap {
        name: lan::TAP,
        address: lan::LENT,
    };
    let spec = Spec::new(name).network(network).mac(MAC).beside_others();
    let spec = spec.boot_from_card(firmware, NetworkBoot::Pxe);
    let config = spec.medium_config(&format!("hostname = \"{name}\"\n"));
    (spec, config)
}

#[test]
fn a_diskless_node_boots_a_machine_on_a_network_of_its_own() -> Result<()> {
    lan::enter()?;
    lan::port(lan::SECOND_TAP)?;
    let image = Image::find()?;
    let dir = tempfile::tempdir()?;
    // As loaders put it together.
    let initramfs = dir.path().join("initramfs.cpio");
    fs::write(
        &initramfs,
        [fs::read(image.initramfs())?, fs::read(image.kexec()?)?].concat(),
    )?;
    let netboot = format!("dhcp_range = \"{0}-{0}\"", lan::LENT);
    let spec = server("netboot-node").initramfs(&initramfs);
    let machine = spec.config_with_token(&config(&netboot)).start(&image)?;
    let node = machine.wait_ready()?;
    let status = serves(&node)?;
    ensure!(
        status.server.dhcp_range.is_some() && status.server.address.as_deref() == Some("10.77.0.3"),
        "{status:?}"
    );
    it_is_the_medium_s_image(&status, &image)?;
    the_server_is_apart(&node)?;

    let (spec, its_config) = client("netboot-by-node", Firmware::Bios);
    put_config(&node, dir.path(), &MAC.replace(':', "-"), &its_config)?;
    let booted = spec.start(&image)?;
    comes_up(&machine, &booted, "boots http://10.77.0.3:8069/boot.ipxe")?;

    let status = node.call(node.client().netboot())?;
    let did = |kind, text: &str| {
        let mut steps = status
            .steps
            .iter()
            .filter(|step| step.mac.as_deref() == Some(MAC));
        steps.any(|step| step.step == kind && step.text == text)
    };
    ensure!(
        did(NetbootStepKind::Transfer, "initramfs.cpio  100 %")
            && did(NetbootStepKind::Config, "config 52-54-00-12-34-56.toml"),
        "{:?}",
        status.steps
    );
    let shown = node.axctl(&["netboot", "status"])?;
    ensure!(
        shown.contains("serving") && shown.contains("vmlinuz  100 %"),
        "{shown}"
    );
    Ok(())
}

#[test]
fn an_installed_node_boots_a_machine_beside_the_site_s_dhcp_server() -> Result<()> {
    lan::enter()?;
    lan::port(lan::SECOND_TAP)?;
    let dir = tempfile::tempdir()?;
    let spec = server("netboot-installed");
    let disk = installed::disk(dir.path(), &spec.medium_config(&config("")))?;
    let machine = installed::start(spec, &disk)?;
    let node = machine.wait_ready()?;
    let status = serves(&node)?;
    ensure!(
        status
            .server
            .image
            .as_deref()
            .is_some_and(|image| image.starts_with("slot a")),
        "{status:?}"
    );
    let _site = lan::site_dhcp(dir.path(), MAC)?;
    let (spec, its_config) = client("netboot-by-installed", Firmware::Uefi);
    put_config(&node, dir.path(), "default", &its_config)?;
    let booted = spec.start(&Image::find()?)?;
    comes_up(&machine, &booted, "snponly.efi  100 %")
}

#[test]
fn a_start_that_left_no_kernel_says_so() -> Result<()> {
    lan::enter()?;
    lan::port(lan::SECOND_TAP)?;
    // The lab's loader reads the initramfs alone.
    let spec = server("netboot-nothing").config_with_token(&config(""));
    let machine = spec.start(&Image::find()?)?;
    let node = machine.wait_ready()?;
    let status = node.call(node.client().netboot())?;
    ensure!(status.server.state == NetbootState::Failed, "{status:?}");
    let detail = status.server.detail.unwrap_or_default();
    ensure!(detail.contains("left no kernel to serve"), "{detail}");
    machine
        .log()
        .wait_for("boot-server: this start left no kernel to serve", SOON)?;
    Ok(())
}

/// Waits until the node serves.
fn serves(node: &Node) -> Result<Netboot> {
    Ok(node.poll("the boot server", PREPARED, |node| {
        let status = node.call(node.client().netboot())?;
        Ok(match status.server.state {
            NetbootState::Serving => Poll::Ready(status),
            _ => Poll::Pending(format!("{:?}", status.server)),
        })
    })?)
}

/// What a diskless node puts together is what the build made of the same parts, to the byte.
fn it_is_the_medium_s_image(status: &Netboot, image: &Image) -> Result<()> {
    let script = image.medium("axion.ipxe")?;
    let sums = script
        .parent()
        .context("the script is in no directory")?
        .join("SHA256SUMS");
    let sums = fs::read_to_string(sums)?;
    let mut files = status.server.files.iter();
    let served = files
        .find(|file| file.name == "axion.efi")
        .context("no axion.efi")?;
    ensure!(
        sums.contains(&format!("{}  axion.efi", served.sha256)),
        "{served:?}, and the media have\n{sums}"
    );
    Ok(())
}

/// The process that answers the wire is a unit of its own.
fn the_server_is_apart(node: &Node) -> Result<()> {
    let units = node.call(node.client().units())?;
    let mut servers = units.iter().filter(|unit| unit.name == "netboot");
    let server = servers.next().context("there is no unit `netboot`")?;
    ensure!(server.state == UnitState::Running, "{server:?}");
    let processes = node.call(node.client().processes())?;
    let mut own = processes.iter().filter(|process| Some(process.pid) == server.pid);
    let process = own.next().context("the unit has no process")?;
    ensure!(process.cgroup == "/axion.slice/netboot", "{process:?}");
    Ok(())
}

fn put_config(node: &Node, dir: &Path, name: &str, config: &str) -> Result<()> {
    let file = dir.join("machine.toml");
    fs::write(&file, config)?;
    node.axctl(&["netboot", "config", "put", name, &file.to_string_lossy()])?;
    let listed = node.axctl(&["netboot", "config", "list"])?;
    ensure!(listed.contains(name), "{listed}");
    Ok(())
}

/// The machine gets what `step` says, and comes up with the config that the node has for it.
fn comes_up(server: &Machine, booted: &Machine, step: &str) -> Result<()> {
    let line = server.log().wait_for(step, LOADED)?;
    ensure!(line.text.contains(MAC), "whose step? {}", line.text);
    booted.log().wait_for(READY, LOADED)?;
    let node = booted.wait_ready()?;
    let name = &booted.spec().name;
    node.poll(&format!("host name {name}"), SOON, |node| {
        let hostname = node.call(node.client().host())?.hostname;
        Ok(if hostname == *name {
            Poll::Ready(())
        } else {
            Poll::Pending(hostname)
        })
    })?;
    Ok(())
}
