//! Leases: one task a link asks for one and keeps it. The protocol is `mozim`'s.

use std::net::Ipv4Addr;
use std::time::Duration;

use mozim::{DhcpV4Client, DhcpV4Config, DhcpV4Lease, DhcpV4State};
use tokio::sync::mpsc;

use super::state::{Learnt, is_domain};

/// Before asking again after an error.
const PAUSE: Duration = Duration::from_secs(5);

/// What a lease gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Address.
    pub address: Ipv4Addr,
    /// Prefix length.
    pub prefix: u8,
    /// Seconds for which it is valid.
    pub seconds: u32,
    /// Routes: destination, prefix length, gateway (RFC 3442, else the default one).
    pub routes: Vec<(Ipv4Addr, u8, Ipv4Addr)>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
    /// Resolvers and the like.
    pub learnt: Learnt,
}

/// What became of a link's lease.
#[derive(Debug)]
pub enum Event {
    /// It has one, a new or a renewed one.
    Leased(u32, Box<Lease>),
    /// It asks for one.
    Asking(u32),
    /// Something went wrong; it asks again.
    Failed(u32, String),
}

/// A link that asks.
#[derive(Debug, Clone)]
pub struct Link {
    /// Interface index.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Hardware address.
    pub mac: [u8; 6],
    /// Name told to the server; empty: none.
    pub hostname: String,
}

/// Keeps a lease for `link`, for ever; `events` is told what becomes of it.
pub async fn run(link: Link, events: mpsc::UnboundedSender<Event>) {
    let mut last = None;
    loop {
        let _ = events.send(Event::Asking(link.index));
        if let Err(e) = keep(&link, &mut last, &events).await {
            let _ = events.send(Event::Failed(link.index, e.to_string()));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn keep(
    link: &Link,
    last: &mut Option<DhcpV4Lease>,
    events: &mpsc::UnboundedSender<Event>,
) -> Result<(), mozim::DhcpError> {
    let mut config = DhcpV4Config::new(&link.name);
    config
        .set_iface_index(link.index)
        .set_iface_mac_raw(&link.mac)?
        .use_mac_as_client_id();
    if !link.hostname.is_empty() {
        config.set_host_name(&link.hostname);
    }
    let mut client = DhcpV4Client::init(config, last.take()).await?;
    loop {
        match client.run().await? {
            DhcpV4State::Done(lease) => {
                let _ = events.send(Event::Leased(link.index, Box::new(read(&lease))));
                *last = Some(*lease);
            }
            // The server took the address back, or nobody renewed it.
            DhcpV4State::InitReboot if last.is_some() => {
                *last = None;
                let _ = events.send(Event::Asking(link.index));
            }
            DhcpV4State::InitReboot
            | DhcpV4State::Selecting
            | DhcpV4State::Renewing
            | DhcpV4State::Rebinding => {}
        }
    }
}

fn read(lease: &DhcpV4Lease) -> Lease {
    let any = Ipv4Addr::UNSPECIFIED;
    // Classless routes replace the default gateway (RFC 3442).
    let routes = match lease.classless_routes.as_deref() {
        Some(routes) if !routes.is_empty() => routes
            .iter()
            .map(|r| (r.destination, r.prefix_length, r.router))
            .collect(),
        _ => lease
            .gateways
            .iter()
            .flatten()
            .take(1)
            .map(|gateway| (any, 0, *gateway))
            .collect(),
    };
    let search = lease
        .domain_search
        .clone()
        .unwrap_or_default()
        .into_iter()
        .chain(lease.domain_name.clone());
    let mut learnt = Learnt {
        dns: lease.dns_srvs.clone().unwrap_or_default(),
        search: Vec::new(),
        ntp: lease.ntp_srvs.clone().unwrap_or_default(),
    };
    for domain in search
        .map(|d| d.trim_end_matches('.').to_owned())
        .filter(|d| is_domain(d))
    {
        if !learnt.search.contains(&domain) {
            learnt.search.push(domain);
        }
    }
    Lease {
        address: lease.yiaddr,
        prefix: lease.prefix_length(),
        seconds: lease.lease_time_sec,
        routes,
        mtu: lease.mtu.map(u32::from).filter(|mtu| *mtu >= 576),
        learnt,
    }
}
