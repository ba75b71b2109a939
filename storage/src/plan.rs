//! May a pool be made of these disks, and how?
//!
//! Nothing is written before every disk was found fit, and what is not fit is said of all of them at once. A disk is fit if it
//! is exactly one, nobody uses it, and it is empty, or is named in `erase` and does not hold this very pool: a declaration
//! that stays in the config must not destroy at the next boot what it made at the first. Nor is a disk that cannot be read: what
//! hides this very pool for one boot may be an error that passes.

use std::collections::BTreeMap;

use axion_api::storage::PoolSpec;
use axion_core::config::{DiskChoice, PoolLayout, PoolRule};
use axion_core::profile::{Refusal, Refusals};
use axion_core::quantity::ByteSize;
use axion_core::topology::Disk;

use crate::contents::Contents;
use crate::table;
use crate::tune::{self, Property};

/// Smallest disk, bytes.
const SMALLEST: u64 = 256 << 20;

/// A disk of the node, or the part of a system disk that is for ZFS, and what is on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The disk. A part has the name of its partition's node and its size, and nothing that a whole disk is named by.
    pub disk: Disk,
    /// What is on it.
    pub contents: Contents,
    /// It is such a part.
    pub is_part: bool,
}

impl Candidate {
    /// How it is named; nothing where it has nothing to be named by.
    pub fn choice(&self) -> Option<DiskChoice> {
        if self.is_part {
            Some(DiskChoice::System)
        } else {
            DiskChoice::of(&self.disk)
        }
    }

    fn is(&self, choice: &DiskChoice) -> bool {
        match choice {
            DiskChoice::System => self.is_part,
            _ => choice.fits(&self.disk),
        }
    }

    /// Bytes that a pool can have of it.
    pub(crate) const fn room(&self) -> u64 {
        if self.is_part {
            self.disk.size
        } else {
            table::room(self.disk.size)
        }
    }
}

/// One disk of a pool to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDisk {
    /// The disk.
    pub disk: Disk,
    /// It is a partition already.
    pub is_part: bool,
    /// Bytes of its partition.
    pub length: u64,
    /// What is lost.
    pub lost: Vec<String>,
}

/// How a pool is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolPlan {
    /// Name.
    pub name: String,
    /// How the disks are put together.
    pub layout: PoolLayout,
    /// The disks, in the order in which they were given.
    pub disks: Vec<PlannedDisk>,
    /// Properties of the pool.
    pub pool: Vec<Property>,
    /// Properties of the file system at its root.
    pub root: Vec<Property>,
}

/// A pool as the machine config declares it, as the API would.
pub fn spec_of(rule: &PoolRule) -> PoolSpec {
    PoolSpec {
        layout: rule.layout,
        disks: rule.disks.clone(),
        erase: rule.erase.clone(),
        ashift: rule.ashift,
        compression: rule.compression,
    }
}

/// Decides how a pool is made; `key` is where its declaration is, for refusals (`storage.pools[0].`, or nothing).
///
/// # Errors
/// Every disk that cannot be used, and why.
pub fn plan(name: &str, spec: &PoolSpec, candidates: &[Candidate], key: &str) -> Result<PoolPlan, Refusals> {
    let mut refusals = Vec::new();
    let mut chosen: Vec<&Candidate> = Vec::new();
    let mut taken: BTreeMap<&str, &DiskChoice> = BTreeMap::new();
    let fewest = spec.layout.fewest_disks();
    let parts = candidates.iter().filter(|candidate| candidate.is_part).count();
    // `system` is one for each system disk; where there is none, that is said below.
    let named = |choice: &DiskChoice| match choice {
        DiskChoice::System => parts.max(1),
        _ => 1,
    };
    let given: usize = spec.disks.iter().map(named).sum();
    if given < fewest {
        refusals.push(Refusal {
            key: format!("{key}disks"),
            reason: format!("{given} given; a {} takes at least {fewest}", spec.layout),
            nearest: None,
        });
    }
    if let Some(ashift) = spec.ashift.filter(|ashift| !(9..=16).contains(ashift)) {
        refusals.push(Refusal {
            key: format!("{key}ashift"),
            reason: format!("{ashift} is not allowed; allowed are 9 to 16"),
            nearest: None,
        });
    }
    for (index, choice) in spec.disks.iter().enumerate() {
        let refuse = |reason: String, nearest: Option<String>| Refusal {
            key: format!("{key}disks[{index}]"),
            reason,
            nearest,
        };
        let found = match all_of(choice, candidates) {
            Ok(found) => found,
            Err((reason, nearest)) => {
                refusals.push(refuse(reason, nearest));
                continue;
            }
        };
        for found in found {
            if let Some(other) = taken.insert(&found.disk.name, choice) {
                let reason = format!("`{choice}` and `{other}` are the same disk, {}", found.disk.name);
                refusals.push(refuse(reason, None));
                continue;
            }
            match fit(name, choice, found, spec.erase.contains(choice)) {
                Ok(()) => chosen.push(found),
                Err((reason, nearest)) => refusals.push(refuse(reason, nearest)),
            }
        }
    }
    if !refusals.is_empty() {
        return Err(Refusals(refusals));
    }
    let disks: Vec<&Disk> = chosen.iter().map(|candidate| &candidate.disk).collect();
    Ok(PoolPlan {
        name: name.to_owned(),
        layout: spec.layout,
        pool: tune::pool(&disks, spec.ashift),
        root: tune::root(name, spec.compression),
        disks: sized(spec.layout, &chosen),
    })
}

/// Partitions: where blocks are on several disks, all are as large as the smallest.
fn sized(layout: PoolLayout, chosen: &[&Candidate]) -> Vec<PlannedDisk> {
    let smallest = chosen.iter().map(|candidate| candidate.room()).min();
    let planned = chosen.iter().map(|candidate| PlannedDisk {
        disk: candidate.disk.clone(),
        is_part: candidate.is_part,
        length: match (layout, smallest) {
            (PoolLayout::Stripe, _) | (_, None) => candidate.room(),
            (_, Some(smallest)) => smallest,
        },
        lost: candidate.contents.describe(),
    });
    planned.collect()
}

type Unfit = (String, Option<String>);

/// What a choice means: one disk, or the part of each system disk.
fn all_of<'c>(choice: &DiskChoice, candidates: &'c [Candidate]) -> Result<Vec<&'c Candidate>, Unfit> {
    if *choice == DiskChoice::System {
        let parts: Vec<_> = candidates.iter().filter(|candidate| candidate.is_part).collect();
        if !parts.is_empty() {
            return Ok(parts);
        }
    }
    find(choice, candidates).map(|one| vec![one])
}

/// The one disk that a choice means.
fn find<'c>(choice: &DiskChoice, candidates: &'c [Candidate]) -> Result<&'c Candidate, Unfit> {
    let fitting: Vec<_> = candidates
        .iter()
        .filter(|candidate| candidate.is(choice))
        .collect();
    match fitting.as_slice() {
        [one] => Ok(one),
        [] if *choice == DiskChoice::System => {
            let reason =
                "the node was not started from an installed disk, so there is no part of one for ZFS";
            Err((reason.to_owned(), None))
        }
        [] => {
            let there = candidates
                .iter()
                .filter(|candidate| candidate.contents.is_empty());
            let there: Vec<_> = there.filter_map(Candidate::choice).collect();
            let nearest = there
                .iter()
                .map(|choice| format!("\"{choice}\""))
                .collect::<Vec<_>>()
                .join(", ");
            Err((
                format!("no disk is `{choice}`"),
                (!nearest.is_empty()).then(|| format!("{nearest}, which are empty")),
            ))
        }
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|candidate| candidate.disk.name.as_str())
                .collect();
            let others: Vec<_> = several
                .iter()
                .filter_map(|candidate| candidate.disk.wwid.as_ref())
                .collect();
            let nearest = others
                .iter()
                .map(|wwid| format!("\"wwid:{wwid}\""))
                .collect::<Vec<_>>()
                .join(", ");
            Err((
                format!("{} disks are `{choice}`: {}", several.len(), names.join(", ")),
                (!nearest.is_empty()).then_some(nearest),
            ))
        }
    }
}

/// Whether a disk may be used.
fn fit(pool: &str, choice: &DiskChoice, candidate: &Candidate, erase: bool) -> Result<(), Unfit> {
    let Candidate { disk, contents, .. } = candidate;
    let name = &disk.name;
    if disk.read_only {
        return Err((format!("{name} is write-protected"), None));
    }
    if disk.size < SMALLEST {
        let reason = format!(
            "{name} has {}; {} are needed",
            ByteSize(disk.size),
            ByteSize(SMALLEST)
        );
        return Err((reason, None));
    }
    if ![512, 4096].contains(&disk.logical_sector) {
        let reason = format!(
            "{name} has sectors of {} bytes; 512 and 4096 are known",
            disk.logical_sector
        );
        return Err((reason, None));
    }
    if let Some(user) = &contents.user {
        return Err((format!("{name} is in use: {user}"), None));
    }
    let same = contents
        .labels
        .iter()
        .find(|(_, label)| label.pool == pool && !label.is_destroyed());
    if let Some((node, label)) = same {
        let reason = format!(
            "{node} is of a pool `{pool}` already (id {}), which is imported and never overwritten; destroy that pool, or \
             choose another name",
            label.pool_guid
        );
        return Err((reason, None));
    }
    // The labels of this very pool may be where nothing can be read.
    if contents.unreadable {
        let reason = format!(
            "nobody knows what is on {name}, and `erase` does not help: {}; choose another disk",
            contents.describe().join(", ")
        );
        return Err((reason, None));
    }
    if !contents.is_empty() && !erase {
        let reason = format!("{name} is not empty: {}", contents.describe().join(", "));
        return Err((reason, Some(format!("erase = [\"{choice}\"], which destroys it"))));
    }
    Ok(())
}

impl PoolPlan {
    /// Arguments of `zpool create` for these device nodes, one for each disk. `-R` keeps the pool out of a cache file too:
    /// pools are found by their labels.
    pub fn arguments(&self, root: &str, nodes: &[String]) -> Vec<String> {
        let mut arguments = vec!["create".to_owned(), "-R".to_owned(), root.to_owned()];
        for (flag, properties) in [("-o", &self.pool), ("-O", &self.root)] {
            for (name, value) in properties {
                arguments.extend([flag.to_owned(), format!("{name}={value}")]);
            }
        }
        arguments.push(self.name.clone());
        if self.layout != PoolLayout::Stripe {
            arguments.push(self.layout.name().to_owned());
        }
        arguments.extend(nodes.iter().cloned());
        arguments
    }
}

/// Whether a disk may take the place of a device of a pool.
///
/// # Errors
/// Why not.
pub fn replacement<'c>(
    pool: &str,
    choice: &DiskChoice,
    erase: bool,
    candidates: &'c [Candidate],
) -> Result<&'c Candidate, Refusals> {
    // Of several system disks the one whose part is in no pool.
    let free = |candidate: &Candidate| !candidate.is_part || candidate.contents.user.is_none();
    let parts: Vec<&Candidate> = candidates
        .iter()
        .filter(|candidate| candidate.is(choice) && free(candidate))
        .collect();
    let found = match (choice, parts.as_slice()) {
        (DiskChoice::System, [one]) => Ok(*one),
        _ => find(choice, candidates),
    };
    let found = found.and_then(|found| fit(pool, choice, found, erase).map(|()| found));
    found.map_err(|(reason, nearest)| {
        let nearest = nearest.map(|text| {
            if text.starts_with("erase") {
                "erase = true, which destroys it".to_owned()
            } else {
                text
            }
        });
        Refusals(vec![Refusal {
            key: "disk".to_owned(),
            reason,
            nearest,
        }])
    })
}

#[cfg(test)]
mod tests;
