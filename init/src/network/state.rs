//! What is known of the network, for the rest of init, the console and `resolv.conf`. Pure.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// What a lease says besides the address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Learnt {
    /// Resolvers.
    pub dns: Vec<Ipv4Addr>,
    /// Search domains.
    pub search: Vec<String>,
    /// NTP servers.
    pub ntp: Vec<Ipv4Addr>,
}

/// A link, for people and for waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct LinkState {
    text: String,
    has_address: bool,
    learnt: Learnt,
}

/// The network as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    dns: Vec<IpAddr>,
    search: Vec<String>,
    links: BTreeMap<String, LinkState>,
}

impl State {
    /// Nothing but what the config says.
    pub fn new(config: &axion_core::config::Network) -> Self {
        Self {
            dns: config.dns.clone(),
            search: config.search.clone(),
            links: BTreeMap::new(),
        }
    }

    /// Says what a link is doing, and what it learnt.
    pub fn set(&mut self, link: &str, text: String, has_address: bool, learnt: Learnt) {
        self.links.insert(
            link.to_owned(),
            LinkState {
                text,
                has_address,
                learnt,
            },
        );
    }

    /// Forgets a link.
    pub fn remove(&mut self, link: &str) {
        self.links.remove(link);
    }

    /// Links and what they are doing, for people.
    pub fn links(&self) -> Vec<(String, String)> {
        self.links
            .iter()
            .map(|(name, link)| (name.clone(), link.text.clone()))
            .collect()
    }

    /// Whether some link has an address.
    pub fn is_up(&self) -> bool {
        self.links.values().any(|l| l.has_address)
    }

    /// Links that have an address.
    pub fn with_address(&self) -> impl Iterator<Item = &str> {
        let links = self.links.iter().filter(|(_, link)| link.has_address);
        links.map(|(name, _)| name.as_str())
    }

    fn learnt<T: PartialEq + Clone>(&self, first: &[T], of: impl Fn(&Learnt) -> Vec<T>) -> Vec<T> {
        let mut all = first.to_vec();
        for item in self.links.values().flat_map(|l| of(&l.learnt)) {
            if !all.contains(&item) {
                all.push(item);
            }
        }
        all
    }

    /// Resolvers, those of the config first.
    pub fn dns(&self) -> Vec<IpAddr> {
        self.learnt(&self.dns, |l| l.dns.iter().copied().map(IpAddr::V4).collect())
    }

    /// NTP servers learnt by DHCP.
    pub fn ntp(&self) -> Vec<String> {
        self.learnt(&[], |l| l.ntp.iter().map(Ipv4Addr::to_string).collect())
    }

    /// The text of resolv.conf(5).
    pub fn resolv_conf(&self) -> String {
        let mut text = String::new();
        let search = self.learnt(&self.search, |l| l.search.clone());
        if !search.is_empty() {
            let _ = writeln!(text, "search {}", search.join(" "));
        }
        for server in self.dns() {
            let _ = writeln!(text, "nameserver {server}");
        }
        text
    }
}

/// A domain name as a DHCP server may give one; anything else would end up in resolv.conf as it is.
pub fn is_domain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    (1..=253).contains(&name.len()) && name.chars().all(allowed)
}

#[cfg(test)]
mod tests;
