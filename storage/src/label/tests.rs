use super::*;
use crate::fixture::{label, number, pool_label, string};

#[test]
fn a_label_is_read() {
    let read = Label::read(&pool_label("tank", u64::MAX - 1, 0, 0xdead_beef)).unwrap();
    assert_eq!(
        read,
        Label {
            pool: "tank".to_owned(),
            pool_guid: u64::MAX - 1,
            guid: 8,
            txg: 42,
            state: 0,
            hostid: 0xdead_beef,
            hostname: "other".to_owned(),
        }
    );
    assert!(read.is_active() && !read.is_destroyed());
    assert!(Label::read(&pool_label("tank", 1, 2, 0)).unwrap().is_destroyed());
}

#[test]
fn what_is_no_label_is_none() {
    let size = usize::try_from(LABEL).unwrap();
    assert_eq!(Label::read(&[]), None);
    assert_eq!(Label::read(&vec![0; size]), None);
    assert_eq!(Label::read(&vec![1; size]), None);
    assert_eq!(Label::read(&vec![0xff; size]), None);
    // A spare's label names no pool.
    assert_eq!(
        Label::read(&label(&[number("version", 5000), number("state", 3)])),
        None
    );
    assert_eq!(Label::read(&label(&[string("name", "tank")])), None);
}

#[test]
fn remains_of_a_label_are_seen() {
    let size = usize::try_from(LABEL).unwrap();
    let mut bytes = vec![0; size];
    assert!(!has_uberblock(&bytes));
    bytes[(128 << 10) + 5 * 1024..][..8].copy_from_slice(&0x00ba_b10cu64.to_le_bytes());
    assert!(has_uberblock(&bytes));
}
