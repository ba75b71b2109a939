//! Which of the pools on the disks may be imported?
//!
//! Labels say all that is needed: the pool, who had it last, and whether it was given back. `zpool import` would find the same,
//! but says it in prose.

use std::collections::BTreeMap;

use axion_api::storage::FoundPool;
use axion_core::config::{ImportPolicy, Storage};

use crate::label::Label;

/// A pool that is on disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its newest label.
    pub label: Label,
    /// Device nodes that carry one (`nvme0n1p1`).
    pub nodes: Vec<String>,
}

/// Puts the labels of all devices together; destroyed pools are left out.
pub fn gather(labels: &[(String, Label)]) -> Vec<Found> {
    let mut pools: BTreeMap<u64, Found> = BTreeMap::new();
    for (node, label) in labels.iter().filter(|(_, label)| !label.is_destroyed()) {
        let found = pools.entry(label.pool_guid).or_insert_with(|| Found {
            label: label.clone(),
            nodes: Vec::new(),
        });
        found.nodes.push(node.clone());
        if label.txg > found.label.txg {
            found.label = label.clone();
        }
    }
    pools.into_values().collect()
}

impl Found {
    /// The host that has the pool and is not this one.
    pub fn foreign_host(&self, hostid: u32) -> Option<String> {
        let other = self.label.is_active() && self.label.hostid != 0 && self.label.hostid != hostid;
        other.then(|| format!("{} ({:08x})", self.label.hostname, self.label.hostid))
    }

    /// The same for the API.
    pub fn view(&self, hostid: u32) -> FoundPool {
        FoundPool {
            name: self.label.pool.clone(),
            guid: self.label.pool_guid.to_string(),
            exported: !self.label.is_active(),
            foreign_host: self.foreign_host(hostid),
            devices: self.nodes.iter().map(|node| format!("/dev/{node}")).collect(),
        }
    }

    /// Arguments of `zpool import`: by id, from these devices only, nothing mounted yet, and not in a cache file (`-R`).
    pub fn arguments(&self, root: &str, force: bool) -> Vec<String> {
        let fixed = ["import", "-N", "-R", root];
        let mut arguments: Vec<String> = fixed.map(str::to_owned).into();
        if force {
            arguments.push("-f".to_owned());
        }
        for node in &self.nodes {
            arguments.extend(["-d".to_owned(), format!("/dev/{node}")]);
        }
        arguments.push(self.label.pool_guid.to_string());
        arguments
    }
}

/// What is done with a pool that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is imported, by force where a declaration says so.
    Import {
        /// Which.
        pool: Found,
        /// Even though another host has it.
        force: bool,
    },
    /// It is left alone; why.
    Leave {
        /// Which.
        pool: Found,
        /// Why, and what would change that.
        reason: String,
        /// Somebody expects it to be there.
        wanted: bool,
    },
}

/// Why a pool of another host is left alone.
pub fn refusal(name: &str, host: &str) -> String {
    format!(
        "pool `{name}` was last used by host {host}, which did not export it; if that host is down for good, import it with \
         `take_over = true`, or export it there"
    )
}

/// Decides about every pool that was found, for the start of the node.
pub fn decide(found: &[Found], storage: &Storage, hostid: u32) -> Vec<Verdict> {
    let verdict = |pool: &Found| {
        let name = &pool.label.pool;
        let rule = storage.pools.iter().find(|rule| rule.name == *name);
        let leave = |reason: String, wanted| Verdict::Leave {
            pool: pool.clone(),
            reason,
            wanted,
        };
        let twins = found.iter().filter(|other| other.label.pool == *name).count();
        if twins > 1 {
            let id = pool.label.pool_guid;
            let reason = format!("{twins} pools are called `{name}`; import one of them by its id, as {id}");
            return leave(reason, rule.is_some());
        }
        if rule.is_none() && storage.import == ImportPolicy::Declared {
            let reason =
                format!("pool `{name}` is not in `storage.pools`, and `storage.import` is `declared`");
            return leave(reason, false);
        }
        let force = rule.is_some_and(|rule| rule.take_over);
        match pool.foreign_host(hostid) {
            Some(host) if !force => leave(refusal(name, &host), rule.is_some()),
            _ => Verdict::Import {
                pool: pool.clone(),
                force,
            },
        }
    };
    found.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests;
