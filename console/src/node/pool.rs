//! What an operator is told of a pool.

use axion_api::storage::{Dataset, Health, KeyState, Pool, Scan, ScanKind, ScanState, Vdev};

/// A pool, rounded to what the screen shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolFacts {
    /// Name.
    pub name: String,
    /// Health.
    pub state: Health,
    /// What is in use, percent.
    pub used_percent: u8,
    /// Size: `1.8 TiB`.
    pub size: String,
    /// It keeps the node's own state.
    pub holds_state: bool,
    /// The last scrub or resilver: `resilver: 34 % done`.
    pub scan: Option<String>,
    /// What is wrong and what to do, in ZFS's words.
    pub advice: Vec<String>,
    /// Its devices.
    pub devices: Vec<DeviceFacts>,
}

/// A device of a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceFacts {
    /// The disk as a declaration names it, or ZFS's name of the device.
    pub name: String,
    /// Health.
    pub state: Health,
    /// Errors of reads, of writes, of checksums.
    pub errors: [u64; 3],
}

/// Binary units from small to large.
const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/// Bytes with one decimal in the largest unit that fits.
fn size_words(bytes: u64) -> String {
    let mut tenths = bytes.saturating_mul(10) / 1024;
    let mut units = UNITS.iter().peekable();
    let mut unit = "KiB";
    while let Some(next) = units.next() {
        unit = next;
        if tenths < 10_240 || units.peek().is_none() {
            break;
        }
        tenths /= 1024;
    }
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Whole percent of `part` in `whole`.
fn percent(part: u64, whole: u64) -> u8 {
    let percent = u128::from(part) * 100 / u128::from(whole.max(1));
    u8::try_from(percent.min(100)).unwrap_or(100)
}

fn scan_words(scan: &Scan) -> String {
    let kind = match scan.kind {
        ScanKind::Scrub => "scrub",
        ScanKind::Resilver => "resilver",
        ScanKind::Errorscrub => "error scrub",
    };
    let state = match scan.state {
        ScanState::Running => format!("{} % done", percent(scan.examined, scan.to_examine)),
        ScanState::Paused => format!("paused at {} %", percent(scan.examined, scan.to_examine)),
        ScanState::Finished => format!("finished, {} errors", scan.errors),
        ScanState::Canceled => "given up".to_owned(),
    };
    format!("{kind}: {state}")
}

fn devices(vdevs: &[Vdev], found: &mut Vec<DeviceFacts>) {
    for vdev in vdevs {
        if vdev.children.is_empty() {
            found.push(DeviceFacts {
                name: vdev.disk.clone().unwrap_or_else(|| vdev.name.clone()),
                state: vdev.state,
                errors: [vdev.read_errors, vdev.write_errors, vdev.checksum_errors],
            });
        } else {
            devices(&vdev.children, found);
        }
    }
}

/// Datasets that wait for a key: the topmost of each tree, for the key of what is below is either the same or asked for next.
/// The node's own are left out.
pub fn locked_datasets(datasets: &[Dataset]) -> Vec<String> {
    let is_locked = |dataset: &&Dataset| dataset.key == Some(KeyState::Unavailable) && !dataset.system;
    let locked: Vec<&str> = datasets
        .iter()
        .filter(is_locked)
        .map(|dataset| dataset.name.as_str())
        .collect();
    let above = |name: &str| name.rsplit_once('/').map(|(above, _)| above.to_owned());
    let is_topmost = |name: &&&str| above(name).is_none_or(|above| !locked.contains(&above.as_str()));
    let topmost = locked.iter().filter(is_topmost);
    topmost.map(|name| (*name).to_owned()).collect()
}

impl From<Pool> for PoolFacts {
    fn from(pool: Pool) -> Self {
        let mut found = Vec::new();
        devices(&pool.vdevs, &mut found);
        Self {
            used_percent: percent(pool.allocated, pool.size),
            size: size_words(pool.size),
            scan: pool.scan.as_ref().map(scan_words),
            advice: pool.detail.into_iter().chain(pool.action).collect(),
            devices: found,
            name: pool.name,
            state: pool.state,
            holds_state: pool.holds_state,
        }
    }
}

#[cfg(test)]
mod tests;
