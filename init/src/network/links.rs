//! Links through rtnetlink: found, brought up, given addresses and routes, watched for their carrier.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use futures_util::stream::{StreamExt, TryStreamExt};
use rtnetlink::packet_core::NetlinkPayload;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::address::{AddressAttribute, CacheInfo};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkLayerType, LinkMessage};
use rtnetlink::packet_route::route::RouteProtocol;
use rtnetlink::{Handle, LinkUnspec, MulticastGroup, RouteMessageBuilder};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use super::dhcp::{self, Lease};
use super::plan::{self, Plan};
use super::state::{Learnt, State};
use super::{Settings, plan::format_mac};
use crate::failure::chain;
use crate::files::{self, PUBLIC};
use crate::log::Log;

/// Routes learnt by DHCP: behind the configured ones, the first link's before the next one's.
const DHCP_METRIC: u32 = 1024;
/// An address that never runs out.
const FOREVER: u32 = u32::MAX;

/// The network cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No runtime.
    #[error("cannot start its event loop")]
    Runtime(#[source] std::io::Error),
    /// No netlink socket.
    #[error("cannot open an rtnetlink socket")]
    Socket(#[source] std::io::Error),
    /// A request.
    #[error("cannot {action}")]
    Request {
        /// What was asked for.
        action: String,
        /// The kernel's answer.
        source: rtnetlink::Error,
    },
}

fn failed(action: String) -> impl FnOnce(rtnetlink::Error) -> LinkError {
    move |source| LinkError::Request { action, source }
}

struct Link {
    known: plan::Link,
    plan: Plan,
    carrier: bool,
    asking: Option<AbortHandle>,
    lease: Option<Lease>,
    note: String,
}

struct Links {
    handle: Handle,
    settings: Settings,
    links: BTreeMap<u32, Link>,
    state: watch::Sender<State>,
    events: mpsc::UnboundedSender<dhcp::Event>,
    log: Log,
}

/// Sets the links up and follows what becomes of them, for ever.
///
/// # Errors
/// rtnetlink does not answer.
pub async fn run(
    settings: Settings,
    state: watch::Sender<State>,
    configured: oneshot::Sender<()>,
    log: Log,
) -> Result<(), LinkError> {
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).map_err(LinkError::Socket)?;
    tokio::spawn(connection);
    let (events, mut leases) = mpsc::unbounded_channel();
    let mut links = Links {
        handle,
        settings,
        links: BTreeMap::new(),
        state,
        events,
        log,
    };
    links.state.send_replace(State::new(&links.settings.config));
    links.publish();
    for message in links.dump().await? {
        links.link_seen(&message).await;
    }
    let _ = configured.send(());
    loop {
        tokio::select! {
            Some((message, _)) = messages.next() => match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => links.link_seen(&link).await,
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => links.link_gone(link.header.index),
                _ => {}
            },
            Some(event) = leases.recv() => links.lease_event(event).await,
            else => return Ok(()),
        }
    }
}

impl Links {
    async fn dump(&self) -> Result<Vec<LinkMessage>, LinkError> {
        self.handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(failed("list the links".to_owned()))
    }

    async fn link_seen(&mut self, message: &LinkMessage) {
        let index = message.header.index;
        if message.header.link_layer_type == LinkLayerType::Loopback {
            if !message.header.flags.contains(LinkFlags::Up) {
                self.report("lo", self.set_up(index, None, "lo").await);
            }
            return;
        }
        // A port of a bridge has no addresses of its own; what arrives at it is the bridge's.
        if is_port(message) {
            self.let_go(index).await;
            return;
        }
        let carrier = message.header.flags.contains(LinkFlags::LowerUp);
        if let Some(link) = self.links.get_mut(&index) {
            if link.carrier != carrier {
                link.carrier = carrier;
                self.carrier_changed(index);
            }
            return;
        }
        let Some(known) = read(message) else { return };
        let Some(plan) = plan::plan(&self.settings.config, &known) else {
            return;
        };
        self.log.info(&format!(
            "network: {} ({}) found",
            known.name,
            format_mac(&known.mac)
        ));
        let name = known.name.clone();
        let link = Link {
            known,
            plan: plan.clone(),
            carrier,
            asking: None,
            lease: None,
            note: String::new(),
        };
        self.links.insert(index, link);
        self.report(&name, self.set_up(index, plan.mtu, &name).await);
        for (address, prefix) in &plan.addresses {
            self.report(
                &name,
                self.add_address(index, *address, *prefix, FOREVER, &name).await,
            );
        }
        for gateway in &plan.gateways {
            self.report(&name, self.add_gateway(index, *gateway, &name).await);
        }
        self.carrier_changed(index);
    }

    /// Takes back what the link was given; when it is no port any more it is found anew.
    async fn let_go(&mut self, index: u32) {
        let Some(link) = self.links.get(&index) else {
            return;
        };
        let name = link.known.name.clone();
        self.log
            .info(&format!("network: {name} is a port of another interface now"));
        self.link_gone(index);
        self.report(&name, self.flush(index, &name).await);
    }

    /// Takes every address from a link, those that routers gave it too; link-local ones harm nobody.
    async fn flush(&self, index: u32, name: &str) -> Result<(), LinkError> {
        let found: Vec<_> = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .execute()
            .try_collect()
            .await
            .map_err(failed(format!("list the addresses of {name}")))?;
        let stays = |attribute: &AddressAttribute| match attribute {
            AddressAttribute::Address(IpAddr::V4(ip)) => ip.is_link_local(),
            AddressAttribute::Address(IpAddr::V6(ip)) => ip.is_unicast_link_local(),
            _ => false,
        };
        for message in found {
            if !message.attributes.iter().any(stays) {
                // Whoever made it a port may have been faster.
                let _ = self.handle.address().del(message).execute().await;
            }
        }
        Ok(())
    }

    fn link_gone(&mut self, index: u32) {
        if let Some(link) = self.links.remove(&index) {
            if let Some(task) = link.asking {
                task.abort();
            }
            self.state.send_modify(|s| s.remove(&link.known.name));
        }
        self.publish();
    }

    fn carrier_changed(&mut self, index: u32) {
        let Some(link) = self.links.get_mut(&index) else {
            return;
        };
        if let Some(task) = link.asking.take() {
            task.abort();
        }
        if link.plan.dhcp && link.carrier {
            let asker = dhcp::Link {
                index,
                name: link.known.name.clone(),
                mac: link.known.mac,
                hostname: self.settings.hostname.clone(),
            };
            link.asking = Some(tokio::spawn(dhcp::run(asker, self.events.clone())).abort_handle());
        }
        self.publish();
    }

    async fn lease_event(&mut self, event: dhcp::Event) {
        match event {
            dhcp::Event::Leased(index, lease) => self.apply(index, *lease).await,
            dhcp::Event::Asking(index) => {
                if let Some(link) = self.links.get_mut(&index) {
                    link.note = "waiting for a DHCP server".to_owned();
                }
            }
            dhcp::Event::Failed(index, why) => {
                if let Some(link) = self.links.get_mut(&index) {
                    self.log
                        .warning(&format!("network: {}: DHCP: {why}", link.known.name));
                    link.note = format!("DHCP: {why}");
                }
            }
        }
        self.publish();
    }

    async fn apply(&mut self, index: u32, lease: Lease) {
        let Some(link) = self.links.get_mut(&index) else {
            return;
        };
        let name = link.known.name.clone();
        let before = link.lease.replace(lease.clone());
        let mtu = lease.mtu.filter(|_| link.plan.mtu.is_none());
        let is_new = before
            .as_ref()
            .is_none_or(|b| (b.address, &b.routes) != (lease.address, &lease.routes));
        if let Some(old) = before.filter(|b| b.address != lease.address) {
            self.report(&name, self.delete_address(index, old.address.into(), &name).await);
        }
        let added = self
            .add_address(index, lease.address.into(), lease.prefix, lease.seconds, &name)
            .await;
        self.report(&name, added);
        if !is_new {
            return;
        }
        self.log.info(&format!(
            "network: {name}: {}/{} by DHCP for {} s",
            lease.address, lease.prefix, lease.seconds
        ));
        if mtu.is_some() {
            self.report(&name, self.set_up(index, mtu, &name).await);
        }
        for (destination, prefix, gateway) in &lease.routes {
            let mut route = RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .destination_prefix(*destination, *prefix)
                .output_interface(index)
                .priority(DHCP_METRIC.saturating_add(index))
                .protocol(RouteProtocol::Dhcp);
            // RFC 3442: a router 0.0.0.0 means that the destination is on the link.
            if !gateway.is_unspecified() {
                route = route.gateway(*gateway).onlink();
            }
            let action = format!("add the route to {destination}/{prefix} by {gateway} on {name}");
            let done = self
                .handle
                .route()
                .add(route.build())
                .replace()
                .execute()
                .await
                .map_err(failed(action));
            self.report(&name, done);
        }
    }

    async fn set_up(&self, index: u32, mtu: Option<u32>, name: &str) -> Result<(), LinkError> {
        let mut message = LinkUnspec::new_with_index(index).up();
        if let Some(mtu) = mtu {
            message = message.mtu(mtu);
        }
        let action = format!("bring {name} up");
        self.handle
            .link()
            .set(message.build())
            .execute()
            .await
            .map_err(failed(action))
    }

    async fn add_address(
        &self,
        index: u32,
        address: IpAddr,
        prefix: u8,
        seconds: u32,
        name: &str,
    ) -> Result<(), LinkError> {
        let mut request = self.handle.address().add(index, address, prefix).replace();
        if seconds != FOREVER {
            let mut life = CacheInfo::default();
            life.ifa_preferred = seconds;
            life.ifa_valid = seconds;
            request
                .message_mut()
                .attributes
                .push(AddressAttribute::CacheInfo(life));
        }
        request
            .execute()
            .await
            .map_err(failed(format!("give {name} the address {address}/{prefix}")))
    }

    async fn delete_address(&self, index: u32, address: IpAddr, name: &str) -> Result<(), LinkError> {
        let action = || failed(format!("take the address {address} from {name}"));
        let found: Vec<_> = self
            .handle
            .address()
            .get()
            .set_link_index_filter(index)
            .set_address_filter(address)
            .execute()
            .try_collect()
            .await
            .map_err(action())?;
        for message in found {
            self.handle
                .address()
                .del(message)
                .execute()
                .await
                .map_err(action())?;
        }
        Ok(())
    }

    async fn add_gateway(&self, index: u32, gateway: IpAddr, name: &str) -> Result<(), LinkError> {
        let route = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<std::net::Ipv4Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<std::net::Ipv6Addr>::new()
                .gateway(gateway)
                .output_interface(index)
                .build(),
        };
        let action = format!("add the default gateway {gateway} on {name}");
        self.handle
            .route()
            .add(route)
            .replace()
            .execute()
            .await
            .map_err(failed(action))
    }

    fn report(&self, name: &str, result: Result<(), LinkError>) {
        if let Err(e) = result {
            self.log.error(&format!("network: {name}: {}", chain(&e)));
        }
    }

    /// Tells the rest of init, and `resolv.conf`.
    fn publish(&self) {
        let before = self.state.borrow().resolv_conf();
        self.state.send_if_modified(|state| {
            let old = state.clone();
            for link in self.links.values() {
                let (text, has_address, learnt) = link.describe();
                state.set(&link.known.name, text, has_address, learnt);
            }
            *state != old
        });
        let after = self.state.borrow().resolv_conf();
        let path: &Path = &self.settings.resolv_conf;
        if (before != after || !path.exists())
            && let Err(e) = files::replace(path, after.as_bytes(), PUBLIC)
        {
            self.log.error(&format!("network: {}", chain(&e)));
        }
    }
}

impl Link {
    fn describe(&self) -> (String, bool, Learnt) {
        let mut parts: Vec<String> = self
            .plan
            .addresses
            .iter()
            .map(|(a, p)| format!("{a}/{p}"))
            .collect();
        if !self.carrier {
            parts.push("no link".to_owned());
            return (parts.join(", "), false, Learnt::default());
        }
        let learnt = match &self.lease {
            Some(lease) => {
                parts.push(format!("{}/{} by DHCP", lease.address, lease.prefix));
                lease.learnt.clone()
            }
            None => {
                parts.extend(Some(self.note.clone()).filter(|note| !note.is_empty()));
                Learnt::default()
            }
        };
        let has_address = self.lease.is_some() || !self.plan.addresses.is_empty();
        if parts.is_empty() {
            parts.push("up".to_owned());
        }
        (parts.join(", "), has_address, learnt)
    }
}

/// Whether the link belongs to a bridge or a bond.
fn is_port(message: &LinkMessage) -> bool {
    let controller =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::Controller(index) if *index != 0);
    message.attributes.iter().any(controller)
}

/// An Ethernet link; other kinds are left alone.
fn read(message: &LinkMessage) -> Option<plan::Link> {
    if message.header.link_layer_type != LinkLayerType::Ether {
        return None;
    }
    let mut link = plan::Link::default();
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(address) => link.mac = address.as_slice().try_into().ok()?,
            _ => {}
        }
    }
    let device = Path::new("/sys/class/net").join(&link.name).join("device");
    if let Ok(device) = std::fs::canonicalize(device) {
        link.physical = true;
        link.pci = plan::pci_address(&device);
    }
    (!link.name.is_empty()).then_some(link)
}

#[cfg(test)]
mod tests;
