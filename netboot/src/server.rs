//! The servers together: opened all before any of them answers, ended together.

use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axion_core::cmdline::loader;
use axion_core::config::AddressRange;
use axion_core::mac::Mac;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

use crate::boot::{Architecture, UefiLoader};
use crate::connections::{self, LIMITS};
use crate::dhcp::{self, Leases, Responder};
use crate::event::{Event, Who};
use crate::files::{Content, Facts, Files};
use crate::interface::Place;
use crate::nodes::Nodes;
use crate::script::{CONFIG, Scripts};
use crate::socket::{self, Port};
use crate::tls::Tls;
use crate::web::Web;
use crate::{Error, tftp};

/// Bytes of the longest DHCP message that is read: an Ethernet frame's.
const MESSAGE: usize = 1500;
/// Machines that are kept in mind: MAC addresses can be made up.
const MACHINES: usize = 65_536;

const DHCP: Port = Port {
    number: dhcp::SERVER,
    protocol: "udp",
    purpose: "DHCP",
};
const BOOT_SERVER: Port = Port {
    number: dhcp::BOOT_SERVER,
    protocol: "udp",
    purpose: "PXE boot server",
};
const TFTP: Port = Port {
    number: 69,
    protocol: "udp",
    purpose: "TFTP",
};

/// What is served, and where.
#[derive(Debug, Clone)]
pub struct Options {
    /// Interface and address.
    pub place: Place,
    /// What is served.
    pub content: Content,
    /// Directory of the machines' configs.
    pub configs: Option<PathBuf>,
    /// What UEFI machines load.
    pub uefi: UefiLoader,
    /// Addresses to give; `None`: as proxy DHCP beside the site's server.
    pub range: Option<AddressRange>,
    /// With addresses to give: the network's way to others.
    pub router: Option<Ipv4Addr>,
    /// With addresses to give: name servers, the best first.
    pub dns: Vec<Ipv4Addr>,
    /// Port of the HTTP server.
    pub http_port: u16,
    /// Serve by HTTPS instead of HTTP.
    pub tls: Option<Tls>,
    /// Kernel arguments behind the media's own.
    pub kernel_arguments: String,
}

/// What the servers share.
#[derive(Debug)]
pub struct Shared {
    pub files: Files,
    pub nodes: Option<Nodes>,
    pub scripts: Scripts,
    place: Place,
    machines: Mutex<HashMap<Mac, Known>>,
    events: UnboundedSender<Event>,
}

/// What is known of a machine that has asked.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    architecture: Option<Architecture>,
    address: Option<Ipv4Addr>,
}

impl Shared {
    /// Nobody has asked yet.
    pub fn new(
        files: Files,
        nodes: Option<Nodes>,
        scripts: Scripts,
        place: Place,
        events: UnboundedSender<Event>,
    ) -> Self {
        Self {
            files,
            nodes,
            scripts,
            place,
            machines: Mutex::new(HashMap::new()),
            events,
        }
    }

    /// Interface and address that are served on.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Tells the operator.
    pub fn say(&self, event: Event) {
        self.learn(event.who());
        // Without an ear, nobody is told.
        let _ = self.events.send(event);
    }

    /// The machine at `peer`.
    pub fn who(&self, peer: IpAddr) -> Who {
        let IpAddr::V4(address) = peer else {
            return Who::default();
        };
        let known = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        let by_lease = known.iter().find(|(_, machine)| machine.address == Some(address));
        let mac = by_lease.map(|(mac, _)| *mac).or_else(|| neighbour(address));
        Who {
            mac,
            address: Some(address),
            architecture: mac.and_then(|mac| known.get(&mac)?.architecture),
        }
    }

    /// The machine at `peer`, which has said that its address is `mac`.
    pub fn meet(&self, peer: IpAddr, mac: Option<Mac>) -> Who {
        if let (IpAddr::V4(address), Some(_)) = (peer, mac) {
            self.learn(&Who {
                mac,
                address: Some(address),
                architecture: None,
            });
        }
        self.who(peer)
    }

    fn learn(&self, who: &Who) {
        let Some(mac) = who.mac else { return };
        let mut machines = self.machines.lock().unwrap_or_else(PoisonError::into_inner);
        if machines.len() >= MACHINES && !machines.contains_key(&mac) {
            return;
        }
        let known = machines.entry(mac).or_default();
        known.architecture = who.architecture.or(known.architecture);
        known.address = who.address.or(known.address);
    }
}

/// The MAC address of a neighbour, from the kernel's table.
fn neighbour(address: Ipv4Addr) -> Option<Mac> {
    let table = std::fs::read_to_string("/proc/net/arp").ok()?;
    in_table(&table, address)
}

/// `address` in the text of `/proc/net/arp`: IP address, type, flags, MAC address, mask, interface.
fn in_table(table: &str, address: Ipv4Addr) -> Option<Mac> {
    let address = address.to_string();
    let mut rows = table.lines().map(str::split_whitespace);
    rows.find_map(|mut row| {
        (row.next() == Some(&address))
            .then(|| row.nth(2)?.parse().ok())
            .flatten()
    })
}

/// All servers, open and not answering yet.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    responder: Responder,
    dhcp: UdpSocket,
    boot_server: UdpSocket,
    tftp: UdpSocket,
    http: TcpListener,
    tls: Option<Tls>,
}

impl Server {
    /// Checks the files and opens the ports; `events` hears what happens.
    ///
    /// # Errors
    /// A file is missing or wrong, or a port cannot be had.
    pub async fn open(options: Options, events: UnboundedSender<Event>) -> Result<Self, Error> {
        loader::check(&options.kernel_arguments)?;
        let place = options.place;
        let address = place.address;
        let (files, imgverify, own_ipxe) = match &options.content {
            Content::Media(sources) => (Files::open(sources)?, sources.imgverify, sources.ipxe.is_some()),
            Content::Held(held) => (Files::hold(held)?, false, false),
        };
        let web = match &options.tls {
            // What Debian builds for BIOS has no HTTPS, for want of room.
            Some(tls) => Web::secure(&tls.host, options.http_port, tls.pin.clone(), own_ipxe),
            None => Web::plain(SocketAddrV4::new(address, options.http_port)),
        };
        // A node may get configs at any time, or none.
        let has_configs = options.configs.is_some() && matches!(options.content, Content::Media(_));
        if options.uefi == UefiLoader::Uki && has_configs && !files.names_config() {
            let (url, pin) = (web.url(CONFIG), web.fragment());
            return Err(Error::Untold(format!("axion.config={url}?mac=${{mac}}{pin}")));
        }
        let nodes = options.configs.as_deref().map(Nodes::open).transpose()?;
        let told = loader::for_ipxe(&options.kernel_arguments);
        let cmdline = format!("{} {told}", files.cmdline);
        let scripts = Scripts {
            web: web.clone(),
            cmdline: cmdline.trim().to_owned(),
            imgverify,
            uki: files.signed,
        };
        if let Some(router) = options.router
            && !place.is_near(router)
        {
            return Err(Error::Range(format!(
                "the router {router} is not in the network of {address} ({})",
                place.interface
            )));
        }
        // Who is there already is lent to nobody.
        let taken: Vec<_> = [address]
            .into_iter()
            .chain(options.router)
            .chain(options.dns.clone())
            .collect();
        let network = dhcp::Network {
            mask: place.mask,
            router: options.router,
            dns: options.dns,
        };
        let leases = options.range.map(|range| (Leases::new(range, taken), network));
        let http_port = Port {
            number: options.http_port,
            protocol: "tcp",
            purpose: "HTTP",
        };
        Ok(Self {
            dhcp: socket::on_interface(&place.interface, DHCP)?,
            boot_server: socket::on_interface(&place.interface, BOOT_SERVER)?,
            tftp: socket::udp(&place.interface, address, TFTP)?,
            http: socket::tcp(&place.interface, address, http_port)?,
            responder: Responder {
                address,
                web,
                uefi: options.uefi,
                leases,
            },
            tls: options.tls,
            shared: Arc::new(Shared::new(files, nodes, scripts, place, events)),
        })
    }

    /// Whether machines with Secure Boot get none of the configs: they start the UKI, which then goes by nothing but what it has in
    /// itself.
    pub fn leaves_secure_boot_untold(&self) -> bool {
        let Shared { files, nodes, .. } = self.shared.as_ref();
        nodes.is_some() && files.signed && !files.names_config()
    }

    /// The files that are served.
    pub fn files(&self) -> Vec<Facts> {
        self.shared.files.facts()
    }

    /// Serves until `end`.
    ///
    /// # Errors
    /// A socket fails.
    pub async fn serve(self, end: impl Future<Output = ()>) -> Result<(), Error> {
        let mut servers = JoinSet::new();
        let answers = Answers {
            shared: Arc::clone(&self.shared),
            responder: self.responder,
            dhcp: self.dhcp,
            boot_server: self.boot_server,
        };
        servers.spawn(answers.serve());
        let tftp = tftp::serve(self.tftp, Arc::clone(&self.shared), tftp::LIMITS);
        servers.spawn(async { tftp.await.map_err(Error::io("read a TFTP request")) });
        let web = connections::serve(self.http, self.tls, self.shared, LIMITS);
        servers.spawn(async {
            web.await;
            Ok(())
        });
        tokio::select! {
            () = end => Ok(()),
            ended = servers.join_next() => match ended {
                Some(Ok(result)) => result,
                Some(Err(error)) => Err(Error::io("go on serving")(std::io::Error::other(error))),
                None => Ok(()),
            },
        }
    }
}

/// Both DHCP ports, which share the leases.
struct Answers {
    shared: Arc<Shared>,
    responder: Responder,
    dhcp: UdpSocket,
    boot_server: UdpSocket,
}

impl Answers {
    async fn serve(mut self) -> Result<(), Error> {
        let (mut message, mut boot_message) = ([0; MESSAGE], [0; MESSAGE]);
        loop {
            let (socket, answer, peer) = tokio::select! {
                received = self.dhcp.recv_from(&mut message) => {
                    let (length, peer) = received.map_err(Error::io("read a DHCP message"))?;
                    let request = dhcp::parse(message.get(..length).unwrap_or_default());
                    let now = Instant::now();
                    let answer = request.and_then(|request| self.responder.dhcp(&request, now));
                    (&self.dhcp, answer, peer)
                }
                received = self.boot_server.recv_from(&mut boot_message) => {
                    let (length, peer) = received.map_err(Error::io("read a PXE request"))?;
                    let request = dhcp::parse(boot_message.get(..length).unwrap_or_default());
                    let answer = request.and_then(|request| self.responder.boot_server(&request));
                    (&self.boot_server, answer, peer)
                }
            };
            let Some(answer) = answer else { continue };
            if let Some(bytes) = answer.bytes() {
                let to = answer.to.map_or(peer, SocketAddr::V4);
                // A machine that does not hear this asks again; one that cannot be reached is no reason to leave the others.
                let sent = socket.send_to(&bytes, to).await;
                if let (Err(error), Some(event)) = (sent, &answer.event) {
                    let reason = format!("no answer to {to}: {error}");
                    self.shared.say(Event::Refused {
                        who: *event.who(),
                        reason,
                    });
                    continue;
                }
            }
            if let Some(event) = answer.event {
                self.shared.say(event);
            }
        }
    }
}

#[cfg(test)]
mod tests;
