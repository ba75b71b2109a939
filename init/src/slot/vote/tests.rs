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
