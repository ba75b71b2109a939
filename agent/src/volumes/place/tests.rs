use super::*;

fn spec() -> VolumeSpec {
    VolumeSpec::of(ByteSize(LEAST))
}

fn from(text: &str) -> VolumeSpec {
    VolumeSpec {
        from: Some(text.to_owned()),
        ..spec()
    }
}

#[test]
fn what_a_volume_begins_with() {
    assert_eq!(check(&spec()).unwrap(), Origin::Zeros);
    assert!(matches!(
        check(&from(&format!("sha256:{}", "0".repeat(64)))).unwrap(),
        Origin::Image(_)
    ));
    assert_eq!(
        check(&from("golden@v1")).unwrap(),
        Origin::Volume {
            volume: "golden".to_owned(),
            snapshot: "v1".to_owned()
        }
    );
    assert_eq!(
        check(&from("tank/base@1")).unwrap(),
        Origin::Snapshot("tank/base@1".to_owned())
    );
    for bad in ["@x", "a@", "a@b@c", "a@b/c", "tank/base", ""] {
        let problem = check(&from(bad)).unwrap_err();
        assert_eq!(problem.pointer.as_deref(), Some("/from"), "{bad}");
    }
}

#[test]
fn what_is_for_zvols_is_refused_for_files() {
    let file = |spec: VolumeSpec| {
        let spec = VolumeSpec {
            kind: Some(VolumeKind::File),
            ..spec
        };
        check(&spec).unwrap_err().pointer.unwrap()
    };
    let pool = VolumeSpec {
        pool: Some("tank".to_owned()),
        ..spec()
    };
    let blocks = VolumeSpec {
        block_size: Some(ByteSize(4096)),
        ..spec()
    };
    let reserved = VolumeSpec {
        reserved: true,
        ..spec()
    };
    for (given, pointer) in [
        (pool, "/pool"),
        (blocks, "/block_size"),
        (reserved, "/reserved"),
        (from("a@b"), "/from"),
    ] {
        assert!(wants_zvol(&given, &check(&given).unwrap()), "{given:?}");
        assert_eq!(file(given), pointer);
    }
    assert!(!wants_zvol(&spec(), &Origin::Zeros));
}

fn pool(name: &str, free: u64, state: Health) -> Pool {
    Pool {
        name: name.to_owned(),
        guid: String::new(),
        state,
        detail: None,
        action: None,
        size: 100,
        allocated: 0,
        free,
        fragmentation: None,
        ashift: None,
        autotrim: false,
        read_only: false,
        data_errors: 0,
        scan: None,
        vdevs: Vec::new(),
        holds_state: false,
    }
}

#[test]
fn the_pool_of_the_nodes_state_comes_first_then_the_one_with_room() {
    let name = |pools: &[Pool]| choose(pools).map(|pool| pool.name.clone());
    assert_eq!(name(&[]), None);
    assert_eq!(name(&[pool("a", 90, Health::Suspended)]), None);
    let mut pools = [
        pool("a", 10, Health::Online),
        pool("b", 20, Health::Degraded),
        pool("c", 90, Health::Faulted),
    ];
    assert_eq!(name(&pools).as_deref(), Some("b"));
    pools[0].holds_state = true;
    assert_eq!(name(&pools).as_deref(), Some("a"));
    pools[0].read_only = true;
    assert_eq!(name(&pools).as_deref(), Some("b"));
}
