//! What happened to pools between two looks. Pure.

use std::collections::BTreeMap;

use axion_api::storage::{Health, Pool, PoolEvent, PoolEventKind, Scan, ScanKind, ScanState, Vdev};

/// What happened, in the order of pools and of their devices.
pub fn changes(before: &[Pool], after: &[Pool]) -> Vec<PoolEvent> {
    let find = |pools: &'_ [Pool], guid: &str| pools.iter().any(|pool| pool.guid == guid);
    let mut events = Vec::new();
    for pool in before.iter().filter(|pool| !find(after, &pool.guid)) {
        events.push(event(
            pool,
            PoolEventKind::Presence,
            false,
            "it is gone".to_owned(),
        ));
    }
    for pool in after {
        match before.iter().find(|was| was.guid == pool.guid) {
            Some(was) => of_pool(was, pool, &mut events),
            None => {
                let detail = format!("it is here, {}", pool.state);
                events.push(event(pool, PoolEventKind::Presence, is_bad(pool.state), detail));
            }
        }
    }
    events
}

/// Whether a scrub or resilver is under way anywhere.
pub fn is_scanning(pools: &[Pool]) -> bool {
    let scans = pools.iter().filter_map(|pool| pool.scan.as_ref());
    scans.into_iter().any(|scan| scan.state == ScanState::Running)
}

/// Whether somebody should look.
pub fn is_bad(state: Health) -> bool {
    !matches!(state, Health::Online | Health::Available | Health::InUse)
}

fn event(pool: &Pool, about: PoolEventKind, bad: bool, detail: String) -> PoolEvent {
    PoolEvent {
        pool: pool.name.clone(),
        about,
        bad,
        detail,
    }
}

fn of_pool(was: &Pool, is: &Pool, events: &mut Vec<PoolEvent>) {
    if was.state != is.state {
        let detail = format!("it is {}, was {}", is.state, was.state);
        events.push(event(is, PoolEventKind::Health, is_bad(is.state), detail));
    }
    of_devices(was, is, events);
    if is.data_errors > was.data_errors {
        let detail = format!("{} files or blocks are damaged for good", is.data_errors);
        events.push(event(is, PoolEventKind::Errors, true, detail));
    }
    if let Some((bad, detail)) = of_scan(was.scan.as_ref(), is.scan.as_ref()) {
        events.push(event(is, PoolEventKind::Scan, bad, detail));
    }
}

/// Every device of a pool, by its id.
fn devices(pool: &Pool) -> BTreeMap<&str, &Vdev> {
    let mut rest: Vec<&Vdev> = pool.vdevs.iter().collect();
    let mut leaves = BTreeMap::new();
    while let Some(vdev) = rest.pop() {
        rest.extend(&vdev.children);
        if vdev.children.is_empty() {
            leaves.insert(vdev.guid.as_str(), vdev);
        }
    }
    leaves
}

fn of_devices(was: &Pool, is: &Pool, events: &mut Vec<PoolEvent>) {
    let before = devices(was);
    for (guid, vdev) in devices(is) {
        let name = vdev
            .disk
            .as_ref()
            .map_or_else(|| vdev.name.clone(), |disk| format!("{} ({disk})", vdev.name));
        let Some(was) = before.get(guid) else {
            let detail = format!("{name} is new, {}", vdev.state);
            events.push(event(is, PoolEventKind::Device, is_bad(vdev.state), detail));
            continue;
        };
        if was.state != vdev.state {
            let detail = format!("{name} is {}, was {}", vdev.state, was.state);
            events.push(event(is, PoolEventKind::Device, is_bad(vdev.state), detail));
        }
        let counts = [
            ("read", was.read_errors, vdev.read_errors),
            ("write", was.write_errors, vdev.write_errors),
            ("checksum", was.checksum_errors, vdev.checksum_errors),
        ];
        let more = counts.iter().filter(|(_, before, now)| now > before);
        let more: Vec<_> = more
            .map(|(what, before, now)| format!("{} {what}", now - before))
            .collect();
        if !more.is_empty() {
            let detail = format!("{name} has new errors: {}", more.join(", "));
            events.push(event(is, PoolEventKind::Errors, true, detail));
        }
    }
}

fn of_scan(was: Option<&Scan>, is: Option<&Scan>) -> Option<(bool, String)> {
    let is = is?;
    let what = match is.kind {
        ScanKind::Scrub => "scrub",
        ScanKind::Resilver => "resilver",
        ScanKind::Errorscrub => "error scrub",
    };
    let same = was.is_some_and(|was| was.started_unix_s == is.started_unix_s && was.state == is.state);
    if same {
        return None;
    }
    Some(match is.state {
        ScanState::Running => (false, format!("a {what} is under way")),
        ScanState::Paused => (false, format!("the {what} stands still")),
        ScanState::Canceled => (false, format!("the {what} is given up")),
        ScanState::Finished => {
            let found = is.errors > 0;
            let detail = format!(
                "the {what} ended: {} bytes repaired, {} errors",
                is.repaired, is.errors
            );
            (found, detail)
        }
    })
}

#[cfg(test)]
mod tests;
