use axion_core::config::check;

use super::*;
use crate::fixture::{LIST, Node, STATUS};
use crate::keys::NoKeys;

/// A node with the pool `tank`, whose topmost dataset has this order, and the node's state on it.
fn node(order: &str, state: bool) -> Node {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    node.write("zpool-list.json", LIST.as_bytes());
    let dataset = |name: &str| {
        serde_json::json!({"name": name, "type": "FILESYSTEM", "pool": "tank",
            "properties": {MARKER: {"value": if name == "tank" { order } else { "-" }}, "mounted": {"value": "no"}}})
    };
    let names = ["tank", "tank/scratch", "tank/axion", "tank/axion/state"];
    let names = names
        .into_iter()
        .filter(|name| state || !name.starts_with("tank/axion"));
    let datasets: serde_json::Map<String, serde_json::Value> =
        names.map(|name| (name.to_owned(), dataset(name))).collect();
    let list = serde_json::json!({"datasets": datasets});
    node.write("zfs-list.json", list.to_string().as_bytes());
    node
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn order(state: Option<&str>, pools: &[&str]) -> ResetOrder {
    ResetOrder {
        config: false,
        state: state.map(str::to_owned),
        pools: pools.iter().map(|pool| (*pool).to_owned()).collect(),
    }
}

fn text(order: &ResetOrder) -> String {
    serde_json::to_string(order).unwrap()
}

#[test]
fn an_order_is_a_property_of_the_pool() {
    let node = node("-", true);
    let order = order(Some("tank"), &[]);
    node.storage(7).order_reset("tank", &order).unwrap();
    assert_eq!(
        node.changes(),
        [format!(
            r#"zfs set {MARKER}={{"config":false,"state":"tank","pools":[]}} tank"#
        )]
    );
    assert!(node.storage(7).order_reset("tank/axion", &order).is_err());
}

#[test]
fn the_state_is_destroyed_and_the_marker_goes_last() {
    let node = node(&text(&order(Some("tank"), &[])), true);
    let carried = node.storage(7).carry_out_resets(soon());
    assert_eq!(
        carried.done,
        ["factory reset: the node's state on `tank` is destroyed"]
    );
    assert_eq!((carried.problems.len(), carried.waits), (0, false));
    assert_eq!(
        node.changes(),
        [
            "zfs destroy -r -f tank/axion".to_owned(),
            format!("zfs inherit {MARKER} tank")
        ]
    );
}

#[test]
fn a_reset_that_was_cut_off_goes_on() {
    // The state is gone, the marker is not.
    let node = node(&text(&order(Some("tank"), &[])), false);
    let carried = node.storage(7).carry_out_resets(soon());
    assert_eq!(carried, Carried::default());
    assert_eq!(node.changes(), [format!("zfs inherit {MARKER} tank")]);
}

#[test]
fn pools_go_as_a_whole_and_the_one_with_the_order_last() {
    let node = node(&text(&order(Some("tank"), &["gone", "tank"])), true);
    let carried = node.storage(7).carry_out_resets(soon());
    assert_eq!(carried.done, ["factory reset: pool `tank` is destroyed"]);
    assert_eq!(node.changes(), ["zpool destroy -f tank"]);
}

#[test]
fn what_cannot_be_destroyed_keeps_its_order() {
    let marked = node(&text(&order(Some("tank"), &[])), true);
    marked.write(
        "zfs-destroy.err",
        b"cannot destroy 'tank/axion': permission denied\n",
    );
    let carried = marked.storage(7).carry_out_resets(soon());
    assert!(carried.problems[0].contains("permission denied"), "{carried:?}");
    assert_eq!(marked.changes(), ["zfs destroy -r -f tank/axion"]);
    let late = node(&text(&order(Some("tank"), &[])), true);
    let carried = late.storage(7).carry_out_resets(Instant::now());
    assert!(carried.problems[0].contains("no time is left"), "{carried:?}");
    assert!(late.changes().is_empty());
    // Text that is no order destroys nothing.
    let strange = node(r#"{"state":"tank","all":true}"#, true);
    assert_eq!(strange.storage(7).carry_out_resets(soon()).problems.len(), 1);
    assert!(strange.changes().is_empty());
}

#[test]
fn an_order_that_is_kept_elsewhere_waits_for_its_pool() {
    let there = node("-", true);
    let given = there.storage(7).with_reset(Some(order(Some("tank"), &[])));
    assert_eq!(given.carry_out_resets(soon()).done.len(), 1);
    assert_eq!(there.changes(), ["zfs destroy -r -f tank/axion"]);
    let missing = node("-", true);
    let given = missing.storage(7).with_reset(Some(order(Some("dozer"), &[])));
    let carried = given.carry_out_resets(soon());
    assert!(carried.waits);
    assert_eq!(
        carried.problems,
        ["the factory reset is not done: pool `dozer`, which has the node's state, is not imported"]
    );
    assert!(missing.changes().is_empty());
}

#[test]
fn a_boot_carries_it_out_before_the_state_is_mounted() {
    let node = node(&text(&order(Some("tank"), &[])), true);
    let wanted = check("storage.settle = \"0s\"\nstorage.state = \"none\"\n", "test")
        .unwrap()
        .storage;
    let started = node.storage(7).start(&wanted, &NoKeys, soon()).unwrap();
    assert!(
        started.done.iter().any(|done| done.starts_with("factory reset")),
        "{started:?}"
    );
    assert!(!started.reset_waits);
    assert_eq!(
        node.changes(),
        [
            "zfs destroy -r -f tank/axion".to_owned(),
            format!("zfs inherit {MARKER} tank"),
            "zfs mount -a".to_owned()
        ]
    );
}
