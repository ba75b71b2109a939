use axion_core::config::check;

use super::*;
use crate::fixture::{LIST, Node, STATUS, pool_label};
use crate::keys::NoKeys;

const US: u32 = 7;

fn wanted(text: &str) -> config::Storage {
    check(&format!("storage.settle = \"0s\"\n{text}"), "test")
        .unwrap()
        .storage
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

const DECLARED: &str = "[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"serial:A1\"]\n";

/// A node with one disk whose first label is that of a pool.
fn with_label(pool: &str, state: u64, host: u64) -> Node {
    let node = Node::new();
    let mut bytes = vec![0; 1 << 20];
    let label = pool_label(pool, 99, state, host);
    bytes[..label.len()].copy_from_slice(&label);
    node.disk("nvme0n1", "A1", 512 << 20);
    let disk = std::fs::File::options()
        .write(true)
        .open(node.root.path().join("dev/nvme0n1"))
        .unwrap();
    std::os::unix::fs::FileExt::write_all_at(&disk, &bytes, 0).unwrap();
    node
}

#[test]
fn a_pool_of_ours_is_imported_by_its_id_and_nothing_is_made() {
    let node = with_label("tank", 0, u64::from(US));
    let started = node
        .storage(US)
        .start(&wanted(DECLARED), &NoKeys, soon())
        .unwrap();
    assert_eq!(started.done, ["pool `tank` is imported"]);
    assert_eq!(
        node.changes(),
        [
            "zpool import -N -R /run/axion/pools -d /dev/nvme0n1 99",
            "zfs mount -a",
        ]
    );
}

#[test]
fn a_pool_whose_disk_has_sectors_that_cannot_be_read_is_imported_and_never_erased() {
    let erase = format!("{DECLARED}erase = [\"serial:A1\"]\n");
    // The kernel says that the disk is longer than what can be read.
    let cannot_be_read_at_its_end = |node: &Node| {
        let sectors = (513_u64 << 20) / 512;
        node.write("sys/block/nvme0n1/size", sectors.to_string().as_bytes());
    };
    let node = with_label("tank", 0, u64::from(US));
    cannot_be_read_at_its_end(&node);
    node.storage(US).start(&wanted(&erase), &NoKeys, soon()).unwrap();
    assert_eq!(
        node.changes()[0],
        "zpool import -N -R /run/axion/pools -d /dev/nvme0n1 99"
    );
    // Where no label can be read, one may be there all the same.
    let node = Node::new();
    node.disk("nvme0n1", "A1", 512 << 20);
    cannot_be_read_at_its_end(&node);
    let started = node.storage(US).start(&wanted(&erase), &NoKeys, soon()).unwrap();
    assert!(
        started.problems[0].contains("nobody knows what is on nvme0n1"),
        "{started:?}"
    );
    assert_eq!(node.changes(), ["zfs mount -a"]);
}

#[test]
fn a_pool_of_another_host_is_a_problem_only_where_it_is_declared() {
    let node = with_label("tank", 0, 1234);
    let started = node
        .storage(US)
        .start(&wanted(DECLARED), &NoKeys, soon())
        .unwrap();
    // The pool, and the state that would be on it.
    assert_eq!(started.problems.len(), 2, "{started:?}");
    assert!(
        started.problems[0].contains("was last used by host other (000004d2)"),
        "{started:?}"
    );
    assert_eq!(
        started.problems[1],
        "pool `tank`, which may keep the node's state, is not imported; if it does not, name the pool that does in `storage.state`"
    );
    assert_eq!(node.changes(), ["zfs mount -a"]);

    let started = node.storage(US).start(&wanted(""), &NoKeys, soon()).unwrap();
    assert!(started.problems.is_empty(), "{started:?}");
    assert!(
        started.done[0].starts_with("not imported: pool `tank`"),
        "{started:?}"
    );

    let forced = format!("{DECLARED}take_over = true\n");
    node.storage(US).start(&wanted(&forced), &NoKeys, soon()).unwrap();
    assert!(node.changes().iter().any(|call| call.contains(" -f ")));
}

#[test]
fn an_import_that_fails_is_told_in_zfs_words_and_nothing_is_made_instead() {
    let node = with_label("tank", 1, u64::from(US));
    node.write(
        "zpool-import.err",
        b"cannot import 'tank': one or more devices is currently unavailable\n",
    );
    let started = node
        .storage(US)
        .start(&wanted(DECLARED), &NoKeys, soon())
        .unwrap();
    assert_eq!(
        started.problems[0],
        "pool `tank`: `zpool import`: cannot import 'tank': one or more devices is currently unavailable"
    );
    assert!(!node.changes().iter().any(|call| call.starts_with("zpool create")));
}

#[test]
fn a_declared_pool_whose_disk_is_missing_is_told_and_the_boot_goes_on() {
    let node = Node::new();
    let started = node
        .storage(US)
        .start(&wanted(DECLARED), &NoKeys, soon())
        .unwrap();
    assert_eq!(
        started.problems[0],
        "pool `tank`: `storage.pools[0].disks[0]`: no disk is `serial:A1`"
    );
}

#[test]
fn a_disk_with_something_on_it_is_not_touched() {
    let node = Node::new();
    node.disk("nvme0n1", "A1", 512 << 20);
    let path = node.root.path().join("dev/nvme0n1");
    let disk = std::fs::File::options().write(true).open(&path).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&disk, b"XFSB", 0).unwrap();
    let started = node
        .storage(US)
        .start(&wanted(DECLARED), &NoKeys, soon())
        .unwrap();
    assert!(
        started.problems[0].contains("nvme0n1 is not empty: XFS on nvme0n1"),
        "{started:?}"
    );
    let mut head = [0; 4];
    std::os::unix::fs::FileExt::read_exact_at(&std::fs::File::open(&path).unwrap(), &mut head, 0).unwrap();
    assert_eq!(&head, b"XFSB");
}

#[test]
fn a_degraded_pool_is_complained_of_with_its_device() {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    node.write("zpool-list.json", LIST.as_bytes());
    let started = node
        .storage(US)
        .start(&wanted("storage.state = \"none\"\n"), &NoKeys, soon())
        .unwrap();
    assert_eq!(
        started.problems,
        ["pool `tank` is degraded: nvme1n1p1 is removed"]
    );
    assert_eq!(started.state, None);
}

#[test]
fn the_pool_of_the_state_is_chosen() {
    let two = "[[storage.pools]]\nname = \"a\"\nlayout = \"stripe\"\ndisks = [\"serial:A\"]\n\
               [[storage.pools]]\nname = \"b\"\nlayout = \"stripe\"\ndisks = [\"serial:B\"]\n";
    let choose = |text: &str, imported: &[&str], with: &[&str]| {
        let imported: Vec<String> = imported.iter().map(|name| (*name).to_owned()).collect();
        let has_state = |name: &str| match name {
            "hangs" => Err("`zfs list` did not end within 20 s".to_owned()),
            name => Ok(with.contains(&name)),
        };
        let chosen = choose_state(&wanted(text), &imported, has_state);
        chosen.map_or_else(|reason| reason, |pool| pool.unwrap_or_else(|| "none".to_owned()))
    };
    assert_eq!(choose("", &[], &[]), "none");
    assert_eq!(choose("", &["x"], &[]), "none");
    assert_eq!(choose("", &["x"], &["x"]), "x");
    assert_eq!(choose(two, &["a", "b"], &[]), "a");
    assert_eq!(choose(two, &["a", "b"], &["b"]), "b");
    assert_eq!(choose(two, &["b", "x"], &["b", "x"]), "b");
    assert_eq!(choose(two, &["a", "b", "x"], &["x"]), "x");
    // It may be on the one that is missing: nothing is begun anew elsewhere, nor is what another one still has of it used.
    let missing = |name: &str| {
        format!(
            "pool `{name}`, which may keep the node's state, is not imported; if it does not, name the pool that does in \
             `storage.state`"
        )
    };
    assert_eq!(choose(two, &["b"], &[]), missing("a"));
    assert_eq!(choose(two, &["a"], &[]), missing("b"));
    assert_eq!(choose(two, &["b", "x"], &["x"]), missing("a"));
    assert_eq!(choose(DECLARED, &["old"], &["old"]), missing("tank"));
    // What does not answer is not empty.
    let unknown = choose(&two.replace("\"b\"", "\"hangs\""), &["a", "hangs"], &[]);
    assert_eq!(
        unknown,
        "nobody knows whether pool `hangs` has the node's state: `zfs list` did not end within 20 s"
    );
    let named =
        |text: &str, imported: &[&str]| choose(&format!("storage.state = \"{text}\"\n"), imported, &[]);
    assert_eq!(named("none", &["x"]), "none");
    assert_eq!(named("x", &["x"]), "x");
    assert_eq!(
        named("x", &["y"]),
        "pool `x`, which keeps the node's state, is not imported"
    );
}

#[test]
fn no_state_is_made_where_zfs_does_not_say_whether_there_is_one() {
    let node = with_state();
    let refuses = "case \"$*\" in *axion/state) echo 'no answer' >&2; exit 1;; esac\n";
    node.before("zfs", refuses);
    let started = node
        .storage(US)
        .start(&wanted(DECLARED), &NoKeys, soon())
        .unwrap();
    assert_eq!(started.state, None);
    assert!(
        started
            .problems
            .iter()
            .any(|problem| problem.contains("nobody knows whether pool `tank`")),
        "{started:?}"
    );
    assert!(!node.changes().iter().any(|call| call.starts_with("zfs create")));
}

#[test]
fn a_scrub_that_is_due_is_begun() {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    let storage = node.storage(US);
    let month = Duration::from_secs(30 * 86_400);
    let ended = 1_764_000_060;
    assert!(
        storage
            .scrub_what_is_due(month, ended + 86_400)
            .unwrap()
            .is_empty()
    );
    assert!(
        storage
            .scrub_what_is_due(Duration::ZERO, u64::MAX)
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        storage.scrub_what_is_due(month, ended + 31 * 86_400).unwrap(),
        ["tank"]
    );
    assert_eq!(node.changes(), ["zpool scrub tank"]);
}

#[test]
fn nothing_is_begun_when_the_boot_has_gone_on() {
    let node = with_label("tank", 0, u64::from(US));
    let error = node
        .storage(US)
        .start(&wanted(DECLARED), &NoKeys, Instant::now())
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no time is left for pools; a disk answers slowly"
    );
    assert!(node.changes().is_empty());
}

/// A node whose pool `tank` has the state, which the kernel shows as mounted.
fn with_state() -> Node {
    let node = Node::new();
    node.write("zpool-status.json", STATUS.as_bytes());
    node.write("zpool-list.json", LIST.as_bytes());
    let names = ["axion", "axion/state", "axion/images", "axion/volumes"].map(|name| format!("tank/{name}"));
    let datasets = names.map(|name| {
        (
            name.clone(),
            serde_json::json!({"name": name, "type": "FILESYSTEM", "properties": {}}),
        )
    });
    let list = serde_json::json!({"datasets": serde_json::Map::from_iter(datasets)});
    node.write("zfs-list.json", list.to_string().as_bytes());
    let mounts: String = OWN
        .iter()
        .map(|(name, place, _)| format!("tank/axion/{name} {place} zfs rw 0 0\n"))
        .collect();
    node.write("proc/self/mounts", mounts.as_bytes());
    node
}

#[test]
fn what_fails_behind_the_state_is_told_and_the_state_is_kept() {
    let node = with_state();
    // `zfs list` for the datasets that have keys, alone.
    let refuses = "case \"$*\" in *encryptionroot*) echo 'no answer' >&2; exit 1;; esac\n";
    node.before("zfs", refuses);
    let started = node.storage(US).start(&wanted(""), &NoKeys, soon()).unwrap();
    assert_eq!(started.state.as_deref(), Some("tank"));
    assert!(
        started
            .problems
            .iter()
            .any(|problem| problem.contains("no answer")),
        "{started:?}"
    );
}

#[test]
fn what_is_mounted_of_the_state_goes_away_again_where_the_rest_cannot_be_mounted() {
    let calls = std::cell::RefCell::new(Vec::new());
    let act = |fails: &'static str| {
        calls.borrow_mut().clear();
        let done = all_or_none(
            &["state", "there", "images", "volumes"],
            |name| {
                calls.borrow_mut().push(format!("+{name}"));
                if *name == fails {
                    Err(())
                } else {
                    Ok(*name != "there")
                }
            },
            |name| calls.borrow_mut().push(format!("-{name}")),
        );
        (done, calls.borrow().join(" "))
    };
    assert_eq!(act("none"), (Ok(()), "+state +there +images +volumes".to_owned()));
    assert_eq!(
        act("volumes"),
        (
            Err(()),
            "+state +there +images +volumes -images -state".to_owned()
        )
    );
    assert_eq!(act("state"), (Err(()), "+state".to_owned()));
}

#[test]
fn a_node_without_zfs_says_so() {
    let node = Node::new();
    std::fs::remove_file(node.root.path().join("dev/zfs")).unwrap();
    let error = node.storage(US).start(&wanted(""), &NoKeys, soon()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "this node has no ZFS: the kernel module `zfs` is not loaded"
    );
    assert!(node.storage(US).stop().is_empty());
}
