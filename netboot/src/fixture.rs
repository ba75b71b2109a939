//! What the tests share: media of a few bytes, machines' DHCP messages.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::sync::Arc;

use axion_core::mac::Mac;
use dhcproto::v4::{Architecture, DhcpOption, Message, MessageType, OptionCode, UnknownOption};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::event::Event;
use crate::files::{Files, Sources};
use crate::interface::Place;
use crate::nodes::Nodes;
use crate::script::Scripts;
use crate::server::Shared;
use crate::web::Web;

pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

/// The HTTP server.
pub fn web() -> Web {
    Web::plain(SocketAddrV4::new(SERVER, 8069))
}

/// The same with TLS.
pub fn secure(bios: bool) -> Web {
    Web::secure("boot.example.org", 8069, "0a".repeat(32), bios)
}
pub const MAC: Mac = Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56]);

pub const SCRIPT: &str = "#!ipxe\n# kernel vmlinuz of no meaning\n\nkernel vmlinuz console=tty0 initrd=initramfs.cpio || goto failed\n";

/// Media of a few bytes with their sums.
pub fn media() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("vmlinuz", "the kernel".repeat(1000)),
        ("initramfs.cpio", "the root".repeat(100_000)),
        ("axion.efi", "both".to_owned()),
        ("axion.ipxe", SCRIPT.to_owned()),
        ("undionly.kpxe", "ipxe".repeat(1468 / 4 * 40)),
        ("snponly.efi", "ipxe for uefi".to_owned()),
    ];
    let mut sums = String::new();
    for (name, content) in files {
        std::fs::write(dir.path().join(name), &content).unwrap();
        sums += &format!("{}  {name}\n", hex::encode(Sha256::digest(content)));
    }
    std::fs::write(dir.path().join("SHA256SUMS"), sums).unwrap();
    dir
}

/// Has the media in `dir` tell the kernel `arguments`.
pub fn tell(dir: &Path, arguments: &str) {
    edit(
        dir,
        &SCRIPT.replace("console=tty0", &format!("console=tty0 {arguments}")),
    );
}

/// Puts another script among the media in `dir`, with its sum.
pub fn edit(dir: &Path, script: &str) {
    let list = dir.join("SHA256SUMS");
    let sums = std::fs::read_to_string(&list).unwrap();
    let others = sums.lines().filter(|line| !line.ends_with("axion.ipxe"));
    let sum = format!("{}  axion.ipxe", hex::encode(Sha256::digest(script)));
    let lines: Vec<_> = others
        .chain([sum.as_str()])
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(list, lines.concat()).unwrap();
    std::fs::write(dir.join("axion.ipxe"), script).unwrap();
}

pub fn sources(dir: &Path) -> Sources {
    Sources {
        media: dir.to_owned(),
        ipxe: None,
        key: None,
        imgverify: false,
    }
}

pub fn shared(
    media: &Path,
    configs: Option<&Path>,
    address: Ipv4Addr,
) -> (Arc<Shared>, UnboundedReceiver<Event>) {
    let files = Files::open(&sources(media)).unwrap();
    let scripts = Scripts {
        web: web(),
        cmdline: files.cmdline.clone(),
        imgverify: false,
        uki: files.signed,
    };
    let (sender, receiver) = unbounded_channel();
    let nodes = configs.map(|dir| Nodes::open(dir).unwrap());
    let place = Place {
        interface: "lo".to_owned(),
        address,
        mask: Ipv4Addr::new(255, 0, 0, 0),
    };
    (
        Arc::new(Shared::new(files, nodes, scripts, place, sender)),
        receiver,
    )
}

/// What a machine says on its first try: its vendor class, its architecture, and what else.
pub fn message(kind: MessageType, class: &str, architecture: u16, more: &[DhcpOption]) -> Message {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = Message::new_with_id(0x1234, none, none, none, none, &MAC.0);
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    if !class.is_empty() {
        options.insert(DhcpOption::ClassIdentifier(class.as_bytes().to_vec()));
        options.insert(DhcpOption::ClientSystemArchitecture(Architecture::from(
            architecture,
        )));
    }
    for option in more {
        options.insert(option.clone());
    }
    message
}

/// The options of an iPXE with `features`.
pub fn ipxe(features: &[u8]) -> Vec<DhcpOption> {
    let features = features.iter().flat_map(|code| [*code, 1, 1]).collect();
    vec![
        DhcpOption::UserClass(b"iPXE".to_vec()),
        DhcpOption::Unknown(UnknownOption::new(OptionCode::from(175), features)),
    ]
}
