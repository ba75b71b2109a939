//! Bridges.
//!
//! A bridge is for guests first: it has no spanning tree and forwards at once, and the host takes part in it only where it
//! was given an address. Without one, guests cannot reach the host's addresses elsewhere either: no ARP is answered for them
//! (`arp_ignore`), and a packet whose sender the host would answer by another way is dropped (`rp_filter`). Router
//! advertisements of guests are not heard.
//!
//! `ensure` brings a bridge to what is asked for from whatever it is, and checks all it can before it changes anything.

use std::net::IpAddr;

use axion_api::init::Bridge;
use axion_core::mac::Mac;
use axion_core::paths;
use futures_util::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressProtocol};
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder, LinkUnspec};

use super::{Link, SwitchError, Uplink, Wanted, delete, failed, is_tap_name, links, set_conf};

/// What says of an address that it was given here (IFA_PROTO). Others on a bridge come from the machine config, which may
/// name a bridge as it names a port, and are left alone.
const OURS: AddressProtocol = AddressProtocol::Other(0x41);

/// Makes a bridge, or brings one to what is asked for.
pub async fn ensure(handle: &Handle, bridge: &Bridge) -> Result<(), SwitchError> {
    let wanted = Wanted::of(bridge)?;
    let mut present = links(handle).await?;
    let uplink = find_uplink(&present, &wanted)?;
    let index = named(&present, &wanted.name)?.map(|link| link.index);
    if let Some(uplink) = &uplink {
        let ours = uplink.controller.is_some() && uplink.controller == index;
        if uplink.controller.is_some() && !ours {
            return Err(SwitchError::UplinkTaken(uplink.name.clone()));
        }
        if !ours && !wanted.force {
            refuse_management(handle, uplink, &wanted.name).await?;
        }
    }
    if index.is_none() {
        make(handle, &wanted.name).await?;
        present = links(handle).await?;
    }
    let bridge = named(&present, &wanted.name)?.ok_or_else(|| SwitchError::NoBridge(wanted.name.clone()))?;
    configure(handle, bridge, &wanted).await?;
    let is_uplink = |link: &&Link| uplink.as_ref().is_some_and(|uplink| uplink.index == link.index);
    let strangers = present
        .iter()
        .filter(|link| link.controller == Some(bridge.index) && !is_tap_name(&link.name) && !is_uplink(link));
    for port in strangers {
        let action = format!("take {} from {}", port.name, wanted.name);
        set(
            handle,
            LinkUnspec::new_with_index(port.index).nocontroller(),
            action,
        )
        .await?;
    }
    if let Some(uplink) = &uplink {
        let mut message = LinkUnspec::new_with_index(uplink.index).up();
        if uplink.mtu != wanted.mtu {
            message = message.mtu(wanted.mtu);
        }
        if uplink.controller.is_none() {
            message = message.controller(bridge.index);
        }
        let action = format!(
            "connect {} to {} with an MTU of {}",
            uplink.name, wanted.name, wanted.mtu
        );
        set(handle, message, action).await?;
        for (message, ..) in addresses(handle, uplink).await? {
            // The network's own configuration lets go of the interface as well, and may be faster.
            let _ = handle.address().del(message).execute().await;
        }
    }
    Ok(())
}

/// Removes a bridge, where there is one. Its ports are no ports any more.
pub async fn remove(handle: &Handle, name: &str) -> Result<(), SwitchError> {
    if !super::is_bridge_name(name) {
        return Err(SwitchError::BridgeName(name.to_owned()));
    }
    match named(&links(handle).await?, name)? {
        Some(bridge) => delete(handle, bridge).await,
        None => Ok(()),
    }
}

/// The bridge of that name, where there is one.
fn named<'a>(links: &'a [Link], name: &str) -> Result<Option<&'a Link>, SwitchError> {
    match links.iter().find(|link| link.name == name) {
        Some(link) if !link.is_bridge() => Err(SwitchError::NotABridge(name.to_owned())),
        found => Ok(found),
    }
}

fn find_uplink(links: &[Link], wanted: &Wanted) -> Result<Option<Link>, SwitchError> {
    let Some(uplink) = &wanted.uplink else {
        return Ok(None);
    };
    let fits = |link: &&Link| match uplink {
        Uplink::Name(name) => link.name == *name,
        // A bond's ports and a VLAN have the address of what is below them.
        Uplink::Mac(mac) => link.mac == mac.0 && link.kind.is_none(),
    };
    let found = links
        .iter()
        .filter(|link| link.ethernet && !link.is_bridge() && !is_tap_name(&link.name))
        .find(fits);
    let text = || match uplink {
        Uplink::Name(name) => name.clone(),
        Uplink::Mac(mac) => mac.to_string(),
    };
    found
        .cloned()
        .map(Some)
        .ok_or_else(|| SwitchError::NoUplink(text()))
}

/// An interface with addresses of the host may be the one that its operator sits behind.
async fn refuse_management(handle: &Handle, uplink: &Link, bridge: &str) -> Result<(), SwitchError> {
    let addresses: Vec<String> = addresses(handle, uplink)
        .await?
        .iter()
        .map(|(_, ip, prefix)| format!("{ip}/{prefix}"))
        .collect();
    if addresses.is_empty() {
        return Ok(());
    }
    Err(SwitchError::Management {
        name: uplink.name.clone(),
        addresses: addresses.join(", "),
        bridge: bridge.to_owned(),
    })
}

/// Addresses of an interface, link-local ones left out.
async fn addresses(handle: &Handle, link: &Link) -> Result<Vec<(AddressMessage, IpAddr, u8)>, SwitchError> {
    let messages: Vec<AddressMessage> = handle
        .address()
        .get()
        .set_link_index_filter(link.index)
        .execute()
        .try_collect()
        .await
        .map_err(failed(format!("list the addresses of {}", link.name)))?;
    let read = |message: AddressMessage| {
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })?;
        let link_local = match address {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        let prefix = message.header.prefix_len;
        (!link_local).then_some((message, address, prefix))
    };
    Ok(messages.into_iter().filter_map(read).collect())
}

async fn make(handle: &Handle, name: &str) -> Result<(), SwitchError> {
    // Without an address of its own it takes a port's, and another one when that port goes.
    let machine = std::fs::read_to_string(paths::MACHINE_ID_IN_FORCE).unwrap_or_default();
    let mac = Mac::made(machine.trim(), &format!("bridge {name}"));
    let message = LinkMessageBuilder::<LinkBridge>::new(name)
        .address(mac.0.to_vec())
        .forward_delay(0);
    handle
        .link()
        .add(message.build())
        .execute()
        .await
        .map_err(failed(format!("make the bridge {name}")))
}

async fn configure(handle: &Handle, bridge: &Link, wanted: &Wanted) -> Result<(), SwitchError> {
    let name = &wanted.name;
    set_conf(
        "ipv4",
        name,
        &[("rp_filter", "1"), ("arp_ignore", "1"), ("accept_redirects", "0")],
    );
    let v6 = matches!(wanted.address, Some((IpAddr::V6(_), _)));
    let disabled = if v6 { "0" } else { "1" };
    set_conf(
        "ipv6",
        name,
        &[("accept_ra", "0"), ("autoconf", "0"), ("disable_ipv6", disabled)],
    );
    if !bridge.up || bridge.mtu != wanted.mtu {
        let message = LinkUnspec::new_with_index(bridge.index).mtu(wanted.mtu).up();
        set(
            handle,
            message,
            format!("bring {name} up with an MTU of {}", wanted.mtu),
        )
        .await?;
    }
    for (message, ip, prefix) in addresses(handle, bridge).await? {
        let ours = message.attributes.contains(&AddressAttribute::Protocol(OURS));
        if ours && wanted.address != Some((ip, prefix)) {
            let action = format!("take the address {ip}/{prefix} from {name}");
            handle
                .address()
                .del(message)
                .execute()
                .await
                .map_err(failed(action))?;
        }
    }
    if let Some((ip, prefix)) = wanted.address {
        let action = format!("give {name} the address {ip}/{prefix}");
        let mut request = handle.address().add(bridge.index, ip, prefix).replace();
        request
            .message_mut()
            .attributes
            .push(AddressAttribute::Protocol(OURS));
        request.execute().await.map_err(failed(action))?;
    }
    Ok(())
}

async fn set(
    handle: &Handle,
    message: LinkMessageBuilder<LinkUnspec>,
    action: String,
) -> Result<(), SwitchError> {
    handle
        .link()
        .set(message.build())
        .execute()
        .await
        .map_err(failed(action))
}
