//! What speaks against an update: what it does worse than the version before, and what no version may do.
//!
//! The version before leaves a picture of the node beside the slot when it writes it. A node that was not as it should be then
//! is not the update's fault. The picture is JSON of which each version reads what it knows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use axion_api::init::Phase;
use axion_api::storage::{Answer, Call, Health, Pool};
use axion_core::profile::{ItemState, attest};
use axion_core::topology::Topology;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::network::State;
use crate::node::Node;
use crate::storage::on_thread;

/// Tasks whose failure speaks against any update.
const VOTERS: [&str; 1] = ["agent"];

/// How a node is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Picture {
    /// When, seconds since 1970 by the node's clock.
    pub unix_s: u64,
    /// Whether guests can run.
    pub kvm: bool,
    /// Pools that are imported, and whether each is online; `None`: ZFS did not say, which is no word about any of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pools: Option<BTreeMap<String, bool>>,
    /// Items of the boot profile that are not as planned, and how they are.
    pub drift: BTreeMap<String, String>,
    /// MAC addresses of the interfaces that have an address of the network.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub addresses: BTreeSet<String>,
    /// Whether there is a partner on the cable of each interface, by its MAC address: about the present alone.
    #[serde(skip)]
    pub cables: BTreeMap<String, bool>,
}

impl Picture {
    /// Reads what a version before has kept.
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What a version after will read.
    pub fn text(&self) -> String {
        // It holds nothing that JSON cannot.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Looks at the node.
    pub async fn take(node: &Arc<Node>) -> Self {
        let pools = match node.storage.get().cloned() {
            Some(storage) => on_thread(move || storage.serve(Call::Pools)).await.ok(),
            None => None,
        };
        let online = |pool: Pool| (pool.name, pool.state == Health::Online);
        let pools = match pools {
            Some(Answer::Pools(pools)) => Some(pools.into_iter().map(online).collect()),
            _ => None,
        };
        let attested = {
            let node = node.clone();
            tokio::task::spawn_blocking(move || drift(&node)).await
        };
        Self {
            unix_s: clock::unix_us() / 1_000_000,
            kvm: Path::new("/dev/kvm").exists(),
            pools,
            drift: attested.unwrap_or_default(),
            addresses: addresses(Path::new("/"), &node.network.borrow()),
            cables: cables(Path::new("/")),
        }
    }
}

fn addresses(root: &Path, network: &State) -> BTreeSet<String> {
    let mac =
        |name: &str| std::fs::read_to_string(root.join("sys/class/net").join(name).join("address")).ok();
    let macs = network.with_address().filter_map(mac);
    macs.map(|mac| mac.trim().to_owned()).collect()
}

fn cables(root: &Path) -> BTreeMap<String, bool> {
    let nics = Topology::read(root).nics.into_iter();
    nics.map(|nic| (nic.mac, nic.carrier == Some(true))).collect()
}

fn drift(node: &Node) -> BTreeMap<String, String> {
    let attestation = node.plan().map(|plan| attest(Path::new("/"), plan));
    let items = attestation.into_iter().flat_map(|attestation| attestation.items);
    let wrong = items.filter(|item| item.state != ItemState::Ok);
    let told = wrong.map(|item| {
        let how = format!(
            "{}: {}, and not {}",
            item.state.word(),
            item.effective,
            item.desired
        );
        (item.key, how)
    });
    told.collect()
}

/// Tasks that failed and without which no version is good, and why they failed.
pub fn failed_tasks(phases: &[Phase]) -> Vec<String> {
    let tasks = phases.iter().flat_map(|phase| &phase.tasks);
    let counts = tasks.filter(|task| VOTERS.contains(&task.name.as_str()) || task.essential);
    let failed = counts.filter_map(|task| Some(format!("{}: {}", task.name, task.error.as_deref()?)));
    failed.collect()
}

/// Why nothing can be said of the version that runs yet; `None`: it can be voted upon.
pub fn cannot_tell(before: Option<&Picture>, now: &Picture) -> Option<String> {
    let before = before?;
    let missing = [unknown_pools(before, now), lost_addresses(before, now)];
    let missing: Vec<String> = missing.into_iter().flatten().collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

fn unknown_pools(before: &Picture, now: &Picture) -> Option<String> {
    let pools: Vec<&str> = before
        .pools
        .iter()
        .flatten()
        .map(|(pool, _)| pool.as_str())
        .collect();
    let unknown = now.pools.is_none() && !pools.is_empty();
    unknown.then(|| {
        let pools = pools.join("`, `");
        format!("ZFS does not answer, and there was `{pools}` before")
    })
}

/// A node that nobody reaches any more is not found good, however well it is: its network may come up late, and is waited for. A cable
/// that somebody has pulled is not the version's fault, as long as there is another way to the node.
fn lost_addresses(before: &Picture, now: &Picture) -> Option<String> {
    let cut_off = before.addresses.is_disjoint(&now.addresses);
    let lost = before.addresses.difference(&now.addresses);
    let lost: Vec<&str> = lost
        .filter(|mac| cut_off || now.cables.get(*mac) != Some(&false))
        .map(String::as_str)
        .collect();
    (!lost.is_empty()).then(|| {
        format!(
            "the network interface {} had an address before and has none",
            lost.join(" and ")
        )
    })
}

/// What speaks against the version that runs; nothing: it may stay.
pub fn objections(phases: &[Phase], before: Option<&Picture>, now: &Picture) -> Vec<String> {
    let mut objections = failed_tasks(phases);
    let none = Picture::default();
    let before = before.unwrap_or(&none);
    for (key, how) in &now.drift {
        if !before.drift.contains_key(key) {
            objections.push(format!("boot profile: {key} {how}"));
        }
    }
    // Where ZFS does not answer, the vote waits ([`cannot_tell`]).
    let pools = now.pools.as_ref();
    for (pool, was_online) in before.pools.iter().flatten().filter(|_| pools.is_some()) {
        match pools.and_then(|pools| pools.get(pool)) {
            None => objections.push(format!("pool `{pool}` was imported before and is not now")),
            Some(false) if *was_online => {
                objections.push(format!("pool `{pool}` was online before and is not now"));
            }
            Some(_) => {}
        }
    }
    if before.kvm && !now.kvm {
        objections.push("KVM worked before and does not now".to_owned());
    }
    objections
}

/// Phases to test with: a task's name, whether it is essential, its error.
#[cfg(test)]
pub fn sample(tasks: &[(&str, bool, Option<&str>)]) -> Vec<Phase> {
    use axion_api::init::{Outcome, Task};
    let failed = tasks
        .iter()
        .any(|(_, essential, error)| *essential && error.is_some());
    let tasks = tasks.iter().map(|(name, essential, error)| Task {
        name: (*name).to_owned(),
        essential: *essential,
        duration_us: 1,
        error: error.map(str::to_owned),
    });
    vec![Phase {
        stage: 2,
        name: "services".to_owned(),
        start_us: 0,
        duration_us: 1,
        outcome: if failed { Outcome::Failed } else { Outcome::Ok },
        tasks: tasks.collect(),
    }]
}

#[cfg(test)]
mod tests;
