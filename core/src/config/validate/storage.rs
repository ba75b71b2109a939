//! What can be said of `[storage]` without the machine; the rest is the planner's.

use std::collections::BTreeSet;

use super::{Findings, Place};
use crate::config::encryption::{Encryption, LAST_PCR, RESETTABLE_PCRS, is_hex_key, is_passphrase};
use crate::config::storage::{
    DiskChoice, ImportPolicy, POOL_NAME_FORM, PoolRule, StatePool, Storage, is_dataset_name, is_pool_name,
};

/// Name of the node's own datasets, below a pool's.
const NODE_DATASET: &str = "axion";

pub(super) fn rules(found: &mut Findings, storage: &Storage) {
    found.range("storage.settle", storage.settle, 0..=300, "0s to 5min");
    if storage.scrub.0.as_secs() != 0 {
        found.range(
            "storage.scrub",
            storage.scrub,
            86_400..=31_536_000,
            "1d to 365d, or 0s for none",
        );
    }
    encryption(found, &storage.encryption);
    let mut names = BTreeSet::new();
    let mut disks = BTreeSet::new();
    for (index, rule) in storage.pools.iter().enumerate() {
        let place = Place::of("storage.pools").index(index);
        pool(found, &place, rule);
        if !names.insert(&rule.name) {
            let message = format!("`{}` is declared twice", rule.name);
            found.refuse(place.key("name"), message);
        }
        for (at, choice) in rule.disks.iter().enumerate() {
            if !disks.insert(choice) {
                let message = format!("`{choice}` is named twice; a disk is in one pool, once");
                found.refuse(place.key("disks").index(at), message);
            }
        }
    }
    if let StatePool::Pool(name) = &storage.state
        && !names.contains(name)
        && storage.import == ImportPolicy::Declared
    {
        let message = format!("`{name}` is not in `storage.pools`, and `storage.import` is `declared`");
        found.refuse(Place::of("storage.state"), message);
    }
}

fn pool(found: &mut Findings, place: &Place, rule: &PoolRule) {
    if !is_pool_name(&rule.name) {
        let message = format!(
            "`{}` is not a pool's name; allowed are {POOL_NAME_FORM}",
            rule.name
        );
        found.refuse(place.key("name"), message);
    }
    let fewest = rule.layout.fewest_disks();
    // A node with two system disks has two parts of that name.
    let most = rule.disks.len() + usize::from(rule.disks.contains(&DiskChoice::System));
    if most < fewest {
        let message = format!(
            "{} given; a {} takes at least {fewest}",
            rule.disks.len(),
            rule.layout
        );
        found.refuse(place.key("disks"), message);
    }
    for (at, choice) in rule.erase.iter().enumerate() {
        if !rule.disks.contains(choice) {
            let message = format!(
                "`{choice}` is not in `disks`, written the same way; only disks of the pool are erased"
            );
            found.refuse(place.key("erase").index(at), message);
        }
    }
    if let Some(ashift) = rule.ashift.filter(|ashift| !(9..=16).contains(ashift)) {
        let message = format!("{ashift} is not allowed; allowed are 9 to 16 (512 B to 64 KiB)");
        found.refuse(place.key("ashift"), message);
    }
}

fn encryption(found: &mut Findings, encryption: &Encryption) {
    let place = Place::of("storage.encryption");
    // Another document may have the secret, so that it need not be there; and it is not repeated here.
    if let Some(secret) = &encryption.secret
        && !is_hex_key(secret.expose())
        && !is_passphrase(secret.expose())
    {
        let message = "allowed are a key of 64 hex digits, and a passphrase of 8 to 512 bytes in one line";
        found.refuse(place.key("secret"), message.to_owned());
    }
    for (name, secret) in &encryption.secrets {
        let place = place.key("secrets").key(name);
        if !is_dataset_name(name) {
            let message = "not a dataset's name; allowed is one as in `tank/projects`";
            found.refuse(place.clone(), message.to_owned());
        } else if name.split('/').nth(1) == Some(NODE_DATASET) {
            let message = "belongs to the node itself, whose key is `storage.encryption.secret`";
            found.refuse(place.clone(), message.to_owned());
        }
        if !is_hex_key(secret.expose()) && !is_passphrase(secret.expose()) {
            let message =
                "allowed are a key of 64 hex digits, and a passphrase of 8 to 512 bytes in one line";
            found.refuse(place, message.to_owned());
        }
    }
    let mut seen = BTreeSet::new();
    for (at, pcr) in encryption.pcrs.iter().enumerate() {
        let wrong = if *pcr > LAST_PCR {
            Some(format!("PCR {pcr} does not exist; allowed are 0 to {LAST_PCR}"))
        } else if RESETTABLE_PCRS.contains(pcr) {
            Some(format!(
                "PCR {pcr} can be reset by whatever runs on the machine; it protects nothing"
            ))
        } else if !seen.insert(pcr) {
            Some(format!("PCR {pcr} is named twice"))
        } else {
            None
        };
        if let Some(message) = wrong {
            found.refuse(place.key("pcrs").index(at), message);
        }
    }
}
