use axion_api::init::{Tap, TransientUnit, UnitCpus, VolumeGrant};

use super::{Cpus, Spec, SpecError};

fn unit() -> TransientUnit {
    TransientUnit {
        name: "vm-hello".into(),
        description: "VM hello".into(),
        argv: vec!["/usr/lib/axion/axion-vmm".into()],
        env: vec!["RUST_BACKTRACE=1".into()],
        uid: 100_000,
        gid: 900,
        groups: vec![903],
        run_directory: "vms/hello".into(),
        files: vec![("config.json".into(), b"{}".to_vec())],
        max_restarts: 0,
        stop_timeout_ms: 1000,
        volumes: Vec::new(),
        taps: Vec::new(),
        cpus: Default::default(),
        memory_max: 0,
    }
}

fn refused(change: impl FnOnce(&mut TransientUnit)) -> SpecError {
    let mut unit = unit();
    change(&mut unit);
    Spec::transient(unit).unwrap_err()
}

#[test]
fn a_vm_is_accepted() {
    let spec = Spec::transient(unit()).unwrap();
    assert_eq!(spec.run_directory.unwrap().to_str(), Some("/run/axion/vms/hello"));
    assert_eq!(spec.env, [("RUST_BACKTRACE".to_owned(), "1".to_owned())]);
    assert_eq!((spec.memory_max, spec.own_pids), (None, true));
    let limited = TransientUnit {
        memory_max: 4096,
        ..unit()
    };
    assert_eq!(Spec::transient(limited).unwrap().memory_max, Some(4096));
}

#[test]
fn names_cannot_leave_their_cgroup() {
    for name in ["", "..", "a/b", "A", "-x", "a b", &"x".repeat(65)] {
        assert!(
            matches!(refused(|u| u.name = name.into()), SpecError::Name(_)),
            "{name}"
        );
    }
}

#[test]
fn the_agent_cannot_become_someone_of_the_node() {
    for uid in [0, 901, 99_999] {
        assert_eq!(refused(|u| u.uid = uid), SpecError::User(uid));
    }
    assert_eq!(refused(|u| u.gid = 0), SpecError::Group(0));
    assert_eq!(refused(|u| u.groups = vec![903, 5]), SpecError::Group(5));
}

#[test]
fn run_directories_stay_below_run_axion() {
    for path in [
        "vms",
        "/etc",
        "vms/../..",
        "agent/x",
        "vms//x",
        "vms/.x",
        "a/b/c",
        "vms/",
    ] {
        assert!(
            matches!(
                refused(|u| u.run_directory = path.into()),
                SpecError::RunDirectory(_)
            ),
            "{path}"
        );
    }
    for name in ["", "..", "a/b", ".x"] {
        let error = refused(|u| u.files = vec![(name.into(), Vec::new())]);
        assert!(matches!(error, SpecError::FileName(_)), "{name}");
    }
    assert_eq!(
        refused(|u| u.run_directory.clear()),
        SpecError::FilesWithoutDirectory
    );
}

#[test]
fn programs_and_environment() {
    assert!(matches!(refused(|u| u.argv.clear()), SpecError::Program(_)));
    assert!(matches!(
        refused(|u| u.argv = vec!["sh".into()]),
        SpecError::Program(_)
    ));
    assert!(matches!(
        refused(|u| u.argv.push("a\0b".into())),
        SpecError::Nul("argv")
    ));
    assert!(matches!(
        refused(|u| u.env = vec!["=x".into()]),
        SpecError::Environment(_)
    ));
    assert!(matches!(
        refused(|u| u.stop_timeout_ms = u32::MAX),
        SpecError::StopTimeout(_)
    ));
}

#[test]
fn volumes_are_names_for_a_group_of_ones_own() {
    let grant = |name: &str| VolumeGrant {
        name: name.into(),
        pool: String::new(),
        writable: true,
    };
    for name in ["", "..", "a/b", ".new-a"] {
        let error = refused(|u| u.volumes = vec![grant(name)]);
        assert!(matches!(error, SpecError::Volume(_)), "{name}");
    }
    let elsewhere = VolumeGrant {
        pool: "tank/b".into(),
        ..grant("a")
    };
    assert_eq!(
        refused(|u| u.volumes = vec![elsewhere]),
        SpecError::VolumePool("tank/b".into())
    );
    assert_eq!(
        refused(|u| u.volumes = vec![grant("a"), grant("a")]),
        SpecError::Twice("volumes", "a".into())
    );
    assert_eq!(
        refused(|u| u.volumes = vec![grant("a")]),
        SpecError::VolumesGroup(900)
    );
    let mut own = unit();
    own.gid = 100_000;
    own.volumes = vec![grant("a"), grant("b")];
    assert_eq!(Spec::transient(own).unwrap().volumes.len(), 2);
}

#[test]
fn taps_are_named_as_taps_and_connected_to_guests_networks() {
    let tap = |name: &str, bridge: &str, mtu| Tap {
        name: name.into(),
        bridge: bridge.into(),
        mtu,
        multi_queue: false,
    };
    let with = |taps: &[Tap]| refused(|u| u.taps = taps.to_vec());
    assert_eq!(
        with(&[tap("eth0", "ax-lan", 1500)]),
        SpecError::Tap("eth0".into())
    );
    assert_eq!(
        with(&[tap("vm0-0", "br0", 1500)]),
        SpecError::TapBridge("br0".into())
    );
    assert_eq!(with(&[tap("vm0-0", "ax-lan", 100)]), SpecError::TapMtu(100));
    let one = tap("vm0-0", "ax-lan", 1500);
    assert_eq!(
        with(&[one.clone(), one]),
        SpecError::Twice("taps", "vm0-0".into())
    );
}

#[test]
fn cpus_are_a_list_a_share_and_a_limit() {
    let cpus = |list: &str, weight, limit_percent| UnitCpus {
        list: list.into(),
        weight,
        limit_percent,
    };
    let with = |cpus| refused(|u| u.cpus = cpus);
    assert!(matches!(with(cpus("0-", 0, 0)), SpecError::CpuList(_)));
    assert_eq!(with(cpus("", 10_001, 0)), SpecError::CpuWeight(10_001));
    assert_eq!(with(cpus("", 0, 1_000_001)), SpecError::CpuLimit(1_000_001));
    let accepted = |cpus| {
        let unit = TransientUnit { cpus, ..unit() };
        Spec::transient(unit).unwrap().cpus
    };
    assert_eq!(accepted(cpus("", 0, 0)), Cpus::default());
    let some = accepted(cpus("1,3", 200, 50));
    assert_eq!(
        (some.list.to_string().as_str(), some.weight, some.limit_percent),
        ("1,3", 200, Some(50))
    );
}
