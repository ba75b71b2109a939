//! Hugepages per node, and how much ZFS may cache.
//!
//! Pages of 1 GiB are asked for on the command line, before anything can fragment memory; those of 2 MiB early in stage 2,
//! so that another number of them takes no kexec. Every pool is set again in stage 2 on its node, which is also how a pool
//! that came up short is noticed.

use std::collections::BTreeMap;

use super::Draft;
use crate::config::{ArcLimit, HugepageRule, NodeChoice, PageSize, ProfileMode};
use crate::profile::{Action, Argument, NodePages};
use crate::quantity::ByteSize;
use crate::topology::{NumaNode, Topology};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Smallest node that `hpc` reserves hugepages on when nobody says.
const LARGE_NODE: u64 = 8 * GIB;
/// Smallest cache that ZFS takes (`zfs_arc_max`, zfs(4)).
const SMALLEST_ARC: u64 = 64 * MIB;

/// Memory of `node`, in bytes, that no hugepage may take: a 64th for page tables, buffers and devices, and 512 MiB for the
/// host on the first node with memory, where the kernel and the root file system are, 256 MiB on the others.
pub fn reserve(topology: &Topology, node: &NumaNode) -> u64 {
    let first = topology.nodes.iter().find(|node| node.memory_total > 0);
    let fixed = if first.is_none_or(|first| first.id == node.id) {
        512 * MIB
    } else {
        256 * MIB
    };
    fixed + node.memory_total / 64
}

fn capacity(topology: &Topology, node: &NumaNode) -> u64 {
    node.memory_total.saturating_sub(reserve(topology, node))
}

/// A pool that is asked for: which rule did, and how many pages.
struct Pool {
    rule: usize,
    named: bool,
    pages: u64,
}

type Pools = BTreeMap<(PageSize, u32), Pool>;

pub(super) fn plan(draft: &mut Draft<'_>) {
    let topology = draft.topology;
    let pools = match &draft.profile().hugepages {
        None => automatic(draft),
        Some(rules) => {
            let pools = declared(draft, rules);
            for node in &topology.nodes {
                fits(draft, rules, &pools, node);
            }
            pools
        }
    };
    for size in [PageSize::OneGiB, PageSize::TwoMiB] {
        let of_size = pools
            .iter()
            .filter(|((of, _), pool)| *of == size && pool.pages > 0);
        let nodes: Vec<NodePages> = of_size
            .map(|((_, node), pool)| NodePages {
                node: *node,
                pages: pool.pages,
            })
            .collect();
        if nodes.is_empty() {
            continue;
        }
        if size == PageSize::OneGiB {
            draft.argument(
                Argument::Hugepages {
                    page_size: size,
                    nodes: nodes.clone(),
                },
                "whole GiB are found for certain only before memory is in use",
            );
        }
        draft.action(
            Action::Hugepages {
                page_size: size,
                nodes,
            },
            "guest memory on its node, with fewer TLB misses, that nothing else can take",
        );
    }
    let policy = draft.profile().memory.transparent_hugepages;
    draft.action(
        Action::TransparentHugepages { policy },
        "as `profile.memory.transparent_hugepages` says",
    );
    arc(draft, &pools);
}

/// What `hpc` reserves when nobody says: half of each large node, in pages that can be given back.
fn automatic(draft: &mut Draft<'_>) -> Pools {
    if draft.mode() != ProfileMode::Hpc {
        return Pools::new();
    }
    let topology = draft.topology;
    let large = topology
        .nodes
        .iter()
        .filter(|node| node.memory_total >= LARGE_NODE);
    let pools: Pools = large
        .map(|node| {
            let pages = node.memory_total / 2 / PageSize::TwoMiB.bytes();
            let pool = Pool {
                rule: 0,
                named: false,
                pages,
            };
            ((PageSize::TwoMiB, node.id), pool)
        })
        .collect();
    if pools.is_empty() {
        draft.note(format!(
            "no node has {}: no hugepages are reserved (`profile.hugepages` would)",
            ByteSize(LARGE_NODE)
        ));
    }
    pools
}

/// What the rules ask for. A rule that names a node replaces one for each node.
fn declared(draft: &mut Draft<'_>, rules: &[HugepageRule]) -> Pools {
    let mut pools = Pools::new();
    let topology = draft.topology;
    for (index, rule) in rules.iter().enumerate() {
        let key = format!("profile.hugepages[{index}]");
        if rule.size == PageSize::OneGiB && !topology.cpu_model.gigabyte_pages {
            let reason = "this CPU has no pages of 1 GiB (no flag `pdpe1gb`)";
            draft.refuse(format!("{key}.size"), reason, Some("\"2MiB\"".to_owned()));
            continue;
        }
        let named = matches!(rule.node, NodeChoice::Node(_));
        for node in targets(draft, &key, rule) {
            let pages = match (rule.count, rule.bytes, rule.percent) {
                (Some(count), _, _) => count,
                (_, Some(bytes), _) => bytes.0 / rule.size.bytes(),
                (_, _, Some(percent)) => share(node, percent, rule.size),
                (None, None, None) => 0,
            };
            if pages == 0 && rule.percent.is_some() {
                let reason = format!(
                    "so little of node {} is less than one page of {}",
                    node.id, rule.size
                );
                let one = least_percent(node, rule.size).filter(|percent| {
                    let pages = share(node, *percent, rule.size);
                    pages.saturating_mul(rule.size.bytes()) <= capacity(topology, node)
                });
                let nearest = one
                    .map(|percent| format!("percent = {percent}"))
                    .or_else(|| smaller_pages(rule.size, capacity(topology, node)));
                draft.refuse(format!("{key}.percent"), reason, nearest);
            }
            let pool = Pool {
                rule: index,
                named,
                pages,
            };
            let slot = (rule.size, node.id);
            match pools.get(&slot) {
                Some(earlier) if earlier.named == named => {
                    let reason = format!(
                        "node {} has pages of {} by `profile.hugepages[{}]` already",
                        node.id, rule.size, earlier.rule
                    );
                    draft.refuse(&key, reason, None);
                }
                Some(earlier) if earlier.named => {}
                _ => {
                    pools.insert(slot, pool);
                }
            }
        }
    }
    pools
}

/// The nodes that a rule is for.
fn targets<'t>(draft: &mut Draft<'t>, key: &str, rule: &HugepageRule) -> Vec<&'t NumaNode> {
    let topology = draft.topology;
    let with_memory = || topology.nodes.iter().filter(|node| node.memory_total > 0);
    let wanted = match rule.node {
        NodeChoice::Each => return with_memory().collect(),
        NodeChoice::Node(wanted) => wanted,
    };
    let ids: Vec<String> = with_memory().map(|node| node.id.to_string()).collect();
    let reason = match topology.nodes.iter().find(|node| node.id == wanted) {
        Some(node) if node.memory_total > 0 => return vec![node],
        Some(_) => format!("node {wanted} has no memory"),
        None => format!("node {wanted} does not exist"),
    };
    draft.refuse(format!("{key}.node"), reason, Some(ids.join(" or ")));
    Vec::new()
}

/// Refuses more on a node than it has; the rule that comes last is named, and what the others leave for it.
fn fits(draft: &mut Draft<'_>, rules: &[HugepageRule], pools: &Pools, node: &NumaNode) {
    let capacity = capacity(draft.topology, node);
    let here = || pools.iter().filter(|((_, id), _)| *id == node.id);
    let bytes = |size: PageSize, pages: u64| size.bytes().saturating_mul(pages);
    let wanted = here().fold(0u64, |sum, ((size, _), pool)| {
        sum.saturating_add(bytes(*size, pool.pages))
    });
    let last = here().max_by_key(|(_, pool)| pool.rule);
    let Some(((size, _), pool)) = last.filter(|_| wanted > capacity) else {
        return;
    };
    let others = wanted.saturating_sub(bytes(*size, pool.pages));
    let possible = capacity.saturating_sub(others) / size.bytes();
    let reason = format!(
        "node {} has {}, of which {} stay with the host; {} are asked for in all",
        node.id,
        mebibytes(node.memory_total),
        mebibytes(reserve(draft.topology, node)),
        mebibytes(wanted)
    );
    let rule = rules.get(pool.rule);
    let count = || format!("count = {possible}");
    let nearest = if possible == 0 {
        smaller_pages(*size, capacity.saturating_sub(others))
    } else if rule.is_some_and(|rule| rule.bytes.is_some()) {
        Some(format!("bytes = \"{}\"", ByteSize(bytes(*size, possible))))
    } else if rule.is_some_and(|rule| rule.percent.is_some()) {
        let percent = bytes(*size, possible) / (node.memory_total / 100).max(1);
        let is_whole = share(node, percent, *size) > 0;
        Some(if is_whole {
            format!("percent = {percent}")
        } else {
            count()
        })
    } else {
        Some(count())
    };
    draft.refuse(format!("profile.hugepages[{}]", pool.rule), reason, nearest);
}

/// Whole pages in so many percent of a node.
fn share(node: &NumaNode, percent: u64, size: PageSize) -> u64 {
    (node.memory_total / 100).saturating_mul(percent) / size.bytes()
}

/// The smallest percentage of a node that holds a page.
fn least_percent(node: &NumaNode, size: PageSize) -> Option<u64> {
    let hundredth = node.memory_total / 100;
    let percent = size.bytes().div_ceil(hundredth.max(1));
    (percent <= 100).then_some(percent)
}

/// What fits into `room` where not one page of `size` does.
fn smaller_pages(size: PageSize, room: u64) -> Option<String> {
    let pages = room / PageSize::TwoMiB.bytes();
    (size == PageSize::OneGiB && pages > 0).then(|| format!("size = \"2MiB\", count = {pages}"))
}

fn mebibytes(bytes: u64) -> String {
    ByteSize(bytes / MIB * MIB).to_string()
}

/// The cache of ZFS is memory of the host's, and gives way slowly: what the hugepages and the host's reserve leave is its limit,
/// and nobody's word takes it beyond. What nobody says leaves half of that to VMs in ordinary pages.
fn arc(draft: &mut Draft<'_>, pools: &Pools) {
    let topology = draft.topology;
    let memory: u64 = topology.nodes.iter().map(|node| node.memory_total).sum();
    let pooled = |id: u32| {
        let here = pools.iter().filter(move |((_, node), _)| *node == id);
        here.fold(0u64, |sum, ((size, _), pool)| {
            sum.saturating_add(size.bytes().saturating_mul(pool.pages))
        })
    };
    let left = topology
        .nodes
        .iter()
        .map(|node| capacity(topology, node).saturating_sub(pooled(node.id)));
    let room = left.sum::<u64>() / MIB * MIB;
    let share = |part: u64| (memory / part).min(room / 2);
    let (limit, given) = match (draft.profile().memory.arc_limit, draft.mode()) {
        (ArcLimit::Bytes(size), _) => (size.0, true),
        (ArcLimit::Percent(percent), _) => (memory / 100 * percent, true),
        (ArcLimit::Auto, ProfileMode::Hpc) => (share(16), false),
        (ArcLimit::Auto, ProfileMode::Balanced | ProfileMode::Off) => (share(8), false),
    };
    let limit = limit / MIB * MIB;
    let is_percent = matches!(draft.profile().memory.arc_limit, ArcLimit::Percent(_));
    if given && limit < SMALLEST_ARC {
        draft.refuse(
            "profile.memory.arc_limit",
            format!("{} is less than ZFS takes", ByteSize(limit)),
            Some(format!("\"{}\"", ByteSize(SMALLEST_ARC))),
        );
    } else if given && limit > room {
        let percent = room / (memory / 100).max(1);
        let nearest = if is_percent && memory / 100 * percent >= SMALLEST_ARC {
            format!("\"{percent}%\"")
        } else {
            format!("\"{}\"", ByteSize(room))
        };
        let possible = room >= SMALLEST_ARC;
        draft.refuse(
            "profile.memory.arc_limit",
            format!(
                "{} is more than the hugepages and the host leave",
                ByteSize(limit)
            ),
            Some(if possible { nearest } else { "\"auto\"".to_owned() }),
        );
    }
    draft.action(
        Action::ModuleParameter {
            module: "zfs".to_owned(),
            name: "zfs_arc_max".to_owned(),
            value: limit.max(SMALLEST_ARC).to_string(),
            live: true,
        },
        "memory is the workloads'; ZFS would take half of it for its cache",
    );
}
