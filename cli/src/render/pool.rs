//! Pools and their disks.

use axion_api::storage::{FoundPool, Health, Pool, PoolDisk, Scan, ScanKind, ScanState, Vdev, VdevClass};
use axion_core::topology::DiskKind;

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, bytes, fields, moment, or_dash};

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

fn tone(health: Health) -> Tone {
    match health {
        Health::Online | Health::Available => Tone::Good,
        Health::Degraded | Health::InUse | Health::Offline => Tone::Warning,
        Health::Faulted | Health::Removed | Health::Unavailable | Health::Suspended | Health::Unknown => {
            Tone::Bad
        }
    }
}

fn health(state: Health) -> Cell {
    Cell::new(state.to_string(), tone(state))
}

fn percent(part: u64, whole: u64) -> String {
    let percent = part.saturating_mul(100).checked_div(whole);
    percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent}%"))
}

fn or_none(text: Option<&str>) -> String {
    or_dash(text)
}

/// All pools, one a line.
pub fn list(pools: &[Pool], style: &Style) -> String {
    if pools.is_empty() {
        return "No pools. `axctl pool disks` shows what one can be made of.\n`axctl pool found` shows what can be imported.\n"
            .to_owned();
    }
    let mut table = Table::new([
        left("NAME"),
        left("HEALTH"),
        right("SIZE"),
        right("FREE"),
        right("USED"),
        left("SCAN"),
        shrinking("DETAIL"),
    ]);
    for pool in pools {
        let scan = pool.scan.as_ref().filter(|scan| scan.ended_unix_s.is_none());
        let damaged = (pool.data_errors > 0).then(|| format!("{} files damaged", pool.data_errors));
        table.row([
            (&pool.name).into(),
            health(pool.state),
            bytes(pool.size).into(),
            bytes(pool.free).into(),
            percent(pool.allocated, pool.size).into(),
            scan.map_or_else(|| "-".to_owned(), progress).into(),
            or_none(damaged.as_deref().or(pool.detail.as_deref())).into(),
        ]);
    }
    table.render(style)
}

/// `resilver 40%`.
fn progress(scan: &Scan) -> String {
    let kind = match scan.kind {
        ScanKind::Scrub => "scrub",
        ScanKind::Resilver => "resilver",
        ScanKind::Errorscrub => "error scrub",
    };
    format!("{kind} {}", percent(scan.examined, scan.to_examine))
}

fn scan(scan: Option<&Scan>) -> String {
    let Some(scan) = scan else {
        return "never".to_owned();
    };
    let kind = match scan.kind {
        ScanKind::Scrub => "scrub",
        ScanKind::Resilver => "resilver",
        ScanKind::Errorscrub => "error scrub",
    };
    let ended = scan.ended_unix_s.unwrap_or_default();
    let found = format!("{} repaired, {} errors", bytes(scan.repaired), scan.errors);
    match scan.state {
        ScanState::Running => format!("{}, {found}", progress(scan)),
        ScanState::Paused => format!("{}, paused, {found}", progress(scan)),
        ScanState::Finished => format!("{kind} ended {}, {found}", moment(ended.saturating_mul(SECOND))),
        ScanState::Canceled => format!("{kind} given up {}", moment(ended.saturating_mul(SECOND))),
    }
}

/// One pool: a field a line, then its devices as a tree.
pub fn show(pool: &Pool, style: &Style) -> String {
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let mut rows = vec![
        ("Name", pool.name.clone()),
        ("Health", pool.state.to_string()),
        ("Size", bytes(pool.size)),
        (
            "Used",
            format!(
                "{} ({})",
                bytes(pool.allocated),
                percent(pool.allocated, pool.size)
            ),
        ),
        ("Free", bytes(pool.free)),
        (
            "Scattered",
            or_dash(pool.fragmentation.map(|percent| format!("{percent}%"))),
        ),
        (
            "Sector",
            or_dash(pool.ashift.map(|ashift| bytes(1 << u32::from(ashift).min(63)))),
        ),
        ("Trims", yes(pool.autotrim)),
        ("Last scan", scan(pool.scan.as_ref())),
        ("Damaged", format!("{} files", pool.data_errors)),
        ("Node's state", yes(pool.holds_state)),
        ("Id", pool.guid.clone()),
    ];
    rows.extend(pool.detail.clone().map(|detail| ("Detail", detail)));
    rows.extend(pool.action.clone().map(|action| ("To do", action)));
    format!("{}\n{}", fields(&rows, style), devices(&pool.vdevs, style))
}

fn devices(vdevs: &[Vdev], style: &Style) -> String {
    let mut table = Table::new([
        left("DEVICE"),
        left("HEALTH"),
        right("READ"),
        right("WRITE"),
        right("CHECKSUM"),
        left("DISK"),
        shrinking("DETAIL"),
    ]);
    for vdev in vdevs {
        rows(vdev, 0, &mut table);
    }
    table.render(style)
}

fn rows(vdev: &Vdev, depth: usize, table: &mut Table) {
    let class = match vdev.class {
        VdevClass::Data => "",
        VdevClass::Log => " (log)",
        VdevClass::Cache => " (cache)",
        VdevClass::Spare => " (spare)",
        VdevClass::Special => " (special)",
        VdevClass::Dedup => " (dedup)",
    };
    let class = if depth == 0 { class } else { "" };
    table.row([
        format!("{}{}{class}", "  ".repeat(depth), vdev.name).into(),
        health(vdev.state),
        vdev.read_errors.to_string().into(),
        vdev.write_errors.to_string().into(),
        vdev.checksum_errors.to_string().into(),
        or_none(vdev.disk.as_deref()).into(),
        or_none(vdev.detail.as_deref()).into(),
    ]);
    for child in &vdev.children {
        rows(child, depth + 1, table);
    }
}

/// Disks, and what is on them.
pub fn disks(disks: &[PoolDisk], style: &Style) -> String {
    if disks.is_empty() {
        return "No disks.\n".to_owned();
    }
    let mut table = Table::new([
        left("DISK"),
        left("NODE"),
        left("KIND"),
        right("SIZE"),
        left("EMPTY"),
        shrinking("ON IT"),
    ]);
    for PoolDisk {
        choice,
        disk,
        empty,
        contents,
    } in disks
    {
        let kind = match (disk.kind, disk.rotational) {
            (DiskKind::Nvme, _) => "NVMe",
            (_, true) => "HDD",
            (DiskKind::Virtio, false) => "virtio",
            _ => "SSD",
        };
        table.row([
            or_dash(choice.as_ref()).into(),
            (&disk.name).into(),
            kind.into(),
            bytes(disk.size).into(),
            if *empty {
                Cell::new("yes", Tone::Good)
            } else {
                "no".into()
            },
            (if contents.is_empty() {
                "-".to_owned()
            } else {
                contents.join(", ")
            })
            .into(),
        ]);
    }
    table.render(style)
}

/// Pools that are not imported.
pub fn found(found: &[FoundPool], style: &Style) -> String {
    if found.is_empty() {
        return "No pools but those that are imported.\n".to_owned();
    }
    let mut table = Table::new([
        left("NAME"),
        left("ID"),
        left("EXPORTED"),
        left("HOST"),
        shrinking("DEVICES"),
    ]);
    for pool in found {
        table.row([
            (&pool.name).into(),
            (&pool.guid).into(),
            if pool.exported { "yes" } else { "no" }.into(),
            or_none(pool.foreign_host.as_deref()).into(),
            pool.devices.join(" ").into(),
        ]);
    }
    table.render(style)
}
