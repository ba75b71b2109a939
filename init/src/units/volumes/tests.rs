use std::os::unix::process::CommandExt;

use super::*;

fn grant(name: &str, writable: bool) -> VolumeGrant {
    VolumeGrant {
        name: name.to_owned(),
        pool: String::new(),
        writable,
    }
}

/// Group and mode of a file.
fn access(directory: &Path, name: &str) -> (u32, u32) {
    let found = std::fs::metadata(directory.join(name)).unwrap();
    (found.gid(), found.mode() & 0o7777)
}

/// Whether a shell of this user and group can do something in `directory`.
fn may(directory: &Path, id: u32, what: &str) -> bool {
    let mut shell = std::process::Command::new("/bin/sh");
    shell.current_dir(directory).args(["-c", what]).uid(id).gid(id);
    shell
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    shell.status().unwrap().success()
}

#[test]
fn a_volume_is_one_units_while_it_has_it() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let _children = crate::node::REAPER.blocking_lock();
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), Permissions::from_mode(0o711)).unwrap();
    for name in ["a", "b"] {
        let path = directory.path().join(name);
        std::fs::write(&path, name).unwrap();
        std::os::unix::fs::chown(&path, Some(901), Some(900)).unwrap();
    }
    let volumes = Volumes::in_directory(directory.path(), 901);
    let both = [grant("a", true), grant("b", false)];
    volumes.grant(&both, 100_007).unwrap();
    assert_eq!(access(directory.path(), "a"), (100_007, 0o660));
    assert_eq!(access(directory.path(), "b"), (100_007, 0o640));
    assert_eq!(std::fs::metadata(directory.path().join("a")).unwrap().uid(), 901);
    let may = |id: u32, what: &str| may(directory.path(), id, what);
    assert!(may(100_007, "echo x >> a") && may(100_007, "cat a b"));
    assert!(!may(100_007, "echo x >> b"), "it only reads");
    assert!(!may(100_007, "chmod 666 a") && !may(100_007, "ls ."));
    assert!(!may(100_008, "cat a") && !may(100_008, "cat b"), "another VM");
    std::fs::remove_file(directory.path().join("b")).unwrap();
    volumes.revoke(&both).unwrap();
    assert_eq!(access(directory.path(), "a"), (900, 0o600));
    assert!(!may(100_007, "cat a"), "it is taken back");

    let missing = volumes.grant(&both, 100_007).unwrap_err();
    assert!(matches!(missing, VolumeError::File { .. }), "{missing}");
    assert_eq!(access(directory.path(), "a"), (900, 0o600), "all or none");
}

#[test]
fn nothing_but_a_volume_is_handed_over() {
    let directory = tempfile::tempdir().unwrap();
    let own = nix::unistd::geteuid().as_raw();
    let at = |name: &str| directory.path().join(name);
    std::fs::write(at("secret"), "").unwrap();
    let before = access(directory.path(), "secret");
    std::os::unix::fs::symlink(at("secret"), at("link")).unwrap();
    std::fs::hard_link(at("secret"), at("second-name")).unwrap();
    std::fs::create_dir(at("directory")).unwrap();
    nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    std::fs::write(at("stranger"), "").unwrap();
    for name in ["link", "second-name", "directory", "fifo", "missing"] {
        let volumes = Volumes::in_directory(directory.path(), own);
        assert!(volumes.grant(&[grant(name, true)], 100_007).is_err(), "{name}");
    }
    let strangers = Volumes::in_directory(directory.path(), own + 1);
    assert!(strangers.grant(&[grant("stranger", true)], 100_007).is_err());
    assert_eq!(access(directory.path(), "secret"), before);
}

#[test]
fn only_the_zvol_of_a_volume_is_looked_for() {
    let volumes = Volumes::in_directory(Path::new("/nonexistent"), 0);
    let zvol = |pool: &str, name: &str| VolumeGrant {
        pool: pool.to_owned(),
        ..grant(name, true)
    };
    for (pool, name) in [("tank", "a/b"), ("tank", ".."), ("-t", "a"), ("tank/b", "a")] {
        let error = volumes.grant(&[zvol(pool, name)], 100_007).unwrap_err();
        assert!(matches!(error, VolumeError::Name(_)), "{pool} {name}: {error}");
    }
    let missing = volumes.grant(&[zvol("tank", "a")], 100_007).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "no device of this node is the zvol tank/axion/zvols/a"
    );
    volumes.revoke(&[zvol("tank", "a")]).unwrap();
}
