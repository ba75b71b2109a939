//! What each link gets. Pure.

use std::net::IpAddr;

use axion_core::config::{Interface, InterfaceMatch, Network};

/// What is known of a link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// Kernel name.
    pub name: String,
    /// Hardware address.
    pub mac: [u8; 6],
    /// PCI address of the hardware behind it.
    pub pci: Option<String>,
    /// Whether there is hardware behind it.
    pub physical: bool,
}

/// What a link gets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Ask a DHCP server.
    pub dhcp: bool,
    /// Addresses with prefix length.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Default gateways.
    pub gateways: Vec<IpAddr>,
    /// MTU in bytes.
    pub mtu: Option<u32>,
}

/// The plan for `link`; `None`: it is left alone. The first entry of the config that fits wins.
pub fn plan(config: &Network, link: &Link) -> Option<Plan> {
    if config.interfaces.is_empty() {
        return link.physical.then(|| Plan {
            dhcp: true,
            ..Plan::default()
        });
    }
    config
        .interfaces
        .iter()
        .find(|entry| fits(&entry.r#match, link))
        .map(from_entry)
}

/// Whether any entry gives addresses, so that there is something worth waiting for.
pub fn has_static_addresses(config: &Network) -> bool {
    config.interfaces.iter().any(|entry| !entry.addresses.is_empty())
}

fn from_entry(entry: &Interface) -> Plan {
    Plan {
        dhcp: entry.dhcp.unwrap_or(entry.addresses.is_empty()),
        addresses: entry
            .addresses
            .iter()
            .filter_map(|text| parse_address(text))
            .collect(),
        gateways: entry.gateways.clone(),
        mtu: entry.mtu,
    }
}

fn fits(wanted: &InterfaceMatch, link: &Link) -> bool {
    let mac = format_mac(&link.mac);
    let name = wanted.name.as_ref().is_none_or(|n| *n == link.name);
    let mac = wanted
        .mac
        .as_ref()
        .is_none_or(|m| m.to_ascii_lowercase().replace('-', ":") == mac);
    let pci = wanted
        .pci
        .as_ref()
        .is_none_or(|p| Some(p.to_ascii_lowercase()) == link.pci);
    // An entry that names nothing means the machine's own ports, not every bridge and tap.
    let named = wanted.name.is_some() || wanted.mac.is_some() || wanted.pci.is_some();
    name && mac && pci && (named || link.physical)
}

/// `52:54:00:12:34:56`.
pub fn format_mac(mac: &[u8; 6]) -> String {
    mac.map(|b| format!("{b:02x}")).join(":")
}

/// `10.1.0.1/24`, `fd00::1/64`.
pub fn parse_address(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let prefix = prefix
        .parse()
        .ok()
        .filter(|p| *p <= if address.is_ipv4() { 32 } else { 128 })?;
    Some((address, prefix))
}

/// The PCI function that a device below `/sys/devices` belongs to: the last part of its path that is a PCI address.
pub fn pci_address(device: &std::path::Path) -> Option<String> {
    let is_pci = |part: &&str| {
        let lengths: Vec<usize> = part.split([':', '.']).map(str::len).collect();
        lengths == [4, 2, 2, 1]
            && part
                .chars()
                .all(|c| c.is_ascii_hexdigit() || c == ':' || c == '.')
    };
    device
        .iter()
        .filter_map(|part| part.to_str())
        .rfind(is_pci)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests;
