//! Disks, network interfaces and other devices of a config.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;

use axion_api::vm::HugepageSize;
use axion_api::vmm::{BalloonConfig, ConsoleDevice, DiskConfig, MOST_NETS, NetConfig, VmmConfig};

use super::{ConfigError, value};
use crate::devices::virtio::balloon::backing::PAGE;
use crate::devices::virtio::blk::request;
use crate::devices::virtio::net::backing::parse_mac;
use crate::pci::MAX_FUNCTIONS;

/// Most disks.
const MOST_DISKS: usize = 24;
/// Context ids that a guest may have: those below are of hypervisor, loopback and host, and the last one means any.
const CIDS: RangeInclusive<u32> = 3..=u32::MAX - 1;
/// Most queues of a disk, or pairs of an interface.
const MOST_QUEUES: u16 = 32;
/// Most queues of a disk whose config says nothing.
const MOST_DEFAULT_QUEUES: u32 = 4;
/// Least MTU: what IPv4 asks of a link (RFC 791).
const LEAST_MTU: u16 = 68;
/// Most bytes of an interface's name (`IFNAMSIZ`, without the zero).
const MOST_NAME: usize = 15;

/// Queues of a disk whose config says nothing: vCPUs then rarely wait for each other.
pub fn default_queues(cpus: u32) -> u16 {
    u16::try_from(cpus.min(MOST_DEFAULT_QUEUES)).unwrap_or(1)
}

/// What can be checked without looking at the host.
pub fn check(config: &VmmConfig) -> Result<(), ConfigError> {
    if config.disks.len() > MOST_DISKS {
        let allowed = format!("at most {MOST_DISKS} disks");
        return Err(value("disks", &config.disks.len(), allowed));
    }
    if config.nets.len() > MOST_NETS {
        let allowed = format!("at most {MOST_NETS} network interfaces");
        return Err(value("nets", &config.nets.len(), allowed));
    }
    (0..)
        .zip(&config.disks)
        .try_for_each(|(number, disk)| check_disk(number, disk))?;
    (0..)
        .zip(&config.nets)
        .try_for_each(|(number, net)| check_net(number, net))?;
    if let Some(vsock) = config.vsock.filter(|vsock| !CIDS.contains(&vsock.cid)) {
        let allowed = format!("{} to {}", CIDS.start(), CIDS.end());
        return Err(value("vsock.cid", &vsock.cid, allowed));
    }
    if let Some(balloon) = &config.balloon {
        check_balloon(config, balloon)?;
    }
    let others = [
        true, // entropy
        config.console == ConsoleDevice::Virtio,
        config.vsock.is_some(),
        config.balloon.is_some(),
        config.memory.max.is_some(),
    ];
    let functions = config.disks.len() + config.nets.len() + others.iter().filter(|there| **there).count();
    if functions > MAX_FUNCTIONS {
        let allowed =
            format!("with networks and other devices at most {MAX_FUNCTIONS} PCI functions, not {functions}");
        return Err(value("disks", &config.disks.len(), allowed));
    }
    let mut taps = BTreeSet::new();
    match (0..).zip(&config.nets).find(|(_, net)| !taps.insert(&net.tap)) {
        Some((number, net)) => {
            let field = format!("nets[{number}].tap");
            let tap = format!("{:?}", net.tap);
            Err(value(field, &tap, "a device that no other interface has"))
        }
        None => Ok(()),
    }
}

fn check_balloon(config: &VmmConfig, balloon: &BalloonConfig) -> Result<(), ConfigError> {
    if config.memory.hugepages != HugepageSize::None {
        let allowed =
            "only with ordinary pages: a hugepage that is given back may be lost to another process";
        return Err(value("balloon", &"a balloon", allowed));
    }
    if balloon.size > config.memory.size || !balloon.size.is_multiple_of(PAGE) {
        let allowed = format!(
            "a multiple of {PAGE} bytes, at most the memory's {}",
            config.memory.size
        );
        return Err(value("balloon.size", &balloon.size, allowed));
    }
    Ok(())
}

fn check_disk(number: usize, disk: &DiskConfig) -> Result<(), ConfigError> {
    let field = |name: &str| format!("disks[{number}].{name}");
    if !Path::new(&disk.path).is_absolute() {
        return Err(value(
            field("path"),
            &format!("{:?}", disk.path),
            "an absolute path",
        ));
    }
    if let Some(serial) = &disk.serial {
        let printable = serial.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if serial.is_empty() || serial.len() > request::ID || !printable {
            let allowed = format!("1 to {} printable ASCII characters", request::ID);
            return Err(value(field("serial"), &format!("{serial:?}"), allowed));
        }
    }
    check_queues(disk.queues, || field("queues"))
}

fn check_net(number: usize, net: &NetConfig) -> Result<(), ConfigError> {
    let field = |name: &str| format!("nets[{number}].{name}");
    let letters = |byte: u8| byte.is_ascii_graphic() && byte != b'/' && byte != b':';
    if !(1..=MOST_NAME).contains(&net.tap.len()) || !net.tap.bytes().all(letters) {
        let allowed = format!("the name of a network device: 1 to {MOST_NAME} characters");
        return Err(value(field("tap"), &format!("{:?}", net.tap), allowed));
    }
    if parse_mac(&net.mac).is_none() {
        let allowed = "the address of one station, as 02:00:00:00:00:01";
        return Err(value(field("mac"), &format!("{:?}", net.mac), allowed));
    }
    if let Some(mtu) = net.mtu.filter(|mtu| *mtu < LEAST_MTU) {
        return Err(value(field("mtu"), &mtu, format!("{LEAST_MTU} to 65535")));
    }
    check_queues(net.queues, || field("queues"))
}

fn check_queues(queues: Option<u16>, field: impl FnOnce() -> String) -> Result<(), ConfigError> {
    match queues {
        Some(queues) if !(1..=MOST_QUEUES).contains(&queues) => {
            Err(value(field(), &queues, format!("1 to {MOST_QUEUES}")))
        }
        _ => Ok(()),
    }
}
