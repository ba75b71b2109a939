//! What connects guests: bridges, and the taps that are their ports.
//!
//! The agent asks for bridges; taps come and go with units. One thread does it through rtnetlink, one request at a time
//! and in order: the kernel's lock may be held by a driver for a second, and PID 1 must not stand still meanwhile; and a
//! tap of a unit that starts again is removed before it is made anew. The thread is started by the first request.
//!
//! [`bridge`] makes bridges, [`tap`] makes taps; what may be asked for is checked here.

mod bridge;
mod tap;

use std::net::IpAddr;
use std::sync::OnceLock;

use axion_api::init::{Bridge, Tap};
use axion_core::mac::Mac;
use futures_util::TryStreamExt;
use rtnetlink::Handle;
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use tokio::sync::{mpsc, oneshot};

use super::plan::parse_address;
use crate::files;
use crate::log::Log;

/// Names of bridges start with this.
const BRIDGE_PREFIX: &str = "ax-";
/// Longest name of an interface, bytes (IFNAMSIZ less the NUL).
const LONGEST_NAME: usize = 15;
/// MTUs that guests' networks may have, bytes: what IPv4 asks for, and jumbo frames.
const MTUS: std::ops::RangeInclusive<u32> = 576..=9216;

/// Why guests cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// A bridge's name.
    #[error("`{0}` is no bridge's name; allowed is `ax-` and 1 to 12 of a-z, 0-9 and `-`")]
    BridgeName(String),
    /// An MTU.
    #[error("an MTU of {0}; allowed are {min} to {max}", min = MTUS.start(), max = MTUS.end())]
    Mtu(u32),
    /// An address.
    #[error("`{0}` is no address of a host with its prefix length, as in `10.1.0.1/24`")]
    Address(String),
    /// No such uplink.
    #[error("there is no Ethernet interface `{0}` on this machine")]
    NoUplink(String),
    /// The uplink belongs to something else.
    #[error("`{0}` is a port of another bridge or bond already")]
    UplinkTaken(String),
    /// The node is reached by it.
    #[error(
        "`{name}` carries {addresses}, by which this node may be reached: as an uplink it would lose them. Choose another \
         interface; or have the network keep the node reachable, by its `address` or by an entry for `{bridge}` in the \
         machine config's `network.interfaces`, and force it"
    )]
    Management {
        /// The interface.
        name: String,
        /// Its addresses.
        addresses: String,
        /// The bridge that was to have it.
        bridge: String,
    },
    /// Something else has the name.
    #[error("`{0}` is an interface that is no bridge")]
    NotABridge(String),
    /// A tap's bridge.
    #[error("there is no bridge `{0}`")]
    NoBridge(String),
    /// The tap.
    #[error("cannot make the tap {name}")]
    Tap {
        /// Its name.
        name: String,
        /// Why.
        source: std::io::Error,
    },
    /// A netlink request.
    #[error("cannot {action}")]
    Request {
        /// What was asked for.
        action: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
    /// The thread.
    #[error("cannot start the thread that connects guests")]
    Thread(#[source] std::io::Error),
    /// The thread is gone.
    #[error("the thread that connects guests has ended")]
    Gone,
}

impl SwitchError {
    /// Whether the request is at fault, rather than the system.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::BridgeName(_)
                | Self::Mtu(_)
                | Self::Address(_)
                | Self::NoUplink(_)
                | Self::UplinkTaken(_)
                | Self::Management { .. }
                | Self::NotABridge(_)
        )
    }
}

fn failed(action: String) -> impl FnOnce(rtnetlink::Error) -> SwitchError {
    move |source| SwitchError::Request { action, source }
}

type Reply = oneshot::Sender<Result<(), SwitchError>>;

enum Request {
    Connect(Vec<Tap>, u32, Reply),
    Disconnect(Vec<Tap>),
    EnsureBridge(Bridge, Reply),
    RemoveBridge(String, Reply),
}

/// Handle of the thread.
pub struct Switch {
    log: Log,
    requests: OnceLock<mpsc::UnboundedSender<Request>>,
}

impl Switch {
    /// Nothing is started yet.
    pub fn new(log: Log) -> Self {
        Self {
            log,
            requests: OnceLock::new(),
        }
    }

    fn send(&self, request: Request) -> Result<(), SwitchError> {
        let requests = match self.requests.get() {
            Some(requests) => requests,
            None => {
                let started = start(self.log.clone()).map_err(SwitchError::Thread)?;
                self.requests.get_or_init(|| started)
            }
        };
        requests.send(request).map_err(|_| SwitchError::Gone)
    }

    async fn ask(&self, request: impl FnOnce(Reply) -> Request) -> Result<(), SwitchError> {
        let (reply, answer) = oneshot::channel();
        self.send(request(reply))?;
        answer.await.unwrap_or(Err(SwitchError::Gone))
    }

    /// Makes taps for the user `uid`; all of them or none.
    ///
    /// # Errors
    /// A bridge is missing, or the kernel refuses.
    pub async fn connect(&self, taps: Vec<Tap>, uid: u32) -> Result<(), SwitchError> {
        self.ask(|reply| Request::Connect(taps, uid, reply)).await
    }

    /// Removes taps, after what was asked for before.
    pub fn disconnect(&self, taps: Vec<Tap>) {
        if !taps.is_empty() && self.send(Request::Disconnect(taps)).is_err() {
            self.log
                .warning("taps of a unit stay: the network thread is gone");
        }
    }

    /// Makes a bridge, or brings one to what is asked for.
    ///
    /// # Errors
    /// The request is not allowed ([`SwitchError::is_refusal`]), or the kernel refuses.
    pub async fn ensure_bridge(&self, bridge: Bridge) -> Result<(), SwitchError> {
        self.ask(|reply| Request::EnsureBridge(bridge, reply)).await
    }

    /// Removes a bridge, where there is one.
    ///
    /// # Errors
    /// It is no bridge of the agent's, or the kernel refuses.
    pub async fn remove_bridge(&self, name: String) -> Result<(), SwitchError> {
        self.ask(|reply| Request::RemoveBridge(name, reply)).await
    }
}

fn start(log: Log) -> std::io::Result<mpsc::UnboundedSender<Request>> {
    let (sender, requests) = mpsc::unbounded_channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("switch".to_owned())
        .stack_size(512 * 1024)
        .spawn(move || {
            if let Err(error) = runtime.block_on(serve(requests, &log)) {
                log.error(&format!("switch: cannot open an rtnetlink socket: {error}"));
            }
        })?;
    Ok(sender)
}

async fn serve(mut requests: mpsc::UnboundedReceiver<Request>, log: &Log) -> std::io::Result<()> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    while let Some(request) = requests.recv().await {
        // Whoever asked may have given up.
        match request {
            Request::Connect(taps, uid, reply) => {
                let _ = reply.send(tap::connect(&handle, &taps, uid).await);
            }
            Request::Disconnect(taps) => {
                if let Err(error) = tap::disconnect(&handle, &taps).await {
                    log.warning(&format!("switch: {}", crate::failure::chain(&error)));
                }
            }
            Request::EnsureBridge(bridge, reply) => {
                let _ = reply.send(bridge::ensure(&handle, &bridge).await);
            }
            Request::RemoveBridge(name, reply) => {
                let _ = reply.send(bridge::remove(&handle, &name).await);
            }
        }
    }
    Ok(())
}

/// Whether a bridge of the agent's may have this name.
pub fn is_bridge_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.strip_prefix(BRIDGE_PREFIX)
        .is_some_and(|rest| !rest.is_empty() && rest.chars().all(allowed))
        && name.len() <= LONGEST_NAME
}

/// Whether a tap of a unit may have this name: `vm`, a number, `-`, a number.
pub fn is_tap_name(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let parts = name.strip_prefix("vm").and_then(|rest| rest.split_once('-'));
    parts.is_some_and(|(vm, index)| number(vm) && number(index)) && name.len() <= LONGEST_NAME
}

/// Whether a guests' network may have this MTU.
pub fn is_mtu(mtu: u32) -> bool {
    MTUS.contains(&mtu)
}

/// A bridge that was asked for, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    name: String,
    mtu: u32,
    address: Option<(IpAddr, u8)>,
    uplink: Option<Uplink>,
    force: bool,
}

/// How an uplink is named.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Uplink {
    Name(String),
    Mac(Mac),
}

impl Wanted {
    fn of(bridge: &Bridge) -> Result<Self, SwitchError> {
        if !is_bridge_name(&bridge.name) {
            return Err(SwitchError::BridgeName(bridge.name.clone()));
        }
        if !is_mtu(bridge.mtu) {
            return Err(SwitchError::Mtu(bridge.mtu));
        }
        let host = |(address, _): &(IpAddr, u8)| {
            !address.is_unspecified() && !address.is_multicast() && !address.is_loopback()
        };
        let address = match bridge.address.as_str() {
            "" => None,
            text => Some(
                parse_address(text)
                    .filter(host)
                    .ok_or_else(|| SwitchError::Address(text.to_owned()))?,
            ),
        };
        let uplink = match bridge.uplink.as_str() {
            "" => None,
            text => Some(
                text.parse()
                    .map_or_else(|_| Uplink::Name(text.to_owned()), Uplink::Mac),
            ),
        };
        Ok(Self {
            name: bridge.name.clone(),
            mtu: bridge.mtu,
            address,
            uplink,
            force: bridge.force,
        })
    }
}

/// What is known of an interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Link {
    index: u32,
    name: String,
    mac: Vec<u8>,
    mtu: u32,
    ethernet: bool,
    /// Has no hardware and no driver's say: a bridge, a tap.
    kind: Option<InfoKind>,
    /// The bridge or bond that it is a port of.
    controller: Option<u32>,
    up: bool,
}

impl Link {
    fn read(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            ethernet: message.header.link_layer_type == LinkLayerType::Ether,
            up: message.header.flags.contains(LinkFlags::Up),
            ..Self::default()
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Address(address) => link.mac.clone_from(address),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Controller(index) => {
                    link.controller = Some(*index).filter(|index| *index != 0)
                }
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.clone()),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        link
    }

    fn is_bridge(&self) -> bool {
        self.kind == Some(InfoKind::Bridge)
    }
}

async fn links(handle: &Handle) -> Result<Vec<Link>, SwitchError> {
    let messages: Vec<LinkMessage> = handle
        .link()
        .get()
        .execute()
        .try_collect()
        .await
        .map_err(failed("list the interfaces".to_owned()))?;
    Ok(messages.iter().map(Link::read).collect())
}

async fn delete(handle: &Handle, link: &Link) -> Result<(), SwitchError> {
    let action = format!("remove {}", link.name);
    handle
        .link()
        .del(link.index)
        .execute()
        .await
        .map_err(failed(action))
}

/// Sets settings of an interface's IP stack; a kernel without IPv6 has none of its ones.
fn set_conf(family: &str, name: &str, settings: &[(&str, &str)]) {
    for (key, value) in settings {
        let path = format!("/proc/sys/net/{family}/conf/{name}/{key}");
        let _ = files::set(path.as_ref(), value);
    }
}

#[cfg(test)]
mod tests;
