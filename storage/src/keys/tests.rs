use std::sync::Mutex;
use std::time::Duration;

use axion_core::config::check;

use super::*;
use crate::fixture::{LIST, Node, STATUS};

const PHRASE: &str = "correct horse";

/// Has a key for everything, or for nothing.
#[derive(Debug, Default)]
struct Ring {
    reason: Option<&'static str>,
    sealed: Option<&'static str>,
    asked: Mutex<Vec<Locked>>,
}

impl Keyring for Ring {
    fn make(&self) -> Result<Option<NewKey>, String> {
        match self.reason {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(Some(NewKey {
                key: Key::Passphrase(PHRASE.to_owned()),
                sealed: self.sealed.map(str::to_owned),
            })),
        }
    }

    fn find(&self, dataset: &Locked) -> Result<Key, String> {
        self.asked.lock().unwrap().push(dataset.clone());
        match self.reason {
            Some(reason) => Err(reason.to_owned()),
            None => Ok(Key::Passphrase(PHRASE.to_owned())),
        }
    }
}

fn node(datasets: &str) -> Node {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    node.write("zpool-list.json", LIST.as_bytes());
    node.write(
        "zfs-list.json",
        format!("{{\"datasets\":{{{datasets}}}}}").as_bytes(),
    );
    node
}

fn wanted(text: &str) -> config::Storage {
    check(&format!("storage.state = \"tank\"\n{text}"), "test")
        .unwrap()
        .storage
}

fn dataset(name: &str, properties: &str) -> String {
    format!("\"{name}\":{{\"name\":\"{name}\",\"type\":\"FILESYSTEM\",\"properties\":{{{properties}}}}}")
}

fn locked(name: &str, sealed: &str) -> String {
    let properties = format!(
        "\"encryption\":{{\"value\":\"aes-256-gcm\"}},\"encryptionroot\":{{\"value\":\"{name}\"}},\
         \"keyformat\":{{\"value\":\"passphrase\"}},\"keystatus\":{{\"value\":\"unavailable\"}},\
         \"{SEALED}\":{{\"value\":\"{sealed}\"}}"
    );
    dataset(name, &properties)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

#[test]
fn state_that_is_new_is_made_with_its_key() {
    let node = node("");
    let ring = Ring {
        sealed: Some("[1]"),
        ..Ring::default()
    };
    let (pool, said) = node.storage(7).prepare_state(&wanted(""), &ring).unwrap();
    assert_eq!(pool.as_deref(), Some("tank"));
    assert!(said.is_empty());
    let changes = node.changes();
    assert_eq!(
        changes[..2],
        [
            "zfs create -o canmount=off -o mountpoint=none -o encryption=aes-256-gcm -o keyformat=passphrase -o \
             keylocation=prompt -o pbkdf2iters=100000 -o org.axion:sealed=[1] -o \
             org.axion:unnoted=yes tank/axion",
            "key correct horse",
        ]
    );
    assert!(changes[2].ends_with("tank/axion/state"), "{changes:?}");
}

#[test]
fn a_passphrase_that_somebody_chose_keeps_the_rounds_of_zfs() {
    let node = node("");
    node.storage(7)
        .prepare_state(&wanted(""), &Ring::default())
        .unwrap();
    let made = &node.changes()[0];
    assert!(!made.contains("pbkdf2iters") && !made.contains(UNNOTED), "{made}");
}

#[test]
fn without_a_key_nothing_is_made() {
    let node = node("");
    let ring = Ring {
        reason: Some("this machine has no TPM"),
        ..Ring::default()
    };
    let error = node.storage(7).prepare_state(&wanted(""), &ring).unwrap_err();
    assert!(
        matches!(&error, StateError::Locked { pool, reason, is_new: true } if pool == "tank" && reason == "this machine has no TPM"),
        "{error:?}"
    );
    assert!(node.changes().is_empty());
    // What somebody types now would not be what the config says tomorrow.
    let declared = wanted("storage.encryption.key = \"config\"\n");
    let error = node.storage(7).prepare_state(&declared, &ring).unwrap_err();
    assert!(
        matches!(&error, StateError::Other(why) if why == "the node's state on `tank` is not made: this machine has no TPM"),
        "{error:?}"
    );
    assert!(node.changes().is_empty());
}

#[test]
fn state_that_is_there_is_unlocked_by_what_is_kept_with_it() {
    let node = node(&locked("tank/axion", "[1]"));
    let ring = Ring::default();
    node.storage(7).prepare_state(&wanted(""), &ring).unwrap();
    let asked = ring.asked.lock().unwrap();
    assert_eq!(asked[0].sealed.as_deref(), Some("[1]"));
    assert!(!asked[0].is_hex);
    assert_eq!(
        node.changes()[..2],
        ["zfs load-key -L prompt tank/axion", "key correct horse"]
    );
}

#[test]
fn a_passphrase_that_nobody_has_noted_is_known_at_each_start() {
    let with = |value: &str| {
        let node = node(&locked(
            "tank/axion",
            &format!("[1]\"}},\"{UNNOTED}\":{{\"value\":\"{value}"),
        ));
        let ring = Ring::default();
        node.storage(7).prepare_state(&wanted(""), &ring).unwrap();
        let asked = ring.asked.lock().unwrap();
        (asked[0].sealed.clone(), asked[0].unnoted)
    };
    assert_eq!(with("yes"), (Some("[1]".to_owned()), true));
    assert_eq!(with("-"), (Some("[1]".to_owned()), false));
    let node = Node::new();
    node.storage(7).note("tank/axion").unwrap();
    assert_eq!(node.changes(), [format!("zfs inherit {UNNOTED} tank/axion")]);
}

#[test]
fn a_wrong_key_leaves_it_locked_in_zfs_words() {
    let node = node(&locked("tank/axion", "-"));
    node.write(
        "zfs-load-key.err",
        b"Key load error: Incorrect key provided for 'tank/axion'.\n",
    );
    let error = node
        .storage(7)
        .prepare_state(&wanted(""), &Ring::default())
        .unwrap_err();
    assert!(
        matches!(&error, StateError::Locked { reason, is_new: false, .. } if reason.contains("Incorrect key")),
        "{error:?}"
    );
}

#[test]
fn state_without_encryption_is_used_and_said() {
    let node = node(&dataset("tank/axion", "\"encryption\":{\"value\":\"off\"}"));
    let wanted = wanted("storage.encryption.key = \"tpm\"\n");
    let (pool, said) = node.storage(7).prepare_state(&wanted, &Ring::default()).unwrap();
    assert_eq!(pool.as_deref(), Some("tank"));
    assert_eq!(
        said,
        ["the node's state on `tank` is not encrypted: it was made without, and only new datasets can be"]
    );
}

#[test]
fn other_datasets_are_unlocked_where_a_sealed_key_is_kept() {
    let datasets = [
        locked("tank/axion", "[0]"),
        locked("tank/secret", "[1]"),
        locked("tank/typed", "-"),
    ];
    let node = node(&datasets.join(","));
    let problems = node.storage(7).unlock_known(&Ring::default(), soon()).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(
        node.changes(),
        ["zfs load-key -L prompt tank/secret", "key correct horse"]
    );

    let ring = Ring {
        reason: Some("PCR 7 changed since the key was sealed"),
        ..Ring::default()
    };
    let problems = node.storage(7).unlock_known(&ring, soon()).unwrap();
    assert_eq!(
        problems,
        ["`tank/secret` stays locked: PCR 7 changed since the key was sealed"]
    );
}

#[test]
fn a_key_is_verified_without_being_loaded() {
    let node = node(&locked("tank/secret", "-"));
    let key = Key::Passphrase(PHRASE.to_owned());
    node.storage(7).verify_key("tank/secret", &key).unwrap();
    node.storage(7).keep_sealed("tank/secret", "[1]").unwrap();
    assert_eq!(
        node.changes(),
        [
            "zfs load-key -n -L prompt tank/secret",
            "key correct horse",
            "zfs set org.axion:sealed=[1] tank/secret",
        ]
    );
    let short = Key::Passphrase("short".to_owned());
    assert!(node.storage(7).verify_key("tank/secret", &short).is_err());
}
