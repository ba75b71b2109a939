use super::*;
use crate::fixture::{LIST, Node, STATUS};

const SIZE: u64 = 1 << 30;

/// A node with a pool `tank` whose datasets are these: name, type, volsize.
fn node(datasets: &[(&str, &str, u64)]) -> Node {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    node.write("zpool-list.json", LIST.as_bytes());
    let datasets = datasets.iter().map(|(name, kind, size)| {
        let of = serde_json::json!({ "volsize": { "value": size }, "volblocksize": { "value": 16384 } });
        (
            (*name).to_owned(),
            serde_json::json!({ "type": kind, "properties": of }),
        )
    });
    let datasets: serde_json::Map<_, _> = datasets.collect();
    let list = serde_json::json!({ "datasets": datasets });
    node.write("zfs-list.json", list.to_string().as_bytes());
    node
}

fn spec(from: Option<&str>) -> ZvolSpec {
    ZvolSpec {
        size: ByteSize(SIZE),
        block_size: None,
        reserved: false,
        from: from.map(str::to_owned),
    }
}

fn say<T: std::fmt::Debug>(result: Result<T, StorageError>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_new_one_is_below_the_nodes_own_and_takes_room_as_it_is_written() {
    let node = node(&[("tank", "FILESYSTEM", 0)]);
    // It is made, and then not in the recorded list.
    assert!(node.storage(1).make_volume("tank", "web", &spec(None)).is_err());
    assert_eq!(
        node.changes(),
        [
            "zfs create -o canmount=off -o mountpoint=none tank/axion",
            "zfs create -o canmount=off -o mountpoint=none tank/axion/zvols",
            "zfs create -o compression=lz4 -o volblocksize=16384 -s -V 1073741824 tank/axion/zvols/web",
        ]
    );
    for (pool, name) in [("tank", "../x"), ("tank", "a/b"), ("-x", "a"), ("tank", "a@b")] {
        assert!(node.storage(1).make_volume(pool, name, &spec(None)).is_err());
    }
    assert!(node.changes().is_empty());
}

#[test]
fn what_an_attempt_left_is_made_anew() {
    let node = node(&[
        ("tank/axion", "FILESYSTEM", 0),
        ("tank/axion/zvols", "FILESYSTEM", 0),
        ("tank/axion/zvols/web", "VOLUME", 1 << 20),
    ]);
    let _ = node.storage(1).make_volume("tank", "web", &spec(None));
    let changes = node.changes();
    assert_eq!(changes[0], "zfs destroy -r tank/axion/zvols/web");
    assert!(changes[1].starts_with("zfs create -o compression"), "{changes:?}");
}

#[test]
fn a_volume_grows_and_goes() {
    let node = node(&[
        ("tank/axion/zvols/web", "VOLUME", SIZE),
        ("tank/axion/state", "FILESYSTEM", 0),
        ("tank/vol", "VOLUME", SIZE),
    ]);
    let storage = node.storage(1);
    let names: Vec<_> = storage.volumes().unwrap().into_iter().map(|v| v.name).collect();
    assert_eq!(names, ["tank/axion/zvols/web"]);
    storage.grow_volume("tank", "web", ByteSize(2 * SIZE)).unwrap();
    assert!(say(storage.grow_volume("tank", "web", ByteSize(SIZE / 2))).contains("cut off"));
    storage.destroy_volume("tank", "web").unwrap();
    storage.destroy_volume("tank", "gone").unwrap();
    assert_eq!(
        node.changes(),
        [
            "zfs set volsize=2147483648 tank/axion/zvols/web",
            "zfs destroy -r tank/axion/zvols/web"
        ]
    );
}

#[test]
fn others_destroy_no_volume_and_set_none_back() {
    let node = node(&[("tank/axion/zvols/web", "VOLUME", SIZE)]);
    let storage = node.storage(1);
    assert!(say(storage.destroy_dataset("tank/axion/zvols/web", true)).contains("the node's own"));
    assert!(say(storage.rollback("tank/axion/zvols/web@a", true)).contains("the node's own"));
    assert!(say(storage.put_snapshot("tank/axion/state@a", false)).contains("the node's own"));
    // A snapshot of a volume may be anybody's.
    let _ = storage.put_snapshot("tank/axion/zvols/web@a", false);
    assert_eq!(node.changes(), ["zfs snapshot tank/axion/zvols/web@a"]);
}

#[test]
fn a_clone_is_as_large_as_it_is_to_be_or_not_made() {
    let mut cloned = Dataset {
        volume_size: Some(2 * SIZE),
        ..node(&[("tank/axion/zvols/web", "VOLUME", SIZE)])
            .storage(1)
            .dataset("tank/axion/zvols/web")
            .unwrap()
    };
    assert!(say(fits(&cloned, &spec(None))).contains("which must fit"));
    cloned.volume_size = Some(SIZE);
    fits(&cloned, &spec(None)).unwrap();
    let blocks = ZvolSpec {
        block_size: Some(ByteSize(4096)),
        ..spec(None)
    };
    assert!(say(fits(&cloned, &blocks)).contains("blocks of 16KiB"));
    cloned.volume_size = None;
    assert!(say(fits(&cloned, &spec(None))).contains("file system"));
}
