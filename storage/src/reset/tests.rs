use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axion_core::config::check;

use super::*;
use crate::fixture::{LIST, Node, STATUS, pool_label};
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
        guids: BTreeMap::new(),
    }
}

/// The id of `tank` in [`STATUS`].
const TANK: &str = "12034567890123456789";

fn with_ids(mut order: ResetOrder, ids: &[(&str, &str)]) -> ResetOrder {
    let ids = ids
        .iter()
        .map(|(name, id)| ((*name).to_owned(), (*id).to_owned()));
    order.guids = ids.collect();
    order
}

/// An order that is kept elsewhere, and what was kept of it.
fn given(order: ResetOrder) -> (GivenOrder, Arc<Mutex<Vec<ResetOrder>>>) {
    let kept = Arc::new(Mutex::new(Vec::new()));
    let keep = {
        let kept = kept.clone();
        Box::new(move |left: &ResetOrder| {
            kept.lock().unwrap().push(left.clone());
            Ok(())
        })
    };
    (GivenOrder { order, keep }, kept)
}

/// A disk whose first label is that of a pool.
fn disk_of(node: &Node, disk: &str, pool: &str, guid: u64, state: u64) {
    node.disk(disk, disk, 512 << 20);
    let path = node.root.path().join("dev").join(disk);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    let label = pool_label(pool, guid, state, 7);
    std::os::unix::fs::FileExt::write_all_at(&file, &label, 0).unwrap();
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
    assert_eq!((carried.problems.len(), carried.pending.len()), (0, 0));
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
    let order = with_ids(
        order(Some("tank"), &["gone", "tank"]),
        &[("gone", "5"), ("tank", TANK)],
    );
    let node = node(&text(&order), true);
    // It was destroyed before the power was cut.
    disk_of(&node, "sda", "gone", 5, 2);
    let carried = node.storage(7).carry_out_resets(soon());
    assert_eq!(carried.done, ["factory reset: pool `tank` is destroyed"]);
    assert!(carried.pending.is_empty());
    assert_eq!(node.changes(), ["zpool destroy -f tank"]);
}

#[test]
fn an_order_waits_for_pools_that_are_missing_and_nothing_is_begun_that_it_takes_away() {
    let all = with_ids(
        order(Some("tank"), &["gone", "tank"]),
        &[("gone", "5"), ("tank", TANK)],
    );
    let node = node(&text(&all), true);
    // Another pool of that name is not meant, whether destroyed or there.
    disk_of(&node, "sda", "gone", 6, 2);
    let storage = node.storage(7);
    let text = "storage.settle = \"0s\"\n[[storage.pools]]\nname = \"gone\"\nlayout = \"stripe\"\ndisks = [\"serial:sda\"]\n";
    let wanted = check(text, "test").unwrap().storage;
    let started = storage.start(&wanted, &NoKeys, soon()).unwrap();
    let left = with_ids(order(None, &["gone", "tank"]), &[("gone", "5"), ("tank", TANK)]);
    assert_eq!(
        node.changes(),
        [
            "zfs destroy -r -f tank/axion".to_owned(),
            format!("zfs set {MARKER}={} tank", self::text(&left)),
            "zfs mount -a".to_owned(),
        ]
    );
    assert_eq!(
        started.problems[0],
        "the factory reset is not done: pool `gone` (id 5) is not imported"
    );
    let refused = "a factory reset that is not done waits for the pool `gone` (id 5)";
    assert_eq!(started.problems[1], format!("pool `gone`: {refused}"));
    let tank = check("storage.state = \"tank\"\n", "test").unwrap().storage;
    let why = storage.state_place(&tank).unwrap_err();
    assert!(
        why.starts_with("no state is kept on `tank`: a factory reset"),
        "{why}"
    );
}

#[test]
fn a_new_pool_of_the_name_of_one_that_is_waited_for_is_left_alone() {
    let node = node("-", true);
    let old = with_ids(order(Some("tank"), &[]), &[("tank", "5")]);
    let (given, kept) = given(old.clone());
    let storage = node.storage(7).with_reset(Some(given));
    let carried = storage.carry_out_resets(soon());
    assert_eq!(carried.pending, [old]);
    assert!(node.changes().is_empty() && kept.lock().unwrap().is_empty());
    storage.not_ordered("tank", Some(TANK)).unwrap();
    assert!(storage.not_ordered("tank", Some("5")).is_err());
    assert!(storage.not_ordered("tank", None).is_err());
}

#[test]
fn an_order_that_waits_can_be_withdrawn() {
    let node = node(&text(&order(None, &["gone", "tank"])), true);
    let storage = node.storage(7);
    assert_eq!(storage.carry_out_resets(soon()).pending.len(), 1);
    storage.set_pending(vec![order(None, &["gone", "tank"])]);
    assert!(storage.cancel_resets().unwrap());
    assert_eq!(node.changes(), [format!("zfs inherit {MARKER} tank")]);
    storage.not_ordered("gone", None).unwrap();
    assert!(!self::node("-", true).storage(7).cancel_resets().unwrap());
}

#[test]
fn orders_of_earlier_versions_are_read() {
    let read: ResetOrder = serde_json::from_str(r#"{"config":true,"state":"tank","pools":["a"]}"#).unwrap();
    assert_eq!(read.names().collect::<Vec<_>>(), ["a", "tank"]);
    assert!(read.means("tank", ("tank", "1")) && !read.means("tank", ("a", "1")));
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
fn an_order_that_is_kept_elsewhere_is_kept_until_its_pools_are_done() {
    let there = node("-", true);
    let (all, kept) = given(with_ids(order(Some("tank"), &[]), &[("tank", TANK)]));
    let carried = there.storage(7).with_reset(Some(all)).carry_out_resets(soon());
    assert_eq!((carried.done.len(), carried.pending.len()), (1, 0));
    assert_eq!(there.changes(), ["zfs destroy -r -f tank/axion"]);
    assert_eq!(kept.lock().unwrap()[0].names().count(), 0);

    let missing = node("-", true);
    let both = with_ids(
        order(Some("dozer"), &["tank", "dozer"]),
        &[("dozer", "5"), ("tank", TANK)],
    );
    let (all, kept) = given(both);
    let carried = missing.storage(7).with_reset(Some(all)).carry_out_resets(soon());
    assert_eq!(missing.changes(), ["zpool destroy -f tank"]);
    let kept = kept.lock().unwrap();
    assert_eq!(
        (kept[0].state.as_deref(), kept[0].pools.as_slice()),
        (Some("dozer"), &["dozer".to_owned()][..])
    );
    assert_eq!(carried.pending, *kept);
    assert!(
        carried.problems[0].contains("pool `dozer` (id 5) is not imported"),
        "{carried:?}"
    );
}

#[test]
fn an_order_that_cannot_be_forgotten_lets_nothing_be_begun() {
    let node = node("-", true);
    let all = order(Some("tank"), &[]);
    let given = GivenOrder {
        order: all.clone(),
        keep: Box::new(|_| Err("the disk fails".to_owned())),
    };
    let carried = node.storage(7).with_reset(Some(given)).carry_out_resets(soon());
    assert_eq!(
        carried.problems,
        ["the order of the factory reset: the disk fails"]
    );
    assert_eq!(carried.pending, [all]);
}

#[test]
fn disks_of_ordered_pools_are_waited_for() {
    let node = Node::new();
    let (given, kept) = given(with_ids(order(Some("tank"), &[]), &[("tank", "5")]));
    let storage = node.storage(7).with_reset(Some(given));
    assert!(!storage.ordered_are_there());
    // No pool is declared, as the machine config is gone, and the disk is late.
    let wanted = check("storage.settle = \"30s\"\n", "test").unwrap().storage;
    std::thread::scope(|scope| {
        let booted = scope.spawn(|| storage.start(&wanted, &NoKeys, soon()).unwrap());
        std::thread::park_timeout(Duration::from_millis(300));
        assert!(node.changes().is_empty());
        disk_of(&node, "sda", "tank", 5, 0);
        booted.join().unwrap();
    });
    assert_eq!(
        node.changes()[0],
        "zpool import -N -R /run/axion/pools -d /dev/sda 5"
    );
    // The import did not bring it in this test, so that it waits on.
    assert!(kept.lock().unwrap().is_empty());
    assert!(node.storage(7).ordered_are_there());
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
    assert_eq!(
        node.changes(),
        [
            "zfs destroy -r -f tank/axion".to_owned(),
            format!("zfs inherit {MARKER} tank"),
            "zfs mount -a".to_owned()
        ]
    );
}
