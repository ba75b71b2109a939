//! What a person answers when a node is installed, and the machine config that it makes.
//!
//! Answers are kept as they were typed; what is wrong with one is told with the field it was typed into. The config is the one in
//! force with the answers over it, and goes through [`check`] like any other.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{ConfigError, DiskChoice, PoolLayout, ProfileMode, check, parse_address};

/// What the config of a node to be installed says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAnswers {
    /// Host name; empty: one made of the machine's identity.
    pub hostname: String,
    /// How it is reached.
    pub network: NetworkAnswers,
    /// Mode of the boot profile.
    pub profile: ProfileMode,
    /// Where its state is kept.
    #[serde(default)]
    pub state: StateAnswer,
}

/// A pool on the disks that a node is installed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemPool {
    /// Name: of one that is there already, or is to be made.
    pub name: String,
    /// How it lies on the disks, where it is to be made.
    pub layout: PoolLayout,
}

/// Where a node to be installed keeps its state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateAnswer {
    /// The config in force says so already.
    Config,
    /// In a pool on the disk that it is installed on.
    #[default]
    Disk,
    /// In memory: it is gone after each restart.
    Memory,
}

/// Addresses of a node to be installed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkAnswers {
    /// Where they come from.
    pub addressing: Addressing,
    /// MAC address of the interface; empty: every one that has a link.
    pub interface: String,
    /// Address with its prefix length.
    pub address: String,
    /// Default gateway; empty: none.
    pub gateway: String,
    /// Resolvers, with blanks or commas between them.
    pub dns: String,
}

/// Where addresses come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Addressing {
    /// The config in force says so already.
    Config,
    /// A DHCP server.
    #[default]
    Dhcp,
    /// The answers.
    Static,
}

/// What an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// Nothing that can be answered otherwise: the machine, or the config in force.
    Machine,
    /// Disk.
    Disk,
    /// The second disk, which holds the same.
    Mirror,
    /// What becomes of the pool on it.
    Pool,
    /// [`NetworkAnswers::addressing`].
    Addressing,
    /// [`NetworkAnswers::interface`].
    Interface,
    /// [`NetworkAnswers::address`].
    Address,
    /// [`NetworkAnswers::gateway`].
    Gateway,
    /// [`NetworkAnswers::dns`].
    Dns,
    /// Host name.
    Hostname,
    /// Boot profile.
    Profile,
    /// [`NodeAnswers::state`].
    State,
    /// The word that confirms it all.
    Token,
}

/// An answer that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unanswered {
    /// Which.
    pub field: Field,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Unanswered {
    /// What is wrong with `field`.
    pub fn new(field: Field, message: impl Into<String>) -> Self {
        Self {
            field,
            message: message.into(),
        }
    }
}

impl NodeAnswers {
    /// What is wrong with the answers.
    pub fn refusals(&self) -> Vec<Unanswered> {
        let hostname = toml::Table::from_iter([("hostname".to_owned(), self.hostname.clone().into())]);
        let hostname = check(&hostname.to_string(), "").err().map(|error| {
            let message = error.message.trim_start_matches("`hostname`: ");
            Unanswered::new(Field::Hostname, message)
        });
        let network = match self.network.addressing {
            Addressing::Static => self.network.refusals(),
            Addressing::Config | Addressing::Dhcp => Vec::new(),
        };
        network.into_iter().chain(hostname).collect()
    }

    /// `base`, a machine config without an error, with the answers over it. `pool` is the one on the disks that it is
    /// installed on.
    ///
    /// # Errors
    /// What comes out is no machine config.
    pub fn document(&self, base: &str, pool: &SystemPool) -> Result<String, ConfigError> {
        let mut table: toml::Table = toml::from_str(base).map_err(|error| ConfigError {
            source_name: "the machine config in force".to_owned(),
            line: None,
            message: error.message().to_owned(),
        })?;
        table.insert("hostname".to_owned(), self.hostname.clone().into());
        within(&mut table, "profile", |profile| {
            profile.insert("mode".to_owned(), self.profile.to_string().into());
        });
        if self.network.addressing != Addressing::Config {
            within(&mut table, "network", |network| self.network.put(network));
        }
        if self.state == StateAnswer::Disk {
            within(&mut table, "storage", |storage| declare(storage, pool));
        }
        let text = table.to_string();
        check(&text, "the answers").map(|_| text)
    }
}

/// Declares the pool of the installed disks before all others: the first one keeps the state.
fn declare(storage: &mut toml::Table, pool: &SystemPool) {
    let name = pool.name.as_str();
    storage.remove("state");
    let mut pools = match storage.remove("pools") {
        Some(toml::Value::Array(pools)) => pools,
        _ => Vec::new(),
    };
    let is_declared = |pool: &toml::Value| pool.get("name").and_then(toml::Value::as_str) == Some(name);
    if !pools.iter().any(is_declared) {
        let pool = toml::Table::from_iter([
            ("name".to_owned(), name.into()),
            ("layout".to_owned(), pool.layout.to_string().into()),
            ("disks".to_owned(), vec![DiskChoice::System.to_string()].into()),
        ]);
        pools.insert(0, pool.into());
    }
    storage.insert("pools".to_owned(), pools.into());
}

impl NetworkAnswers {
    /// Resolvers as they were typed.
    fn resolvers(&self) -> impl Iterator<Item = &str> {
        self.dns.split([' ', ',']).filter(|word| !word.is_empty())
    }

    fn refusals(&self) -> Vec<Unanswered> {
        let mut wrong = Vec::new();
        if self.interface.is_empty() {
            wrong.push(Unanswered::new(
                Field::Interface,
                "choose the interface that gets the address",
            ));
        }
        let address = parse_address(self.address.trim());
        if address.is_none() {
            let message = format!(
                "`{}` is not an address with a prefix length, as in `10.0.0.2/24` or `2001:db8::2/64`",
                self.address
            );
            wrong.push(Unanswered::new(Field::Address, message));
        }
        if let Err(message) = gateway(self.gateway.trim(), address) {
            wrong.push(Unanswered::new(Field::Gateway, message));
        }
        let not_one = self.resolvers().find(|word| word.parse::<IpAddr>().is_err());
        if let Some(word) = not_one {
            let message = format!("`{word}` is not an IP address, as in `10.0.0.53`");
            wrong.push(Unanswered::new(Field::Dns, message));
        }
        wrong
    }

    fn put(&self, network: &mut toml::Table) {
        let mut interface = toml::Table::new();
        if !self.interface.is_empty() {
            let by_mac = toml::Table::from_iter([("mac".to_owned(), self.interface.clone().into())]);
            interface.insert("match".to_owned(), by_mac.into());
        }
        if self.addressing == Addressing::Static {
            let dns: Vec<&str> = self.resolvers().collect();
            network.insert("dns".to_owned(), dns.into());
            interface.insert("addresses".to_owned(), vec![self.address.trim()].into());
            let gateway = self.gateway.trim();
            if !gateway.is_empty() {
                interface.insert("gateways".to_owned(), vec![gateway].into());
            }
        }
        if interface.is_empty() {
            network.remove("interfaces");
        } else {
            network.insert("interfaces".to_owned(), vec![interface].into());
        }
    }
}

/// Does something to the table at a key, which is made where it is missing.
fn within(table: &mut toml::Table, key: &str, change: impl FnOnce(&mut toml::Table)) {
    let mut inner = match table.remove(key) {
        Some(toml::Value::Table(inner)) => inner,
        _ => toml::Table::new(),
    };
    change(&mut inner);
    table.insert(key.to_owned(), inner.into());
}

/// Whether a gateway can be reached from an address.
fn gateway(text: &str, address: Option<(IpAddr, u8)>) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let Ok(gateway) = text.parse::<IpAddr>() else {
        return Err(format!("`{text}` is not an IP address, as in `10.0.0.1`"));
    };
    let Some((address, prefix)) = address else {
        return Ok(());
    };
    if gateway.is_ipv4() != address.is_ipv4() {
        return Err(format!("`{gateway}` is not of the family of {address}"));
    }
    // Of IPv6, gateways are usually link-local.
    let link_local = matches!(gateway, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if gateway == address {
        Err(format!("`{gateway}` is the node itself"))
    } else if link_local || network(gateway, prefix) == network(address, prefix) {
        Ok(())
    } else {
        Err(format!("`{gateway}` is not in the network of {address}/{prefix}"))
    }
}

/// The first `prefix` bits of an address.
fn network(address: IpAddr, prefix: u8) -> u128 {
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    bits.checked_shr(width - u32::from(prefix).min(width))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
