//! Datasets and snapshots.

use axion_api::storage::{Dataset, DatasetKind, KeyState, Snapshot};

use super::table::{Cell, Table, left, right, shrinking};
use super::{Style, Tone, bytes, fields, moment, or_dash};

/// Microseconds of a second.
const SECOND: u64 = 1_000_000;

/// Where it is to be found: a mount point, a device, or why there is neither.
fn place(dataset: &Dataset) -> Cell {
    let found = dataset.mounted_at.as_ref().or(dataset.device.as_ref());
    match (found, dataset.key) {
        (Some(place), _) => place.into(),
        (None, Some(KeyState::Unavailable)) => Cell::new("locked", Tone::Warning),
        (None, _) => "-".into(),
    }
}

fn kind(dataset: &Dataset) -> &'static str {
    match dataset.kind {
        DatasetKind::Filesystem => "files",
        DatasetKind::Volume => "zvol",
    }
}

/// All datasets, one a line.
pub fn list(datasets: &[Dataset], style: &Style) -> String {
    if datasets.is_empty() {
        return "No datasets. `axctl dataset create POOL/NAME` makes one.\n".to_owned();
    }
    let mut table = Table::new([
        left("NAME"),
        left("KIND"),
        right("USED"),
        right("AVAILABLE"),
        right("RATIO"),
        shrinking("AT"),
    ]);
    for dataset in datasets {
        let tone = if dataset.system { Tone::Faint } else { Tone::Plain };
        table.row([
            Cell::new(&dataset.name, tone),
            kind(dataset).into(),
            bytes(dataset.used).into(),
            bytes(dataset.available).into(),
            (&dataset.compress_ratio).into(),
            place(dataset),
        ]);
    }
    table.render(style)
}

/// One dataset, a field a line.
pub fn show(dataset: &Dataset, style: &Style) -> String {
    let size = |size: Option<u64>| or_dash(size.map(bytes));
    let key = dataset.key.map(|key| match key {
        KeyState::Available => "loaded",
        KeyState::Unavailable => "not loaded: `axctl dataset load-key` unlocks it",
    });
    let mut rows = vec![
        ("Name", dataset.name.clone()),
        ("Kind", kind(dataset).to_owned()),
        ("Used", bytes(dataset.used)),
        ("Available", bytes(dataset.available)),
        (
            "Compression",
            format!("{}, {}", dataset.compression, dataset.compress_ratio),
        ),
        ("Block size", bytes(dataset.block_size)),
    ];
    match dataset.kind {
        DatasetKind::Volume => rows.extend([
            ("Size", size(dataset.volume_size)),
            ("Device", or_dash(dataset.device.as_ref())),
        ]),
        DatasetKind::Filesystem => rows.extend([
            ("Quota", size(dataset.quota)),
            ("Mounted at", or_dash(dataset.mounted_at.as_ref())),
        ]),
    }
    rows.extend([
        ("Reservation", size(dataset.reservation)),
        ("Clone of", or_dash(dataset.origin.as_ref())),
        ("Encryption", or_dash(dataset.encryption.as_ref())),
        ("Key", or_dash(key)),
        ("Made", moment(dataset.created_unix_s.saturating_mul(SECOND))),
    ]);
    if dataset.resume_token.is_some() {
        let half = "a stream broke off: `axctl dataset copy --resumable` goes on";
        rows.push(("Receiving", half.to_owned()));
    }
    fields(&rows, style)
}

/// Snapshots, one a line.
pub fn snapshots(snapshots: &[Snapshot], style: &Style) -> String {
    if snapshots.is_empty() {
        return "No snapshots. `axctl snapshot create DATASET@NAME` makes one.\n".to_owned();
    }
    let mut table = Table::new([
        left("NAME"),
        left("MADE"),
        right("USED"),
        right("HOLDS"),
        shrinking("CLONES"),
    ]);
    for snapshot in snapshots {
        let clones = snapshot.clones.join(", ");
        table.row([
            (&snapshot.name).into(),
            moment(snapshot.created_unix_s.saturating_mul(SECOND)).into(),
            bytes(snapshot.used).into(),
            bytes(snapshot.referenced).into(),
            (if clones.is_empty() { "-".to_owned() } else { clones }).into(),
        ]);
    }
    table.render(style)
}
