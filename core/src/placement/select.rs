//! Which nodes, and which cores of a node.

use std::collections::BTreeMap;

use super::{Core, Free, GuestTopology};

/// How well a node fits: the less, the better. Distances between the nodes come before it.
pub(super) type Cost = (u64, u64, u32);

/// `count` of the nodes: those that are nearest to each other, and of these the ones that fit best. By number.
pub(super) fn nodes<'a, 'f>(fitting: &[(Cost, &'f Free<'a>)], count: usize) -> Option<Vec<&'f Free<'a>>> {
    let around = |(_, seed): &(Cost, &'f Free<'a>)| {
        let mut others: Vec<(u32, Cost, &'f Free<'a>)> = fitting
            .iter()
            .map(|(cost, free)| (seed.node.distance(free.node.id), *cost, *free))
            .collect();
        // A node is nearest to itself.
        others.sort_by_key(|(distance, cost, free)| (free.node.id != seed.node.id, *distance, *cost));
        others.truncate(count);
        let apart: u64 = others
            .iter()
            .flat_map(|(_, _, a)| {
                others
                    .iter()
                    .map(|(_, _, b)| u64::from(a.node.distance(b.node.id)))
            })
            .sum();
        let mut costs: Vec<Cost> = others.iter().map(|(_, cost, _)| *cost).collect();
        costs.sort_unstable();
        let mut chosen: Vec<&'f Free<'a>> = others.into_iter().map(|(_, _, free)| free).collect();
        chosen.sort_by_key(|free| free.node.id);
        (apart, costs, chosen)
    };
    let sets = fitting.iter().map(around);
    sets.filter(|(_, _, chosen)| chosen.len() == count)
        .min_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)))
        .map(|(_, _, chosen)| chosen)
}

/// `count` of the cores, in as few last-level caches as possible; what is not a whole cache comes from the one that is
/// left with the least. By socket, cache and number.
pub(super) fn cores<'a>(free: &[&'a Core], count: usize) -> Option<Vec<&'a Core>> {
    let mut caches: BTreeMap<(u32, u32), Vec<&'a Core>> = BTreeMap::new();
    for core in free {
        caches.entry((core.socket, core.cache)).or_default().push(core);
    }
    let mut chosen: Vec<&'a Core> = Vec::new();
    while chosen.len() < count {
        let missing = count - chosen.len();
        let enough = caches.iter().filter(|(_, cores)| cores.len() >= missing);
        let best = enough.min_by_key(|(key, cores)| (cores.len(), **key));
        let largest = || {
            caches
                .iter()
                .min_by_key(|(key, cores)| (usize::MAX - cores.len(), **key))
        };
        let key = *best.or_else(largest)?.0;
        let cores = caches.remove(&key)?;
        chosen.extend(cores.into_iter().take(missing));
    }
    chosen.sort_by_key(|core| (core.socket, core.cache, core.threads.first()));
    Some(chosen)
}

/// What a guest on these cores (of host nodes, in order) sees: their sockets and caches, where each has as many cores;
/// where not, never more in common than they have.
pub(super) fn topology(cores: &[(u32, &Core)], threads: u32) -> GuestTopology {
    let total = number(cores.len());
    let sockets = runs(cores.iter().map(|(_, core)| core.socket));
    let even = sockets.windows(2).all(|pair| pair.first() == pair.last());
    let sockets = if even { number(sockets.len()).max(1) } else { 1 };
    let caches = runs(cores.iter().map(|(node, core)| (*node, core.socket, core.cache)));
    GuestTopology {
        sockets,
        cores: total / sockets,
        threads,
        l3_cores: caches.into_iter().fold(0, common).max(1),
    }
}

/// Lengths of runs of equal values.
fn runs<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<u32> {
    let mut lengths: Vec<u32> = Vec::new();
    let mut last = None;
    for value in values {
        match lengths.last_mut() {
            Some(length) if last.as_ref() == Some(&value) => *length += 1,
            _ => lengths.push(1),
        }
        last = Some(value);
    }
    lengths
}

/// The greatest common divisor; 0 has every divisor.
const fn common(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
