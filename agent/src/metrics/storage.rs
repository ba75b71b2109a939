//! ZFS: pools with their devices, and the cache (ARC).

use std::fs;
use std::path::Path;

use axion_api::storage::{Health, Pool, ScanKind, ScanState, Vdev};

use super::{Text, alone, float, label};

/// What the module says of its cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cache {
    /// Bytes in it.
    pub size: u64,
    /// Bytes that it aims at now.
    pub target: u64,
    /// Bytes that it never grows beyond.
    pub limit: u64,
    /// Reads that it had the answer to.
    pub hits: u64,
    /// Reads that went to a device.
    pub misses: u64,
}

impl Cache {
    /// Reads `/proc/spl/kstat/zfs/arcstats` below `root`: two lines of head, then `name type value`. None without ZFS.
    pub fn read(root: &Path) -> Option<Self> {
        let text = fs::read_to_string(root.join("proc/spl/kstat/zfs/arcstats")).ok()?;
        let mut cache = Self::default();
        for line in text.lines().skip(2) {
            let mut words = line.split_whitespace();
            let (Some(name), Some(value)) = (words.next(), words.nth(1)) else {
                continue;
            };
            let field = match name {
                "size" => &mut cache.size,
                "c" => &mut cache.target,
                "c_max" => &mut cache.limit,
                "hits" => &mut cache.hits,
                "misses" => &mut cache.misses,
                _ => continue,
            };
            *field = value.parse().unwrap_or_default();
        }
        Some(cache)
    }
}

pub(super) fn cache(text: &mut Text, cache: &Cache) {
    text.metric(
        "arc_size_bytes",
        "gauge",
        "Memory in ZFS's cache.",
        alone(cache.size),
    );
    text.metric(
        "arc_target_bytes",
        "gauge",
        "Memory that ZFS's cache aims at.",
        alone(cache.target),
    );
    text.metric(
        "arc_limit_bytes",
        "gauge",
        "Memory that ZFS's cache never grows beyond.",
        alone(cache.limit),
    );
    text.metric(
        "arc_hits_total",
        "counter",
        "Reads that ZFS's cache had the answer to.",
        alone(cache.hits),
    );
    text.metric(
        "arc_misses_total",
        "counter",
        "Reads that went to a device.",
        alone(cache.misses),
    );
}

const STATES: [Health; 6] = [
    Health::Online,
    Health::Degraded,
    Health::Faulted,
    Health::Unavailable,
    Health::Suspended,
    Health::Unknown,
];

pub(super) fn pools(text: &mut Text, pools: &[Pool]) {
    let each = |of: fn(&Pool) -> Option<f64>| {
        pools
            .iter()
            .filter_map(move |pool| Some((label("pool", &pool.name), of(pool)?)))
    };
    text.metric(
        "pool_state",
        "gauge",
        "1 for the state that the pool is in.",
        pools.iter().flat_map(|pool| {
            STATES.map(|state| {
                let labels = [label("pool", &pool.name), label("state", &state.to_string())];
                (labels.join(","), f64::from(u8::from(pool.state == state)))
            })
        }),
    );
    text.metric(
        "pool_size_bytes",
        "gauge",
        "Size of the pool, parity of raidz included.",
        each(|pool| Some(float(pool.size))),
    );
    text.metric(
        "pool_allocated_bytes",
        "gauge",
        "What of it is in use.",
        each(|pool| Some(float(pool.allocated))),
    );
    text.metric(
        "pool_free_bytes",
        "gauge",
        "What of it is free.",
        each(|pool| Some(float(pool.free))),
    );
    text.metric(
        "pool_fragmentation_ratio",
        "gauge",
        "How scattered the free space is, 0 to 1.",
        each(|pool| Some(f64::from(pool.fragmentation?) / 100.0)),
    );
    text.metric(
        "pool_damaged",
        "gauge",
        "Files and blocks that are damaged for good.",
        each(|pool| Some(float(pool.data_errors))),
    );
    text.metric(
        "pool_scan_progress_ratio",
        "gauge",
        "How much a scrub or resilver that runs has looked at, 0 to 1.",
        each(progress),
    );
    text.metric(
        "pool_scrub_timestamp_seconds",
        "gauge",
        "When the last scrub ended.",
        each(|pool| {
            let scan = pool.scan.as_ref()?;
            let scrubbed = scan.kind == ScanKind::Scrub && scan.state == ScanState::Finished;
            scrubbed.then_some(float(scan.ended_unix_s?))
        }),
    );
    vdevs(text, pools);
}

/// Of a scrub or resilver that is not over.
fn progress(pool: &Pool) -> Option<f64> {
    let scan = pool.scan.as_ref()?;
    let runs = matches!(scan.state, ScanState::Running | ScanState::Paused);
    (runs && scan.to_examine > 0).then(|| float(scan.examined) / float(scan.to_examine))
}

/// Devices of the pools: what errors there were, and whether they work.
fn vdevs(text: &mut Text, pools: &[Pool]) {
    let all: Vec<(String, &Vdev)> = pools
        .iter()
        .flat_map(|pool| {
            let mut devices = Vec::new();
            leaves(&pool.vdevs, &mut devices);
            devices.into_iter().map(move |vdev| {
                let shown = vdev.disk.as_deref().unwrap_or(&vdev.name);
                let labels = [
                    label("pool", &pool.name),
                    label("vdev", &vdev.guid),
                    label("disk", shown),
                ];
                (labels.join(","), vdev)
            })
        })
        .collect();
    text.metric(
        "vdev_online",
        "gauge",
        "Whether the device works.",
        all.iter().map(|(labels, vdev)| {
            let works = matches!(vdev.state, Health::Online | Health::Available | Health::InUse);
            (labels.clone(), f64::from(u8::from(works)))
        }),
    );
    text.metric(
        "vdev_errors_total",
        "counter",
        "Errors of the device since it was imported or cleared.",
        all.iter().flat_map(|(labels, vdev)| {
            [
                ("read", vdev.read_errors),
                ("write", vdev.write_errors),
                ("checksum", vdev.checksum_errors),
            ]
            .map(|(kind, errors)| (format!("{labels},{}", label("kind", kind)), float(errors)))
        }),
    );
}

fn leaves<'a>(vdevs: &'a [Vdev], devices: &mut Vec<&'a Vdev>) {
    for vdev in vdevs {
        if vdev.children.is_empty() {
            devices.push(vdev);
        } else {
            leaves(&vdev.children, devices);
        }
    }
}

#[cfg(test)]
mod tests;
