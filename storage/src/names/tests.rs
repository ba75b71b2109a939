use super::*;

#[test]
fn names() {
    for good in ["tank", "tank/a", "tank/VMs/web-1.old:2", "fast_1/x/_y"] {
        assert!(dataset(good).is_ok(), "{good}");
    }
    for bad in [
        "", "/tank", "tank/", "tank//a", "tank/-r", "-tank/a", "tank/a b", "tank/a@b", "tank/a%", "mirror/a",
        "tank/..", "tank/ä",
    ] {
        assert!(dataset(bad).is_err(), "{bad}");
    }
    assert!(dataset(&format!("tank/{}", "a".repeat(251))).is_err());
    assert_eq!(snapshot("tank/a@monday").unwrap(), ("tank/a", "monday"));
    for bad in ["tank", "tank@", "@a", "tank@a@b", "tank@-a", "tank/a@a/b"] {
        assert!(snapshot(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_refusal_says_what_is_allowed() {
    let message = dataset("tank/-r\n").unwrap_err().to_string();
    assert!(
        message.starts_with("`tank/-r\\n` is not a dataset's name; allowed are"),
        "{message}"
    );
}

#[test]
fn the_nodes_own_datasets_are_known() {
    assert!(is_system("tank/axion"));
    assert!(is_system("tank/axion/state@a"));
    assert!(!is_system("tank/axion2"));
    assert!(!is_system("axion"));
    assert!(!is_system("tank/a/axion"));
    assert_eq!(system("tank", "state"), "tank/axion/state");
    assert_eq!(pool_of("tank/a@b"), "tank");
    assert_eq!(pool_of("tank@b"), "tank");
}
