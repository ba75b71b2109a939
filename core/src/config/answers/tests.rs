use super::*;
use crate::config::{Document, Source, resolve};

fn fixed() -> NetworkAnswers {
    NetworkAnswers {
        addressing: Addressing::Static,
        interface: "52:54:00:12:34:56".to_owned(),
        address: "10.0.0.5/24".to_owned(),
        gateway: "10.0.0.1".to_owned(),
        dns: "10.0.0.53, 2001:db8::53".to_owned(),
    }
}

fn on_disk(pool: &str) -> SystemPool {
    SystemPool {
        name: pool.to_owned(),
        layout: PoolLayout::Stripe,
    }
}

fn refused(network: NetworkAnswers) -> Vec<Field> {
    let answers = NodeAnswers {
        network,
        ..NodeAnswers::default()
    };
    answers.refusals().into_iter().map(|wrong| wrong.field).collect()
}

#[test]
fn what_is_wrong_is_told_with_its_field() {
    assert!(refused(fixed()).is_empty());
    assert!(refused(NetworkAnswers::default()).is_empty());
    let cases = [
        (
            Field::Interface,
            NetworkAnswers {
                interface: String::new(),
                ..fixed()
            },
        ),
        (
            Field::Address,
            NetworkAnswers {
                address: "10.0.0.5".to_owned(),
                ..fixed()
            },
        ),
        (
            Field::Gateway,
            NetworkAnswers {
                gateway: "10.0.1.1".to_owned(),
                ..fixed()
            },
        ),
        (
            Field::Gateway,
            NetworkAnswers {
                gateway: "10.0.0.5".to_owned(),
                ..fixed()
            },
        ),
        (
            Field::Gateway,
            NetworkAnswers {
                gateway: "fe80::1".to_owned(),
                ..fixed()
            },
        ),
        (
            Field::Gateway,
            NetworkAnswers {
                gateway: "router".to_owned(),
                ..fixed()
            },
        ),
        (
            Field::Dns,
            NetworkAnswers {
                dns: "10.0.0.53 10.0.0".to_owned(),
                ..fixed()
            },
        ),
    ];
    for (field, network) in cases {
        assert_eq!(refused(network.clone()), [field], "{network:?}");
    }
    // What is not asked for is not looked at.
    let dhcp = NetworkAnswers {
        addressing: Addressing::Dhcp,
        address: "nonsense".to_owned(),
        ..fixed()
    };
    assert!(refused(dhcp).is_empty());
}

#[test]
fn a_host_name_is_what_the_config_takes() {
    let named = |name: &str| {
        let answers = NodeAnswers {
            hostname: name.to_owned(),
            ..NodeAnswers::default()
        };
        answers.refusals()
    };
    for name in ["", "node-1", "hpc-${serial}"] {
        assert!(named(name).is_empty(), "{name}");
    }
    for name in ["-node", "no de", "\"\"\"", "node\n"] {
        let wrong = named(name);
        assert_eq!(wrong.len(), 1, "{name}");
        assert_eq!(wrong[0].field, Field::Hostname);
        assert!(wrong[0].message.contains("is not a host name"), "{wrong:?}");
    }
}

#[test]
fn a_gateway_of_the_link_is_in_no_network() {
    let network = NetworkAnswers {
        address: "2001:db8::5/64".to_owned(),
        gateway: "fe80::1".to_owned(),
        ..fixed()
    };
    assert!(refused(network.clone()).is_empty());
    let whole = NetworkAnswers {
        address: "10.0.0.5/32".to_owned(),
        gateway: String::new(),
        ..network
    };
    assert!(refused(whole).is_empty());
}

#[test]
fn the_config_is_the_one_in_force_with_the_answers_over_it() {
    let base = "hostname = \"old\"\napi.token_hashes = []\n[network]\nsearch = [\"example.org\"]\n\
                [[network.interfaces]]\nmatch = { name = \"eth7\" }\n[profile.cpu]\nsmt = \"off\"\n";
    let config = |answers: &NodeAnswers| {
        let text = answers.document(base, &on_disk("system")).unwrap();
        let source = Source::Installed("axion.toml".to_owned());
        let effective = resolve(&[Document { source, text }]);
        assert!(effective.rejected.is_empty(), "{effective:?}");
        effective.config
    };
    let mut answers = NodeAnswers {
        hostname: "node-1".to_owned(),
        network: fixed(),
        profile: ProfileMode::Hpc,
        state: StateAnswer::Memory,
    };
    let made = config(&answers);
    assert!(made.storage.pools.is_empty());
    assert_eq!(made.hostname, "node-1");
    assert_eq!(made.profile.mode, ProfileMode::Hpc);
    assert_eq!(made.profile.cpu.smt, crate::config::Smt::Off);
    assert_eq!(made.network.search, ["example.org"]);
    assert_eq!(made.network.dns.len(), 2);
    let [interface] = made.network.interfaces.as_slice() else {
        panic!("{made:?}");
    };
    assert_eq!(interface.r#match.mac.as_deref(), Some("52:54:00:12:34:56"));
    assert_eq!(interface.r#match.name, None);
    assert_eq!(interface.addresses, ["10.0.0.5/24"]);
    assert_eq!(interface.gateways.len(), 1);

    answers.network.addressing = Addressing::Dhcp;
    let made = config(&answers);
    assert_eq!(made.network.interfaces[0].addresses, [""; 0]);
    answers.network.interface.clear();
    assert!(config(&answers).network.interfaces.is_empty());
    answers.network.addressing = Addressing::Config;
    let made = config(&answers);
    assert_eq!(made.network.interfaces[0].r#match.name.as_deref(), Some("eth7"));
}

#[test]
fn a_config_that_is_none_is_no_config_with_answers() {
    assert!(
        NodeAnswers::default()
            .document("= 1", &on_disk("system"))
            .is_err()
    );
}

#[test]
fn the_state_goes_to_the_pool_of_the_installed_disk() {
    let pools = |state, base: &str, pool: &str| -> Vec<(String, Vec<String>)> {
        let answers = NodeAnswers {
            state,
            ..NodeAnswers::default()
        };
        let text = answers.document(base, &on_disk(pool)).unwrap();
        let source = Source::Installed("axion.toml".to_owned());
        let effective = resolve(&[Document { source, text }]);
        assert!(effective.rejected.is_empty(), "{effective:?}");
        let storage = effective.config.storage;
        assert_eq!(storage.state, crate::config::StatePool::Auto);
        let pools = storage.pools.iter();
        let in_text = |pool: &crate::config::PoolRule| pool.disks.iter().map(ToString::to_string).collect();
        pools.map(|pool| (pool.name.clone(), in_text(pool))).collect()
    };
    let system = |name: &str| (name.to_owned(), vec!["system".to_owned()]);
    assert_eq!(
        pools(StateAnswer::Disk, "[storage]\nstate = \"none\"\n", "system"),
        [system("system")]
    );
    let data = "[[storage.pools]]\nname = \"data\"\nlayout = \"stripe\"\ndisks = [\"serial:A1\"]\n";
    let own = ("data".to_owned(), vec!["serial:A1".to_owned()]);
    let as_before = pools(StateAnswer::Config, data, "system");
    assert_eq!(as_before, std::slice::from_ref(&own));
    // What is first keeps the state.
    assert_eq!(
        pools(StateAnswer::Disk, data, "system"),
        [system("system"), own.clone()]
    );
    // The pool that stays on the disk is the declared one.
    assert_eq!(pools(StateAnswer::Disk, data, "data"), [own]);
    assert_eq!(pools(StateAnswer::Memory, "", "system"), []);
}
