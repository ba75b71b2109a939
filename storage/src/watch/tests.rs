use super::*;
use crate::fixture::{LIST, STATUS};

fn pools() -> Vec<Pool> {
    let read = |text| serde_json::from_str(text).unwrap();
    crate::pools::parse(&read(STATUS), &read(LIST), &[])
}

/// A pool in which nothing is wrong.
fn well() -> Vec<Pool> {
    let mut pools = pools();
    pools[0].state = Health::Online;
    for leaf in &mut pools[0].vdevs[0].children {
        leaf.state = Health::Online;
        (leaf.read_errors, leaf.write_errors, leaf.checksum_errors) = (0, 0, 0);
    }
    pools
}

fn told(before: &[Pool], after: &[Pool]) -> Vec<(bool, String)> {
    let events = changes(before, after).into_iter();
    events.map(|event| (event.bad, event.to_string())).collect()
}

#[test]
fn a_pool_that_falls_ill_is_told_with_its_devices() {
    assert!(changes(&pools(), &pools()).is_empty());
    assert_eq!(
        told(&well(), &pools()),
        [
            (true, "pool `tank`: it is degraded, was online".to_owned()),
            (
                true,
                "pool `tank`: nvme0n1p1 has new errors: 2 checksum".to_owned()
            ),
            (true, "pool `tank`: nvme1n1p1 is removed, was online".to_owned()),
            (
                true,
                "pool `tank`: nvme1n1p1 has new errors: 3 read, 1 write".to_owned()
            ),
        ]
    );
    let better = told(&pools(), &well());
    assert!(better.iter().all(|(bad, _)| !bad), "{better:?}");
    assert_eq!(
        better.len(),
        2,
        "errors that are forgotten are no news: {better:?}"
    );
}

#[test]
fn pools_come_and_go() {
    assert_eq!(
        told(&pools(), &[]),
        [(false, "pool `tank`: it is gone".to_owned())]
    );
    assert_eq!(
        told(&[], &well()),
        [(false, "pool `tank`: it is here, online".to_owned())]
    );
}

#[test]
fn a_scrub_is_told_when_it_begins_and_with_what_it_found() {
    let with = |state: ScanState, errors: u64| {
        let mut pools = well();
        let scan = pools[0].scan.as_mut().unwrap();
        (scan.state, scan.started_unix_s, scan.errors) = (state, 7, errors);
        pools
    };
    let running = with(ScanState::Running, 0);
    assert!(is_scanning(&running) && !is_scanning(&well()));
    assert_eq!(
        told(&well(), &running),
        [(false, "pool `tank`: a scrub is under way".to_owned())]
    );
    assert!(told(&running, &with(ScanState::Running, 0)).is_empty());
    assert_eq!(
        told(&running, &with(ScanState::Finished, 3)),
        [(
            true,
            "pool `tank`: the scrub ended: 4096 bytes repaired, 3 errors".to_owned()
        )]
    );
    let mut damaged = well();
    damaged[0].data_errors = 2;
    assert_eq!(
        told(&well(), &damaged),
        [(
            true,
            "pool `tank`: 2 files or blocks are damaged for good".to_owned()
        )]
    );
}

#[test]
fn a_new_device_is_told() {
    let mut after = well();
    after[0].vdevs[0].children[1].guid = "9".to_owned();
    assert_eq!(
        told(&well(), &after),
        [(false, "pool `tank`: nvme1n1p1 is new, online".to_owned())]
    );
}
