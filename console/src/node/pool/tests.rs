use super::*;

#[test]
fn sizes_are_said_in_the_largest_unit_that_fits() {
    for (bytes, words) in [
        (0, "0.0 KiB"),
        (1536, "1.5 KiB"),
        (464 << 20, "464.0 MiB"),
        ((1 << 40) + (1 << 39), "1.5 TiB"),
        (u64::MAX, "1.5 EiB"),
    ] {
        assert_eq!(size_words(bytes), words, "{bytes}");
    }
}

#[test]
fn shares_are_whole_percent() {
    assert_eq!(percent(1, 3), 33);
    assert_eq!(percent(5, 0), 100);
    assert_eq!(percent(u64::MAX, u64::MAX), 100);
}

#[test]
fn a_scan_says_how_far_it_is() {
    let scan = Scan {
        kind: ScanKind::Resilver,
        state: ScanState::Running,
        started_unix_s: 0,
        ended_unix_s: None,
        to_examine: 200,
        examined: 68,
        repaired: 0,
        errors: 0,
    };
    assert_eq!(scan_words(&scan), "resilver: 34 % done");
    let over = Scan {
        kind: ScanKind::Scrub,
        state: ScanState::Finished,
        ..scan
    };
    assert_eq!(scan_words(&over), "scrub: finished, 0 errors");
}

#[test]
fn the_topmost_of_locked_datasets_are_asked_for() {
    let dataset = |name: &str, key: Option<KeyState>, system: bool| -> Dataset {
        serde_json::from_value(serde_json::json!({
            "name": name, "kind": "filesystem", "used": 0, "available": 0, "referenced": 0, "compress_ratio": "1.00",
            "compression": "lz4", "block_size": 131_072, "created_unix_s": 0, "system": system, "key": key,
        }))
        .unwrap()
    };
    let locked = Some(KeyState::Unavailable);
    let datasets = [
        dataset("tank", None, false),
        dataset("tank/axion", locked, true),
        dataset("tank/a", locked, false),
        dataset("tank/a/below", locked, false),
        dataset("tank/open", Some(KeyState::Available), false),
        dataset("tank/open/inner", locked, false),
    ];
    assert_eq!(locked_datasets(&datasets), ["tank/a", "tank/open/inner"]);
}
