use super::*;

fn picture(json: &str) -> Picture {
    Picture::read(json).unwrap()
}

#[test]
fn what_failed_speaks_against_an_update_if_no_version_may_do_without() {
    let phases = sample(&[
        ("agent", false, Some("not ready after 30 s")),
        ("consoles", false, Some("no ttyS3")),
        ("control", true, Some("no socket")),
        ("state", true, None),
    ]);
    assert_eq!(
        objections(&phases, None, &Picture::default()),
        ["agent: not ready after 30 s", "control: no socket"]
    );
}

#[test]
fn what_was_worse_before_does_not_speak_against_it() {
    let before = picture(
        r#"{"unix_s":1,"kvm":false,"pools":{"old":false},"drift":{"smt":"degraded"},"of_a_later_version":1}"#,
    );
    let now = picture(r#"{"pools":{"old":false,"new":false},"drift":{"smt":"degraded"}}"#);
    assert_eq!(objections(&[], Some(&before), &now), Vec::<String>::new());
    // Without a picture from before, only what no version may do counts.
    assert_eq!(objections(&[], None, &now), ["boot profile: smt degraded"]);
}

#[test]
fn what_an_update_does_worse_speaks_against_it() {
    let before = picture(r#"{"kvm":true,"pools":{"fast":true,"tank":true}}"#);
    let now = picture(
        r#"{"kvm":false,"pools":{"tank":false},"drift":{"hugepages.2MiB":"degraded: 0, and not 64"}}"#,
    );
    assert_eq!(
        objections(&[], Some(&before), &now),
        [
            "boot profile: hugepages.2MiB degraded: 0, and not 64",
            "pool `fast` was imported before and is not now",
            "pool `tank` was online before and is not now",
            "KVM worked before and does not now",
        ]
    );
    assert_eq!(objections(&[], Some(&before), &before), Vec::<String>::new());
}

#[test]
fn zfs_that_does_not_answer_is_no_word_about_pools() {
    let before = picture(r#"{"pools":{"fast":true,"tank":false}}"#);
    let unknown = picture("{}");
    assert_eq!(unknown.pools, None);
    assert_eq!(objections(&[], Some(&before), &unknown), Vec::<String>::new());
    assert_eq!(
        cannot_tell(Some(&before), &unknown).as_deref(),
        Some("ZFS does not answer, and there was `fast`, `tank` before")
    );
    // No pools is a word.
    let none = picture(r#"{"pools":{}}"#);
    assert_eq!(cannot_tell(Some(&before), &none), None);
    assert_eq!(objections(&[], Some(&before), &none).len(), 2);
    // Without any before, nothing is waited for.
    for before in [None, Some(&none), Some(&unknown)] {
        assert_eq!(cannot_tell(before, &unknown), None);
        assert_eq!(objections(&[], before, &unknown), Vec::<String>::new());
    }
    assert!(!unknown.text().contains("pools"));
}

/// What version 0.1.0 keeps: later ones read it.
#[test]
fn the_first_picture_is_read() {
    let golden = include_str!("../golden/before-1.json");
    let read = picture(golden);
    assert_eq!(read.unix_s, 1_767_225_600);
    assert!(read.kvm);
    assert_eq!(read.pools.as_ref().unwrap().get("tank"), Some(&true));
    assert_eq!(read.drift.len(), 1);
    assert_eq!(read.text(), golden.trim_end());
}

#[test]
fn a_node_that_nobody_reaches_any_more_is_not_found_good() {
    let macs = |macs: &[&str]| macs.iter().map(|mac| (*mac).to_owned()).collect::<BTreeSet<_>>();
    let before = Picture {
        addresses: macs(&["02:00", "02:01"]),
        ..Picture::default()
    };
    let now = |addresses: &[&str], cables: &[(&str, bool)]| Picture {
        addresses: macs(addresses),
        cables: cables.iter().map(|(mac, on)| ((*mac).to_owned(), *on)).collect(),
        ..Picture::default()
    };
    let waits = |now: &Picture| cannot_tell(Some(&before), now).unwrap_or_default();
    let both = [("02:00", true), ("02:01", true)];
    assert_eq!(waits(&now(&["02:00", "02:01", "02:02"], &both)), "");
    assert!(waits(&now(&["02:00"], &both)).contains("interface 02:01 had an address before"));
    // Its driver is gone.
    assert!(waits(&now(&["02:00"], &[("02:00", true)])).contains("02:01"));
    // A cable is out, and the node is reached by the other one; or by none.
    assert_eq!(waits(&now(&["02:00"], &[("02:00", true), ("02:01", false)])), "");
    let none = now(&[], &[("02:00", false), ("02:01", false)]);
    assert!(waits(&none).contains("02:00 and 02:01"));
    // A version before that kept nothing of it.
    assert_eq!(cannot_tell(Some(&Picture::default()), &none), None);
    assert_eq!(cannot_tell(None, &none), None);
}

#[test]
fn addresses_are_kept_for_the_next_version_and_cables_are_not() {
    let picture = Picture {
        addresses: ["02:00".to_owned()].into(),
        cables: [("02:00".to_owned(), true)].into(),
        ..Picture::default()
    };
    let read = Picture::read(&picture.text()).unwrap();
    assert_eq!(read.addresses, picture.addresses);
    assert!(read.cables.is_empty());
}
