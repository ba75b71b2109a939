use super::*;
use crate::fixture::{Node, SNAPSHOTS};

fn node() -> Node {
    let node = Node::new();
    node.write("zfs-list.json", SNAPSHOTS.as_bytes());
    node
}

fn say<T: std::fmt::Debug>(result: Result<T, StorageError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn snapshots_are_read_oldest_first() {
    let node = node();
    let snapshots = node.storage(1).snapshots(Some("tank/a")).unwrap();
    let names: Vec<_> = snapshots
        .iter()
        .map(|snapshot| snapshot.snapshot.as_str())
        .collect();
    assert_eq!(names, ["monday", "tuesday"]);
    assert_eq!(snapshots[1].guid, "9988776655443322110");
    assert_eq!((snapshots[0].used, snapshots[0].clones.len()), (4096, 0));
    assert_eq!(snapshots[1].clones, ["tank/b", "tank/c"]);
}

#[test]
fn one_that_is_there_is_not_made_again() {
    let node = node();
    let (snapshot, new) = node.storage(1).put_snapshot("tank/a@monday", true).unwrap();
    assert_eq!((snapshot.name.as_str(), new), ("tank/a@monday", false));
    assert!(node.changes().is_empty());
    // Made, and then not in the recorded list.
    assert_eq!(
        say(node.storage(1).put_snapshot("tank/a@new", true)),
        "there is no snapshot `tank/a@new`"
    );
    assert_eq!(node.changes(), ["zfs snapshot -r tank/a@new"]);
}

#[test]
fn a_rollback_says_what_it_would_destroy() {
    let node = node();
    let storage = node.storage(1);
    assert_eq!(
        say(storage.rollback("tank/a@monday", false)),
        "`tank/a` has 1 newer snapshots, which going back to `tank/a@monday` destroys: tuesday; say `discard_newer`"
    );
    storage.rollback("tank/a@tuesday", false).unwrap();
    storage.rollback("tank/a@monday", true).unwrap();
    assert_eq!(
        node.changes(),
        ["zfs rollback tank/a@tuesday", "zfs rollback -r tank/a@monday"]
    );
    assert_eq!(
        say(storage.rollback("tank/a@x", false)),
        "there is no snapshot `tank/a@x`"
    );
}

#[test]
fn one_with_clones_is_kept() {
    let node = node();
    let storage = node.storage(1);
    assert_eq!(
        say(storage.destroy_snapshot("tank/a@tuesday", false)),
        "`tank/a@tuesday` has clones, which need it: tank/b, tank/c; destroy them first"
    );
    storage.destroy_snapshot("tank/a@monday", false).unwrap();
    assert_eq!(node.changes(), ["zfs destroy tank/a@monday"]);
}

#[test]
fn a_clone_is_in_the_same_pool_and_never_among_the_nodes_own() {
    let node = node();
    let storage = node.storage(1);
    let clone = |name: &str| {
        let spec = CloneSpec {
            name: name.to_owned(),
        };
        say(storage.clone_snapshot("tank/a@monday", &spec))
    };
    assert_eq!(
        clone("fast/a"),
        "a clone shares blocks with its snapshot: it is in the pool `tank`"
    );
    assert!(clone("tank/axion/a").contains("the node's own"));
    assert!(clone("tank/-a").contains("is not a dataset's name"));
    assert!(node.changes().is_empty());
    node.write(
        "zfs-clone.err",
        b"cannot create 'tank/b': dataset already exists\n",
    );
    assert_eq!(
        clone("tank/b"),
        "`zfs clone`: cannot create 'tank/b': dataset already exists"
    );
}
