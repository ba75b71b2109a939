use super::parse::{Record, last, to_clear};
use super::*;

fn record(name: &str, unix_s: u64, text: &str) -> Record {
    Record {
        name: name.to_owned(),
        unix_s,
        text: text.to_owned(),
    }
}

/// A panic in three parts, as efi-pstore keeps it, beside an older one and the console of ramoops.
fn kept() -> Vec<Record> {
    vec![
        record("console-ramoops-0", 2_000, "[    0.0] hello"),
        record(
            "dmesg-efi_pstore-90001",
            900,
            "Panic#1 Part1\n<0>[    3.0] Kernel panic - not syncing: old\n",
        ),
        record(
            "dmesg-efi_pstore-100001",
            1_001,
            "Panic#1 Part1\n<4>[   12.2] Call Trace:\n<0>[   12.3][    T1] Kernel panic - not syncing: sysrq triggered crash\n",
        ),
        record(
            "dmesg-efi_pstore-100002",
            1_000,
            "Panic#1 Part2\n<6>[   12.0] second\u{1b}[2J\n<6>[   12.1] third\n",
        ),
        record(
            "dmesg-efi_pstore-100003",
            1_000,
            "Panic#1 Part3\n<6>[   11.0] first\n",
        ),
        record("mce-erst-7", 3_000, "not a log"),
        record("dmesg-erst-8", 3_000, "no header"),
    ]
}

#[test]
fn the_last_crash_is_put_together_in_the_order_of_its_lines() {
    let found = last(&kept()).unwrap();
    let summary = &found.crash.summary;
    assert_eq!((summary.reason.as_str(), summary.unix_s), ("Panic", 1_001));
    assert_eq!(summary.headline, "sysrq triggered crash");
    assert_eq!(summary.backend, "efi_pstore");
    assert_eq!(
        found.crash.log,
        "[   11.0] first\n[   12.0] second[2J\n[   12.1] third\n[   12.2] Call Trace:\n\
         [   12.3][    T1] Kernel panic - not syncing: sysrq triggered crash\n"
    );
    assert_eq!(found.records.len(), 3);
}

#[test]
fn the_cause_is_told_where_the_panic_says_nothing() {
    let text = "Oops#1 Part1\n<1>[ 5.0] BUG: kernel NULL pointer dereference, address: 0000000000000000\n\
                <0>[ 5.2] Kernel panic - not syncing: Fatal exception\n";
    let found = last(&[record("dmesg-ramoops-0", 1, text)]).unwrap();
    assert_eq!(
        found.crash.summary.headline,
        "BUG: kernel NULL pointer dereference, address: 0000000000000000"
    );
    assert_eq!(found.crash.summary.reason, "Oops");
}

#[test]
fn a_node_that_forgets_leaves_its_last_crash_in_the_firmware() {
    let records = kept();
    let found = last(&records).unwrap();
    assert_eq!(
        to_clear(&records, &found, false),
        ["dmesg-efi_pstore-90001", "dmesg-erst-8"]
    );
    assert_eq!(to_clear(&records, &found, true).len(), 5);
}

#[test]
fn nothing_is_found_where_nothing_is() {
    assert_eq!(last(&[]), None);
    assert_eq!(last(&[record("dmesg-erst-1", 1, "")]), None);
    assert_eq!(last(&[record("dmesg-erst-1", 1, "Panic#1 Partx\nline")]), None);
}

#[test]
fn the_log_of_a_crash_is_bounded() {
    let long = format!("Panic#1 Part1\n{}\nlast", "ä\n".repeat(100_000));
    let found = last(&[record("dmesg-erst-1", 1, &long)]).unwrap();
    assert!(found.crash.log.len() <= 64 << 10);
    assert!(found.crash.log.ends_with("last\n"));
}

#[test]
fn a_crash_is_stored_before_it_is_cleared() {
    let directory = tempfile::tempdir().unwrap();
    let (pstore, state) = (directory.path().join("pstore"), directory.path().join("state"));
    fs::create_dir(&pstore).unwrap();
    for record in kept() {
        fs::write(pstore.join(record.name), record.text).unwrap();
    }
    let unreachable = state.join("crash.json");
    if nix::unistd::getuid().is_root() {
        assert!(take(&pstore, &unreachable, true).is_err());
        assert_eq!(fs::read_dir(&pstore).unwrap().count(), 7);
        fs::create_dir(&state).unwrap();
        let crash = take(&pstore, &unreachable, true).unwrap().unwrap();
        let stored: Crash = serde_json::from_slice(&fs::read(&unreachable).unwrap()).unwrap();
        assert_eq!(stored, crash);
        assert_eq!(fs::read_dir(&pstore).unwrap().count(), 2);
        assert_eq!(take(&pstore, &unreachable, true).unwrap(), None);
    }
}
