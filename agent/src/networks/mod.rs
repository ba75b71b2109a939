//! Networks: what connects the VMs of a node with each other, with the host and with the outside.
//!
//! A network is a Linux bridge on the host, which init makes: the agent may not. What is wanted is stored; what there is is
//! the kernel's to say, and is read from `/sys/class/net`. Init brings a bridge to what is asked for from whatever it is,
//! so asking again is always right: the agent asks when a network is put, when the agent starts ([`run`]; after a reboot
//! the kernel has none), and before a VM that uses it is started. A network that cannot be made is undone, so that what is
//! stored could be made once.
//!
//! A node that keeps no state forgets its networks with everything else when it is restarted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axion_api::init::Bridge;
use axion_api::network::{Network, NetworkSpec};
use axion_api::problem::{Kind, Problem};
use axion_core::mac::Mac;

use crate::host;
use crate::init::{Init, InitError, answer};
use crate::log::chain;
use crate::store::{Entry, Expect, Precondition, Store, StoreError, kept};

/// Keys of network records start with this.
const PREFIX: &str = "networks/";
/// Longest name: an interface has 15 bytes, of which `ax-` takes three.
const LONGEST_NAME: usize = 12;
/// MTUs, bytes.
const MTUS: std::ops::RangeInclusive<u16> = 576..=9216;
/// The MTU of a network that names none, bytes.
const ORDINARY_MTU: u16 = 1500;
/// Pauses between attempts to make the networks after the start.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why networks cannot be worked on, for the node's own reasons.
#[derive(Debug, thiserror::Error)]
pub enum NetworksError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record.
    #[error("the record `{key}` in the store cannot be read or written")]
    Record {
        /// Its key.
        key: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Init.
    #[error("network `{name}`")]
    Init {
        /// The network.
        name: String,
        /// Why.
        source: InitError,
    },
    /// There is none.
    #[error("there is no network `{0}`")]
    Missing(String),
}

impl From<NetworksError> for Problem {
    fn from(error: NetworksError) -> Self {
        match error {
            NetworksError::Store(error) => error.into(),
            NetworksError::Init { source, .. } => source.into(),
            NetworksError::Missing(_) => Self::new(Kind::NotFound, error.to_string()),
            NetworksError::Record { .. } => Self::new(Kind::Internal, chain(&error)),
        }
    }
}

/// A network's record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stored {
    name: String,
    revision: u64,
    spec: NetworkSpec,
}

/// The networks of a node.
pub struct Networks {
    store: Arc<dyn Store>,
    init: Arc<Init>,
    /// `/sys/class/net`.
    interfaces: PathBuf,
    /// Held while a network is made or deleted.
    making: tokio::sync::Mutex<()>,
    errors: Mutex<BTreeMap<String, String>>,
}

/// Name of the bridge that a network is.
pub fn bridge_name(name: &str) -> String {
    format!("ax-{name}")
}

/// MTU of a network, bytes.
pub fn mtu(spec: &NetworkSpec) -> u16 {
    spec.mtu.unwrap_or(ORDINARY_MTU)
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn stored(entry: Entry) -> Result<Stored, NetworksError> {
    let name = entry.key.strip_prefix(PREFIX).unwrap_or(&entry.key).to_owned();
    let spec = kept::read(&entry.key, &entry.value);
    Ok(Stored {
        name,
        revision: entry.revision,
        spec: spec.map_err(|source| NetworksError::Record {
            key: entry.key,
            source,
        })?,
    })
}

/// Whether a network may have this name.
pub fn is_name(name: &str) -> bool {
    let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(letters)
}

fn check_name(name: &str) -> Result<(), Problem> {
    if is_name(name) {
        return Ok(());
    }
    let detail = format!(
        "`{}` is no network's name; allowed are 1 to {LONGEST_NAME} of a-z, 0-9 and `-`, starting with a letter",
        name.escape_debug()
    );
    Err(Problem::new(Kind::Invalid, detail))
}

/// An address and the number of leading bits that it shares with its network.
type Address = (IpAddr, u8);

fn parse_address(text: &str) -> Option<Address> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix
        .parse()
        .ok()
        .filter(|prefix| (1..=longest).contains(prefix))?;
    let host = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
    host.then_some((address, prefix))
}

/// Whether one of two networks lies in the other.
fn overlap(one: Address, other: Address) -> bool {
    let prefix = one.1.min(other.1);
    match (one.0, other.0) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits())
            .checked_shr(32 - u32::from(prefix.min(32)))
            .is_none_or(|rest| rest == 0),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits())
            .checked_shr(128 - u32::from(prefix.min(128)))
            .is_none_or(|rest| rest == 0),
        _ => false,
    }
}

fn invalid(pointer: &str, detail: impl Into<String>) -> Problem {
    Problem::new(Kind::Invalid, detail).at(pointer)
}

/// Checks a spec against the other networks and the host's own addresses.
fn check(name: &str, spec: &NetworkSpec, others: &[Stored], host: &[Address]) -> Result<(), Problem> {
    if let Some(mtu) = spec.mtu.filter(|mtu| !MTUS.contains(mtu)) {
        let detail = format!("{mtu} bytes; allowed are {} to {}", MTUS.start(), MTUS.end());
        return Err(invalid("/mtu", detail));
    }
    let before = others.iter().find(|other| other.name == name);
    let mut others = others.iter().filter(|other| other.name != name);
    if let Some(uplink) = &spec.uplink {
        let name =
            (1..=15).contains(&uplink.len()) && uplink.chars().all(|c| c.is_ascii_graphic() && c != '/');
        if uplink.parse::<Mac>().is_err() && !name {
            let detail = format!(
                "`{}` is neither an interface's name (`eth1`) nor its MAC address",
                uplink.escape_debug()
            );
            return Err(invalid("/uplink", detail));
        }
        let same = |other: &&Stored| other.spec.uplink.as_ref() == Some(uplink);
        if let Some(other) = others.clone().find(same) {
            let detail = format!("`{uplink}` is the uplink of network `{}` already", other.name);
            return Err(invalid("/uplink", detail));
        }
    }
    let Some(text) = &spec.address else {
        return Ok(());
    };
    let Some(address) = parse_address(text) else {
        let detail = format!(
            "`{}` is no address of a host with its prefix length, as in `10.1.0.1/24`",
            text.escape_debug()
        );
        return Err(invalid("/address", detail));
    };
    let theirs = |other: &Stored| other.spec.address.as_deref().and_then(parse_address);
    if let Some(other) = others.find(|other| theirs(other).is_some_and(|theirs| overlap(theirs, address))) {
        let detail = format!("{text} overlaps the addresses of network `{}`", other.name);
        return Err(invalid("/address", detail));
    }
    // With force the uplink loses its addresses, and the network may be meant to take their place.
    let before = before.and_then(theirs);
    let own = host
        .iter()
        .filter(|own| **own != address && Some(**own) != before && !spec.force);
    if let Some((ip, prefix)) = own.copied().find(|own| overlap(*own, address)) {
        let detail = format!("{text} overlaps {ip}/{prefix}, by which the host is connected elsewhere");
        return Err(invalid("/address", detail));
    }
    Ok(())
}

/// What init is asked for.
fn bridge(name: &str, spec: &NetworkSpec) -> Bridge {
    Bridge {
        name: bridge_name(name),
        mtu: mtu(spec).into(),
        address: spec.address.clone().unwrap_or_default(),
        uplink: spec.uplink.clone().unwrap_or_default(),
        force: spec.force,
    }
}

impl Networks {
    /// The networks whose interfaces are shown in `interfaces`.
    pub fn new(store: Arc<dyn Store>, init: Arc<Init>, interfaces: PathBuf) -> Self {
        Self {
            store,
            init,
            interfaces,
            making: tokio::sync::Mutex::default(),
            errors: Mutex::default(),
        }
    }

    async fn records(&self) -> Result<Vec<Stored>, NetworksError> {
        self.store.list(PREFIX).await?.into_iter().map(stored).collect()
    }

    async fn record(&self, name: &str) -> Result<Option<Stored>, NetworksError> {
        self.store.get(&key(name)).await?.map(stored).transpose()
    }

    async fn write(&self, name: &str, spec: &NetworkSpec, expect: Expect) -> Result<u64, NetworksError> {
        let key = key(name);
        match serde_json::to_vec(spec) {
            Ok(value) => Ok(self.store.put(&key, value, expect).await?),
            Err(source) => Err(NetworksError::Record { key, source }),
        }
    }

    /// What networks are to be, by name.
    pub async fn specs(&self) -> Result<BTreeMap<String, NetworkSpec>, NetworksError> {
        let records = self.records().await?;
        Ok(records
            .into_iter()
            .map(|stored| (stored.name, stored.spec))
            .collect())
    }

    fn view(&self, stored: &Stored, used_by: Vec<String>) -> Network {
        let bridge = bridge_name(&stored.name);
        let ports = std::fs::read_dir(self.interfaces.join(&bridge).join("brif"));
        let mut ports: Vec<String> = ports
            .into_iter()
            .flatten()
            .flatten()
            .map(|port| port.file_name().to_string_lossy().into_owned())
            .collect();
        ports.sort_unstable();
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        Network {
            name: stored.name.clone(),
            revision: stored.revision,
            spec: stored.spec.clone(),
            bridge,
            ports,
            used_by,
            error: errors.get(&stored.name).cloned(),
        }
    }

    /// Every network, by name; `users` says which VMs have an interface in it.
    pub async fn list(&self, users: impl Fn(&str) -> Vec<String>) -> Result<Vec<Network>, NetworksError> {
        let records = self.records().await?;
        Ok(records
            .iter()
            .map(|stored| self.view(stored, users(&stored.name)))
            .collect())
    }

    /// One network.
    pub async fn get(&self, name: &str, users: impl Fn(&str) -> Vec<String>) -> Result<Network, Problem> {
        let stored = self.existing(name).await?;
        Ok(self.view(&stored, users(name)))
    }

    async fn existing(&self, name: &str) -> Result<Stored, Problem> {
        check_name(name)?;
        self.record(name).await?.ok_or_else(|| {
            let detail = format!(
                "there is no network `{name}`; GET /v1/networks lists them, PUT /v1/networks/{name} makes it"
            );
            Problem::new(Kind::NotFound, detail)
        })
    }

    /// Makes a network, or changes one. Answers it and whether it is new.
    pub async fn put(
        &self,
        name: &str,
        spec: NetworkSpec,
        condition: &Precondition,
        users: impl Fn(&str) -> Vec<String>,
    ) -> Result<(Network, bool), Problem> {
        check_name(name)?;
        let _making = self.making.lock().await;
        let records = self.records().await?;
        let found = records.iter().find(|stored| stored.name == name);
        condition.check("network", name, found.map(|stored| stored.revision))?;
        check(name, &spec, &records, &host::addresses())?;
        let expect = found.map_or(Expect::Absent, |stored| Expect::Revision(stored.revision));
        let revision = match found {
            Some(stored) if stored.spec == spec => stored.revision,
            _ => self.write(name, &spec, expect).await?,
        };
        if let Err(error) = self.make(name, &spec).await {
            self.undo(name, revision, found).await;
            return Err(error.into());
        }
        let stored = Stored {
            name: name.to_owned(),
            revision,
            spec,
        };
        Ok((self.view(&stored, users(name)), found.is_none()))
    }

    /// Puts back what was stored before a write whose network cannot be made.
    async fn undo(&self, name: &str, revision: u64, before: Option<&Stored>) {
        let undone = match before {
            Some(before) if before.revision == revision => Ok(()),
            Some(before) => {
                let written = self.write(name, &before.spec, Expect::Revision(revision)).await;
                // Init may have done a part of it.
                let _ = self.make(name, &before.spec).await;
                written.map(drop)
            }
            None => {
                let _ = self.unmake(name).await;
                self.note(name, None);
                self.store.delete(&key(name), revision).await.map_err(Into::into)
            }
        };
        if let Err(error) = undone {
            tracing::error!("network {name} was refused and stays stored: {}", chain(&error));
        }
    }

    /// Has init make the network what it is to be.
    async fn make(&self, name: &str, spec: &NetworkSpec) -> Result<(), NetworksError> {
        let failed = |source| NetworksError::Init {
            name: name.to_owned(),
            source,
        };
        let proxy = self.init.proxy().map_err(failed)?;
        let made = answer(proxy.ensure_bridge(&bridge(name, spec)))
            .await
            .map_err(failed);
        self.note(name, made.as_ref().err().map(|error| chain(error)));
        made
    }

    async fn unmake(&self, name: &str) -> Result<(), NetworksError> {
        let failed = |source| NetworksError::Init {
            name: name.to_owned(),
            source,
        };
        let proxy = self.init.proxy().map_err(failed)?;
        answer(proxy.remove_bridge(&bridge_name(name)))
            .await
            .map_err(failed)
    }

    fn note(&self, name: &str, error: Option<String>) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            Some(error) => errors.insert(name.to_owned(), error),
            None => errors.remove(name),
        };
    }

    /// Makes sure that a network is there before a VM is connected to it.
    pub async fn ensure(&self, name: &str) -> Result<(), NetworksError> {
        let _making = self.making.lock().await;
        let stored = self.record(name).await?;
        let stored = stored.ok_or_else(|| NetworksError::Missing(name.to_owned()))?;
        self.make(name, &stored.spec).await
    }

    /// Deletes a network that nobody uses: whoever calls has made sure of that, and keeps it so.
    pub async fn delete(&self, name: &str, condition: &Precondition) -> Result<(), Problem> {
        let _making = self.making.lock().await;
        let stored = self.existing(name).await?;
        condition.check("network", name, Some(stored.revision))?;
        self.unmake(name).await?;
        self.note(name, None);
        Ok(self.store.delete(&key(name), stored.revision).await?)
    }

    /// Makes every network; whether all of them could be made.
    async fn make_all(&self) -> Result<bool, NetworksError> {
        let _making = self.making.lock().await;
        let mut all = true;
        for stored in self.records().await? {
            if let Err(error) = self.make(&stored.name, &stored.spec).await {
                all = false;
                tracing::debug!("{}", chain(&error));
            }
        }
        Ok(all)
    }
}

/// Makes the networks after the start of the agent, until each could be made: an uplink may come late.
pub async fn run(networks: Arc<Networks>) {
    let mut pause = FIRST_PAUSE;
    loop {
        match networks.make_all().await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!("cannot make the networks: {}", chain(&error)),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests;
