use axion_api::storage::Encryption;

use super::*;
use crate::fixture::{DATASETS, LIST, Node, STATUS};

fn parsed() -> Vec<Dataset> {
    let devices = BTreeMap::from([("tank/vol".to_owned(), "zd16".to_owned())]);
    parse(&serde_json::from_str(DATASETS).unwrap(), &devices)
}

fn named(name: &str) -> Dataset {
    parsed().into_iter().find(|dataset| dataset.name == name).unwrap()
}

#[test]
fn what_zfs_lists_is_read() {
    let root = named("tank");
    assert_eq!(
        (root.kind, root.used, root.block_size),
        (DatasetKind::Filesystem, 2_097_152, 131_072)
    );
    assert_eq!(
        (root.compress_ratio.as_str(), root.compression.as_str()),
        ("1.53", "lz4")
    );
    assert_eq!(
        (root.quota, root.mounted_at, root.encryption, root.key),
        (None, None, None, None)
    );
    assert_eq!((root.created_unix_s, root.system), (1_764_000_000, false));
    assert!(named("tank/axion").system);
    let secret = named("tank/secret");
    assert_eq!(secret.mounted_at.as_deref(), Some("/run/axion/pools/tank/secret"));
    assert_eq!(
        (secret.encryption.as_deref(), secret.key),
        (Some("aes-256-gcm"), Some(KeyState::Available))
    );
    assert_eq!(secret.quota, Some(1 << 30));
    let volume = named("tank/vol");
    assert_eq!(
        (volume.kind, volume.volume_size, volume.block_size),
        (DatasetKind::Volume, Some(1 << 30), 16_384)
    );
    assert_eq!(
        (volume.device.as_deref(), volume.origin.as_deref()),
        (Some("/dev/zd16"), Some("tank/base@a"))
    );
    assert_eq!((volume.mounted_at, volume.compress_ratio.as_str()), (None, "1"));
}

fn size(text: &str) -> Option<ByteSize> {
    Some(text.parse().unwrap())
}

#[test]
fn what_a_new_dataset_is_made_with() {
    let created = |spec: DatasetSpec, raidz| creation("tank/a", &spec, raidz, 12).unwrap().join(" ");
    assert_eq!(
        created(DatasetSpec::default(), false),
        "create -o compression=lz4 -o recordsize=131072 tank/a"
    );
    let stream = DatasetSpec {
        r#use: Some(Use::Stream),
        quota: size("2TiB"),
        reservation: size("1GiB"),
        ..DatasetSpec::default()
    };
    assert_eq!(
        created(stream, false),
        "create -o compression=lz4 -o logbias=throughput -o reservation=1073741824 -o recordsize=1048576 -o \
         quota=2199023255552 tank/a"
    );
    let volume = DatasetSpec {
        size: size("10GiB"),
        sparse: true,
        ..DatasetSpec::default()
    };
    assert_eq!(
        created(volume.clone(), false),
        "create -o compression=lz4 -o volblocksize=16384 -s -V 10737418240 tank/a"
    );
    assert!(created(volume, true).contains("volblocksize=65536"));
    let encrypted = DatasetSpec {
        encryption: Some(Encryption {
            key: Key::Hex("0".repeat(64)),
        }),
        ..DatasetSpec::default()
    };
    assert_eq!(
        created(encrypted, false),
        "create -o compression=lz4 -o encryption=aes-256-gcm -o keyformat=hex -o keylocation=prompt -o recordsize=131072 \
         tank/a"
    );
}

#[test]
fn every_value_that_is_not_allowed_says_what_is() {
    let key = |key| Some(Encryption { key });
    let spec = DatasetSpec::default;
    let table = [
        (
            DatasetSpec {
                block_size: size("3KiB"),
                ..spec()
            },
            "3KiB; allowed are powers of two from 512B to 16MiB for a file system",
        ),
        (
            DatasetSpec {
                block_size: size("1MiB"),
                size: size("1GiB"),
                ..spec()
            },
            "1MiB; allowed are powers of two from 4KiB to 128KiB for a zvol",
        ),
        (
            DatasetSpec {
                size: size("0B"),
                ..spec()
            },
            "a zvol has a size",
        ),
        (
            DatasetSpec {
                size: size("1GiB"),
                quota: size("1GiB"),
                ..spec()
            },
            "a zvol takes no more than its size; `quota` is for file systems",
        ),
        (
            DatasetSpec {
                sparse: true,
                ..spec()
            },
            "a file system is always sparse; `sparse` is for zvols",
        ),
        (
            DatasetSpec {
                encryption: key(Key::Passphrase("short".to_owned())),
                ..spec()
            },
            "a passphrase has 8 to 512 bytes, without line breaks",
        ),
        (
            DatasetSpec {
                encryption: key(Key::Hex("xy".repeat(32))),
                ..spec()
            },
            "a key is 64 hex digits",
        ),
    ];
    for (spec, message) in table {
        assert_eq!(check(&spec).unwrap_err().to_string(), message);
    }
    let odd = DatasetSpec {
        size: size("1000KiB"),
        ..spec()
    };
    assert_eq!(
        creation("tank/a", &odd, false, 12).unwrap_err().to_string(),
        "1000KiB; allowed are multiples of the block size, 16KiB"
    );
}

#[test]
fn keys_are_not_shown() {
    let key = Key::Passphrase("correct horse".to_owned());
    let spec = DatasetSpec {
        encryption: Some(Encryption { key }),
        ..DatasetSpec::default()
    };
    assert!(!format!("{spec:?}").contains("horse"));
}

#[test]
fn a_dataset_that_is_there_is_changed_or_refused() {
    let changed = |name: &str, spec: DatasetSpec| {
        changes(&named(name), &spec).map_or_else(|e| e.to_string(), |changes| changes.join(" "))
    };
    let spec = DatasetSpec::default;
    let table = [
        ("tank", spec(), ""),
        (
            "tank",
            DatasetSpec {
                quota: size("1GiB"),
                ..spec()
            },
            "quota=1073741824",
        ),
        ("tank/secret", spec(), "quota=none"),
        (
            "tank/secret",
            DatasetSpec {
                quota: size("1GiB"),
                compression: Some(Compression::Off),
                ..spec()
            },
            "compression=off",
        ),
        (
            "tank/vol",
            DatasetSpec {
                size: size("1GiB"),
                ..spec()
            },
            "",
        ),
        (
            "tank/vol",
            DatasetSpec {
                size: size("2GiB"),
                ..spec()
            },
            "volsize=2147483648",
        ),
        (
            "tank/vol",
            DatasetSpec {
                size: size("512MiB"),
                ..spec()
            },
            "`tank/vol` has 1GiB; making it 512MiB would cut off what is behind",
        ),
        ("tank/vol", spec(), "`tank/vol` is a zvol; give its size"),
        (
            "tank",
            DatasetSpec {
                size: size("1GiB"),
                ..spec()
            },
            "`tank` is a file system, which has no size; use `quota`",
        ),
        (
            "tank/vol",
            DatasetSpec {
                size: size("1GiB"),
                block_size: size("8KiB"),
                ..spec()
            },
            "`tank/vol` has blocks of 16KiB, which a zvol keeps",
        ),
        (
            "tank",
            DatasetSpec {
                encryption: Some(Encryption {
                    key: Key::Hex("0".repeat(64)),
                }),
                ..spec()
            },
            "`tank` is not encrypted, and only a new dataset can be",
        ),
    ];
    for (name, spec, wanted) in table {
        assert_eq!(changed(name, spec.clone()), wanted, "{name} {spec:?}");
    }
}

fn with_datasets() -> Node {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    node.write("zpool-list.json", LIST.as_bytes());
    node.write("zfs-list.json", DATASETS.as_bytes());
    node
}

#[test]
fn datasets_are_changed_destroyed_locked_and_unlocked() {
    let node = with_datasets();
    let storage = node.storage(1);
    let quota = DatasetSpec {
        quota: size("1GiB"),
        ..DatasetSpec::default()
    };
    let (dataset, new) = storage.put_dataset("tank", &quota).unwrap();
    assert_eq!((dataset.name.as_str(), new), ("tank", false));
    storage.destroy_dataset("tank/vol", false).unwrap();
    storage.destroy_dataset("tank/secret", true).unwrap();
    storage.unload_key("tank/secret").unwrap();
    storage
        .load_key("tank/secret", &Key::Passphrase("correct horse".to_owned()))
        .unwrap();
    assert_eq!(
        node.changes(),
        [
            "zfs set quota=1073741824 tank",
            "zfs destroy tank/vol",
            "zfs destroy -r tank/secret",
            "zfs unmount tank/secret",
            "zfs unload-key -r tank/secret",
            // Its key is loaded in the recorded list.
            "zfs mount -a",
        ]
    );
    let locked = DATASETS.replace("\"available\" }", "\"unavailable\" }");
    node.write("zfs-list.json", locked.as_bytes());
    storage
        .load_key("tank/secret", &Key::Passphrase("correct horse".to_owned()))
        .unwrap();
    assert_eq!(
        node.changes(),
        [
            "zfs load-key -L prompt tank/secret",
            "key correct horse",
            "zfs mount -a"
        ]
    );
}

#[test]
fn what_is_the_nodes_own_or_a_whole_pool_is_left_alone() {
    let node = with_datasets();
    let storage = node.storage(1);
    let say = |result: Result<(), StorageError>| result.unwrap_err().to_string();
    assert_eq!(
        say(storage.destroy_dataset("tank/axion", true)),
        "`tank/axion` is the node's own; it is shown and not changed here"
    );
    assert!(
        storage
            .put_dataset("tank/axion/x", &DatasetSpec::default())
            .is_err()
    );
    assert_eq!(
        say(storage.destroy_dataset("tank", true)),
        "`tank` is a whole pool; destroy the pool instead"
    );
    assert_eq!(say(storage.unload_key("tank/vol")), "`tank/vol` is not encrypted");
    assert_eq!(
        say(storage.destroy_dataset("tank/none", false)),
        "there is no dataset `tank/none`"
    );
    assert!(node.changes().is_empty());
}
