//! The network interface to serve on.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use axion_core::config::AddressRange;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::Error;

/// An interface that could be served on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its IPv4 addresses, each with its network's mask.
    pub addresses: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// Whether it is up.
    pub up: bool,
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses = self.addresses.iter();
        let addresses: Vec<String> = addresses
            .map(|(address, mask)| format!("{address}/{}", u32::from(*mask).count_ones()))
            .collect();
        let addresses = if addresses.is_empty() {
            "no IPv4 address".to_owned()
        } else {
            addresses.join(" ")
        };
        let down = if self.up { "" } else { ", down" };
        write!(f, "{} ({addresses}{down})", self.name)
    }
}

/// Every interface of this machine but the loopback one.
///
/// # Errors
/// The kernel does not say.
pub fn list() -> Result<Vec<Interface>, Error> {
    let found = getifaddrs().map_err(|errno| Error::io("list the network interfaces")(errno.into()))?;
    let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
    for entry in found.filter(|entry| !entry.flags.contains(InterfaceFlags::IFF_LOOPBACK)) {
        let name = entry.interface_name;
        let interface = interfaces.entry(name.clone()).or_insert_with(|| Interface {
            name,
            addresses: Vec::new(),
            up: entry.flags.contains(InterfaceFlags::IFF_UP),
        });
        let ip = |address: Option<nix::sys::socket::SockaddrStorage>| Some(address?.as_sockaddr_in()?.ip());
        if let (Some(address), Some(mask)) = (ip(entry.address), ip(entry.netmask)) {
            interface.addresses.push((address, mask));
        }
    }
    Ok(interfaces.into_values().collect())
}

/// Where to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Interface.
    pub interface: String,
    /// This machine's address on it.
    pub address: Ipv4Addr,
    /// The network's mask.
    pub mask: Ipv4Addr,
}

impl Place {
    /// Whether `other` is in this network.
    pub fn is_near(&self, other: Ipv4Addr) -> bool {
        same_network(self.address, other, self.mask)
    }
}

/// The place on the interface `wanted`, or on the only one there is; with a range, its address in that network.
///
/// # Errors
/// There is no such interface, there are several, or it does not fit; the error lists what is there.
pub fn choose(
    interfaces: &[Interface],
    wanted: Option<&str>,
    range: Option<AddressRange>,
) -> Result<Place, Error> {
    let listed = || {
        let names: Vec<String> = interfaces.iter().map(ToString::to_string).collect();
        if names.is_empty() {
            "there is none".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        }
    };
    let interface = match wanted {
        Some(name) => interfaces
            .iter()
            .find(|interface| interface.name == name)
            .ok_or_else(|| {
                Error::Interface(format!("there is no network interface `{name}`; {}", listed()))
            })?,
        None => {
            let mut usable = interfaces.iter().filter(|i| i.up && !i.addresses.is_empty());
            match (usable.next(), usable.next()) {
                (Some(interface), None) => interface,
                _ => {
                    return Err(Error::Interface(format!(
                        "on which network interface? Say --interface NAME; {}",
                        listed()
                    )));
                }
            }
        }
    };
    if !interface.up {
        return Err(Error::Interface(format!(
            "the interface {interface} is down; `ip link set {} up` starts it",
            interface.name
        )));
    }
    let fits = |(address, mask): &(Ipv4Addr, Ipv4Addr)| {
        range.is_none_or(|range| {
            same_network(range.first(), *address, *mask) && same_network(range.last(), *address, *mask)
        })
    };
    let (address, mask) = match (interface.addresses.iter().find(|a| fits(a)), range) {
        (Some(found), _) => *found,
        (None, Some(range)) if !interface.addresses.is_empty() => {
            return Err(Error::Range(format!(
                "the range {range} is not in a network of the interface {interface}"
            )));
        }
        _ => {
            return Err(Error::Interface(format!(
                "the interface {interface} has no address that machines could reach; `ip address add 10.0.0.1/24 dev {}` gives it one",
                interface.name
            )));
        }
    };
    Ok(Place {
        interface: interface.name.clone(),
        address,
        mask,
    })
}

fn same_network(a: Ipv4Addr, b: Ipv4Addr, mask: Ipv4Addr) -> bool {
    u32::from(a) & u32::from(mask) == u32::from(b) & u32::from(mask)
}

#[cfg(test)]
mod tests;
