//! `axctl netboot serve` boots machines by every firmware, on a network of its own and beside a site's DHCP server.
//!
//! Each test is in a network namespace of its own, with a bridge that the machine, `axctl` and, where there is one, the site's
//! server are connected to. Needs root.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};

use anyhow::{Result, ensure};
use axion_e2e::SOON;
use axion_e2e::netboot::{LOADED, MAC, config_for, config_for_machine, media, serve};
use axion_lab::command::Program;
use axion_lab::deadline::Poll;
use axion_lab::{Error, Firmware, Image, Machine, Network, NetworkBoot, Node, Spec, lan, node};
use dhcproto::v4::{Architecture, DhcpOption, Message, MessageType, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

#[test]
fn a_bios_boots_on_a_network_without_a_dhcp_server() -> Result<()> {
    let boot = Serve::start("netboot-bios", Firmware::Bios, NetworkBoot::Pxe, &ONLY)?;
    boot.ends_ready("boots http://10.77.0.1:8069/boot.ipxe")
}

#[test]
fn a_bios_boots_beside_the_site_s_dhcp_server() -> Result<()> {
    let boot = Serve::start("netboot-bios-proxy", Firmware::Bios, NetworkBoot::Pxe, &BESIDE)?;
    boot.ends_ready("boots http://10.77.0.1:8069/boot.ipxe")
}

#[test]
fn uefi_boots_on_a_network_without_a_dhcp_server() -> Result<()> {
    let boot = Serve::start("netboot-uefi", Firmware::Uefi, NetworkBoot::Pxe, &ONLY)?;
    boot.ends_ready("snponly.efi  100 %")
}

#[test]
fn uefi_boots_beside_the_site_s_dhcp_server() -> Result<()> {
    let boot = Serve::start("netboot-uefi-proxy", Firmware::Uefi, NetworkBoot::Pxe, &BESIDE)?;
    boot.ends_ready("snponly.efi  100 %")
}

#[test]
fn uefi_boots_by_http_beside_the_site_s_dhcp_server() -> Result<()> {
    let boot = Serve::start("netboot-http", Firmware::Uefi, NetworkBoot::Http, &UNTOLD)?;
    boot.ends_ready("axion.efi  100 %")
}

#[test]
fn uefi_boots_by_http_with_a_config_of_its_own() -> Result<()> {
    let boot = Serve::start("netboot-http-ipxe", Firmware::Uefi, NetworkBoot::Http, &ONLY)?;
    boot.ends_ready("snponly.efi  100 %")
}

#[test]
fn a_bios_machine_is_known_by_its_uuid() -> Result<()> {
    const UUID: &str = "6f1c7a6e-3c0d-4f4e-9a51-1d2f3a4b5c6d";
    known_as(UUID, Spec::new("netboot-uuid").uuid(UUID), Firmware::Bios)
}

#[test]
fn a_uefi_machine_is_known_by_its_serial_number() -> Result<()> {
    known_as(
        "AX-17-3",
        Spec::new("netboot-serial").serial("AX 17/3"),
        Firmware::Uefi,
    )
}

/// The machine gets the config of that name, and not the one for all others.
fn known_as(name: &str, spec: Spec, firmware: Firmware) -> Result<()> {
    lan::enter()?;
    let dir = tempfile::tempdir()?;
    let tap = Network::Tap {
        name: lan::TAP,
        address: lan::LENT,
    };
    let spec = spec.network(tap).boot_from_card(firmware, NetworkBoot::Pxe);
    let config = |hostname: &str| spec.medium_config(&format!("hostname = \"{hostname}\"\n"));
    config_for(dir.path(), "default", &config("another"))?;
    let configs = config_for(dir.path(), name, &config(&spec.name))?;
    let arguments = [ONLY.arguments, &["--configs", &configs]].concat();
    let server = serve(&media()?, dir.path(), &arguments)?;
    let machine = spec.start(&Image::find()?)?;
    server
        .log()
        .wait_for(&format!("script, config {name}.toml"), LOADED)?;
    let node = machine.wait_ready()?;
    named(&node, &machine.spec().name)
}

#[test]
fn a_network_card_gets_the_answers_that_its_firmware_wants() -> Result<()> {
    lan::enter()?;
    let media = media()?;
    let dir = tempfile::tempdir()?;
    let mut server = serve(&media, dir.path(), &[])?;
    let loader = lan::beside("card0", Ipv4Addr::new(10, 77, 0, 9), || {
        let answer = discover()?;
        Ok((answer, tftp("undionly.kpxe")?, http("/boot.ipxe")?))
    });
    let (answer, loader, script) = loader?;
    ensure!(
        answer.yiaddr().is_unspecified(),
        "a proxy gave an address: {answer:?}"
    );
    ensure!(answer.siaddr() == lan::HERE, "{answer:?}");
    ensure!(
        answer
            .fname()
            .is_some_and(|name| name.starts_with(b"undionly.kpxe")),
        "{answer:?}"
    );
    let class = answer.opts().get(OptionCode::ClassIdentifier);
    ensure!(
        class == Some(&DhcpOption::ClassIdentifier(b"PXEClient".to_vec())),
        "{answer:?}"
    );
    let sums = std::fs::read_to_string(media.join("SHA256SUMS"))?;
    let sum = hex::encode(Sha256::digest(&loader));
    ensure!(
        sums.contains(&format!("{sum}  undionly.kpxe")),
        "TFTP gave {} other bytes",
        loader.len()
    );
    ensure!(script.contains("\r\n\r\n#!ipxe\n"), "{script}");
    server.log().wait_for("undionly.kpxe  100 %", SOON)?;
    // All ports are free again: it can be started at once.
    ensure!(server.interrupt(SOON)?.success(), "an interrupt is no failure");
    serve(&media, dir.path(), &[])?;
    Ok(())
}

#[test]
fn what_keeps_it_from_serving_is_said() -> Result<()> {
    lan::enter()?;
    let (media, dir) = (media()?, tempfile::tempdir()?);
    let refused = |arguments: &[&str]| -> Result<String> {
        let mut command = node::axctl()?;
        command.args(["netboot", "serve"]).arg(&media).args(arguments);
        let output = axion_lab::command::run(&mut command, SOON)?;
        ensure!(!output.status.success(), "{arguments:?} was accepted");
        Ok(output.stderr)
    };
    let text = refused(&["--interface", "eth7"])?;
    ensure!(
        text.contains("no network interface `eth7`; there are: axbr0 (10.77.0.1/24)"),
        "{text}"
    );
    let text = refused(&["--interface", lan::BRIDGE, "--dhcp-range", "10.78.0.5-10.78.0.9"])?;
    ensure!(text.contains("not in a network of the interface"), "{text}");
    let text = refused(&["--interface", lan::BRIDGE, "--ipxe", "/nonexistent"])?;
    ensure!(
        text.contains("undionly.kpxe (iPXE for BIOS), snponly.efi (iPXE for UEFI) missing"),
        "{text}"
    );
    let _first = serve(&media, dir.path(), &[])?;
    let text = refused(&["--interface", lan::BRIDGE])?;
    ensure!(text.contains("port 67/udp (DHCP) is in use on axbr0"), "{text}");
    ensure!(text.contains("ss -ulnp 'sport = 67'"), "{text}");
    Ok(())
}

/// Who gives addresses.
struct Site {
    /// A server of the site's.
    beside: bool,
    arguments: &'static [&'static str],
    /// The machine's config comes over the network; else it is on a volume, since the UKI is told nothing.
    config: bool,
}

const ONLY: Site = Site {
    beside: false,
    config: true,
    arguments: &["--dhcp-range", "10.77.0.50-10.77.0.50"],
};
const BESIDE: Site = Site {
    beside: true,
    config: true,
    arguments: &[],
};
const UNTOLD: Site = Site {
    beside: true,
    config: false,
    arguments: &[],
};

/// A machine that boots from `axctl`.
struct Serve {
    machine: Machine,
    server: Program,
    _site: Option<Program>,
    _dir: TempDir,
}

impl Serve {
    fn start(name: &str, firmware: Firmware, by: NetworkBoot, site: &Site) -> Result<Self> {
        lan::enter()?;
        let dir = tempfile::tempdir()?;
        let tap = Network::Tap {
            name: lan::TAP,
            address: lan::LENT,
        };
        let mut spec = Spec::new(name).network(tap).boot_from_card(firmware, by);
        let config = spec.medium_config(&format!("hostname = \"{name}\"\n"));
        let mut arguments = site.arguments.to_vec();
        let configs;
        if site.config {
            configs = config_for_machine(dir.path(), &config)?;
            arguments.extend(["--configs", &configs]);
        } else {
            spec = spec.config_volume(&config);
        }
        let beside = site.beside.then(|| lan::site_dhcp(dir.path(), MAC)).transpose()?;
        let server = serve(&media()?, dir.path(), &arguments)?;
        let machine = spec.start(&Image::find()?)?;
        Ok(Self {
            machine,
            server,
            _site: beside,
            _dir: dir,
        })
    }

    /// The machine gets what `step` says and comes up with its config.
    fn ends_ready(self, step: &str) -> Result<()> {
        let line = self.server.log().wait_for(step, LOADED)?;
        ensure!(line.text.contains(MAC), "whose step? {}", line.text);
        let node = self.machine.wait_ready()?;
        named(&node, &self.machine.spec().name)
    }
}

/// The agent listens before it has found init, and answers this call only then.
fn named(node: &Node, name: &str) -> Result<()> {
    node.poll(&format!("host name {name}"), SOON, |node| {
        let hostname = node.call(node.client().host())?.hostname;
        Ok(if hostname == name {
            Poll::Ready(())
        } else {
            Poll::Pending(hostname)
        })
    })?;
    Ok(())
}

type Lab<T> = axion_lab::Result<T>;

fn failed(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    Error::io(what, "the servers")
}

/// What a BIOS is answered that has no address yet.
fn discover() -> Lab<Message> {
    let socket = UdpSocket::bind("0.0.0.0:68").map_err(failed("ask"))?;
    socket.set_broadcast(true).map_err(failed("ask"))?;
    socket.set_read_timeout(Some(SOON)).map_err(failed("ask"))?;
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(7, none, none, none, none, &[0x52, 0x54, 0, 0x12, 0x34, 0x57]);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(MessageType::Discover));
    options.insert(DhcpOption::ClassIdentifier(
        b"PXEClient:Arch:00000:UNDI:002001".to_vec(),
    ));
    options.insert(DhcpOption::ClientSystemArchitecture(Architecture::from(0)));
    let bytes = message
        .to_vec()
        .map_err(|e| failed("ask")(std::io::Error::other(e)))?;
    socket
        .send_to(&bytes, "255.255.255.255:67")
        .map_err(failed("ask"))?;
    let mut buffer = [0; 1500];
    let (length, _) = socket.recv_from(&mut buffer).map_err(failed("hear"))?;
    Message::decode(&mut Decoder::new(buffer.get(..length).unwrap_or_default()))
        .map_err(|e| failed("understand")(std::io::Error::other(e)))
}

/// A file by TFTP, block by block.
fn tftp(name: &str) -> Lab<Vec<u8>> {
    let socket = UdpSocket::bind("0.0.0.0:0").map_err(failed("ask"))?;
    socket.set_read_timeout(Some(SOON)).map_err(failed("ask"))?;
    let request = [b"\0\x01", name.as_bytes(), b"\0octet\0"].concat();
    socket
        .send_to(&request, SocketAddr::from((lan::HERE, 69)))
        .map_err(failed("ask"))?;
    let (mut content, mut buffer) = (Vec::new(), [0; 600]);
    loop {
        let (length, peer) = socket.recv_from(&mut buffer).map_err(failed("hear"))?;
        let Some([0, 3, high, low, data @ ..]) = buffer.get(..length) else {
            return Err(failed("understand")(std::io::ErrorKind::InvalidData.into()));
        };
        content.extend_from_slice(data);
        socket
            .send_to(&[0, 4, *high, *low], peer)
            .map_err(failed("confirm to"))?;
        if data.len() < 512 {
            return Ok(content);
        }
    }
}

/// A page by HTTP, with its head.
fn http(path: &str) -> Lab<String> {
    let mut stream = TcpStream::connect((lan::HERE, 8069)).map_err(failed("connect to"))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", lan::HERE);
    stream.write_all(request.as_bytes()).map_err(failed("ask"))?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(failed("hear"))?;
    Ok(text)
}
