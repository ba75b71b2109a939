//! Messages with their lines, merging with its provenance, and the documentation against the code.

use super::*;
use crate::quantity::Span;

mod refusals;

#[test]
fn an_empty_document_is_the_defaults() {
    assert_eq!(check("", "x").unwrap(), MachineConfig::default());
}

fn document(source: Source, text: &str) -> Document {
    Document {
        source,
        text: text.to_owned(),
    }
}

#[test]
fn the_stronger_source_wins_each_field() {
    let volume = Source::Volume("/dev/sda1".to_owned());
    let line = Source::CommandLine("inline".to_owned());
    let effective = resolve(&[
        document(
            line.clone(),
            "[watchdog]\ntimeout = \"20s\"\n[sysctl]\n\"vm.a\" = \"1\"\n",
        ),
        document(
            volume.clone(),
            "hostname = \"n1\"\n[watchdog]\ntimeout = \"30s\"\nenabled = false\n[time]\nntp = [\"a.example\"]\n\
             [sysctl]\n\"vm.a\" = \"0\"\n\"vm.b\" = \"2\"\n",
        ),
    ]);
    let config = &effective.config;
    assert_eq!(config.hostname, "n1");
    assert!(!config.watchdog.enabled);
    assert_eq!(config.watchdog.timeout, "20s".parse::<Span>().unwrap());
    assert_eq!(config.time.ntp, ["a.example"]);
    assert_eq!(
        config
            .sysctl
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect::<Vec<_>>(),
        ["vm.a=1", "vm.b=2"]
    );

    let origin = |key: &str| {
        effective
            .provenance
            .get(key)
            .map(|p| (p.value.as_str(), p.source.clone(), p.change))
    };
    assert_eq!(
        origin("watchdog.timeout"),
        Some(("\"20s\"", line.clone(), ChangeCost::Live))
    );
    assert_eq!(
        origin("watchdog.enabled"),
        Some(("false", volume.clone(), ChangeCost::Live))
    );
    assert_eq!(
        origin("time.ntp"),
        Some(("[\"a.example\"]", volume.clone(), ChangeCost::Live))
    );
    assert_eq!(
        origin("hostname"),
        Some(("\"n1\"", volume.clone(), ChangeCost::RestartService))
    );
    assert_eq!(
        origin("api.listen"),
        Some(("\"0.0.0.0:8443\"", Source::Default, ChangeCost::RestartService))
    );
    assert_eq!(
        origin("sysctl.\"vm.a\""),
        Some(("\"1\"", line, ChangeCost::Reboot))
    );
    assert_eq!(
        origin("sysctl.\"vm.b\""),
        Some(("\"2\"", volume, ChangeCost::Reboot))
    );
    assert!(effective.rejected.is_empty());
}

#[test]
fn a_bad_document_is_dropped_whole_and_the_others_hold() {
    let effective = resolve(&[
        document(Source::Volume("/dev/sda1".to_owned()), "hostname = \"n1\"\n"),
        document(
            Source::CommandLine("inline".to_owned()),
            "hostname = \"n2\"\n[watchdog]\nenabled = 1\n",
        ),
    ]);
    assert_eq!(effective.config.hostname, "n1");
    let [rejected] = effective.rejected.as_slice() else {
        panic!("{:?}", effective.rejected)
    };
    assert_eq!(rejected.source, Source::CommandLine("inline".to_owned()));
    assert_eq!(rejected.line, Some(3));
    assert_eq!(
        rejected.message,
        "`watchdog.enabled`: expected a boolean, found integer `1`"
    );
    assert!(effective.ignored.is_empty());
}

fn at_start(text: &str) -> Effective {
    resolve(&[document(Source::Volume("/dev/sda1".to_owned()), text)])
}

/// Document, what is left out of it, and what of it is in force all the same.
const LEFT_OUT: &[(&str, &[&str], &[&str])] = &[
    (
        "hostname = \"n2\"\n[network]\nmtu = 9000\ndns = []\n",
        &["line 3: unknown field `network.mtu`, expected one of `dns`, `search`, `interfaces`"],
        &["hostname", "network.dns"],
    ),
    (
        "[future]\na = 1\nb = { c = 2 }\n[api]\nfuture = []\nlisten = \"[::]:1\"\n",
        &[
            "line 1: unknown field `future`, expected one of",
            "line 5: unknown field `api.future`",
        ],
        &["api.listen"],
    ),
    // A key of an entry is left out alone, and the entry stays.
    (
        "[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"serial:a\"]\nfuture = 1\n",
        &["line 5: unknown field `storage.pools[0].future`"],
        &["storage.pools"],
    ),
    // A word takes its section, or its entry, along.
    (
        "hostname = \"a\"\n[boot]\ncountdown = \"1s\"\non_failure = \"retry\"\n",
        &[
            "line 4: `boot.on_failure`: unknown variant `retry`, expected one of `reboot`, `power-off`, `halt`; `boot` is left out",
        ],
        &["hostname"],
    ),
    (
        "[[storage.pools]]\nname = \"tank\"\nlayout = \"draid\"\ndisks = [\"serial:a\"]\n\
         [[storage.pools]]\nname = \"pond\"\nlayout = \"stripe\"\ndisks = [\"serial:b\"]\nfuture = 1\n",
        &[
            "line 3: `storage.pools[0].layout`: unknown variant `draid`",
            "line 9: unknown field `storage.pools[1].future`",
        ],
        &["storage.pools"],
    ),
    // What would have narrowed something down takes it along.
    (
        "hostname = \"a\"\n[[network.interfaces]]\nmatch = { name = \"eth0\", speed = 100 }\n",
        &[
            "line 3: unknown field `network.interfaces[0].match.speed`, expected one of `name`, `mac`, `pci`; \
           `network.interfaces[0]` is left out",
        ],
        &["hostname"],
    ),
    (
        "[install]\nexisting = \"replace\"\n[install.disk]\nmin_size = \"1GiB\"\nbus = \"nvme\"\n",
        &["line 5: unknown field `install.disk.bus`"],
        &[],
    ),
    (
        "[install]\ndisk.serial = \"a\"\n[install.mirror]\nmin_size = \"1GiB\"\nbus = \"nvme\"\n",
        &["line 5: unknown field `install.mirror.bus`"],
        &[],
    ),
    // What is wrong without the key that is left out.
    (
        "hostname = \"a\"\n[profile]\nhugepages = [{ size = \"2MiB\", share = 3 }]\n",
        &[
            "line 3: unknown field `profile.hugepages[0].share`",
            "line 3: `profile.hugepages[0]`: give exactly one",
        ],
        &["hostname"],
    ),
];

#[test]
fn what_only_a_later_version_knows_is_left_out_and_told_at_the_start() {
    for (text, told, in_force) in LEFT_OUT {
        let effective = at_start(text);
        assert!(effective.rejected.is_empty(), "{text}: {:?}", effective.rejected);
        let ignored: Vec<String> = effective.ignored.iter().map(ToString::to_string).collect();
        assert_eq!(ignored.len(), told.len(), "{text}: {ignored:#?}");
        for (ignored, told) in ignored.iter().zip(*told) {
            assert!(ignored.contains(told), "{told}\n{ignored}");
        }
        let given = effective
            .provenance
            .iter()
            .filter(|(_, p)| p.source != Source::Default);
        let given: Vec<&str> = given
            .map(|(key, _)| key.as_str())
            .filter(|key| in_force.contains(key))
            .collect();
        assert_eq!(given, *in_force, "{text}");
        // Whoever writes it is told.
        assert!(check_all(text, "x").is_err(), "{text}");
    }
    let pools = at_start(LEFT_OUT[4].0).config.storage.pools;
    assert_eq!(
        pools.iter().map(|pool| pool.name.as_str()).collect::<Vec<_>>(),
        ["pond"]
    );
}

#[test]
fn a_config_of_a_later_version_keeps_tokens_pools_and_addresses() {
    let text = include_str!("golden-next.toml");
    let effective = at_start(text);
    assert!(effective.rejected.is_empty(), "{:?}", effective.rejected);
    assert_eq!(effective.ignored.len(), 7, "{:#?}", effective.ignored);
    let config = &effective.config;
    assert_eq!(config.hostname, "node-${serial}");
    assert_eq!(config.api.token_hashes.len(), 1);
    assert_eq!(config.storage.pools.len(), 1);
    assert_eq!(config.network.interfaces.len(), 1);
    assert_eq!(config.update.keys.len(), 1);
    // The section with a word that is not known.
    assert_eq!(config.profile, Profile::default());
    assert!(check(text, "axion.toml").is_err());
}

#[test]
fn what_is_wrong_with_what_is_known_refuses_the_document_all_the_same() {
    for text in [
        "future = 1\nhostname = \"a_b\"\n",
        "future = 1\n[watchdog]\ntimeout = 5\n",
        "version = 2\nfuture = 1\n",
        "[[network.interfaces]]\nmatch = {}\n[[network.interfaces]]\nmatch.name = \"eth0\"\nfuture = 1\n",
    ] {
        let effective = at_start(text);
        assert_eq!(effective.rejected.len(), 1, "{text}");
        assert!(effective.ignored.is_empty(), "{text}");
    }
}

#[test]
fn every_mistake_of_a_document_is_told_at_once() {
    let all = |text: &str| check_all(text, "x").unwrap_err().to_string();
    assert_eq!(
        all("[watchdog]\ntimeout = \"1s\"\n[time]\ninterval = \"1s\"\n")
            .lines()
            .count(),
        2
    );
    let told = all(
        "[network]\ndsn = []\n[[storage.pools]]\nname = \"t\"\nlayout = \"raid5\"\ndisks = []\n[watchdog]\nenabled = 1\n\
         [boot]\non_fail = 1\n",
    );
    let lines: Vec<&str> = told
        .lines()
        .map(|line| line.split(": ").next().unwrap())
        .collect();
    assert_eq!(lines, ["x line 2", "x line 5", "x line 8", "x line 10"], "{told}");
}

#[test]
fn the_effective_config_survives_json() {
    let effective = resolve(&[document(
        Source::CommandLine("inline".to_owned()),
        "console.log = \"ttyS1\"\n",
    )]);
    let text = serde_json::to_string(&effective).unwrap();
    assert_eq!(serde_json::from_str::<Effective>(&text).unwrap(), effective);
}

#[test]
fn receivers_and_addresses_are_read() {
    let forward = |url| parse_forward(url).map(|f| (f.tcp, f.host, f.port));
    assert_eq!(
        forward("udp://10.0.0.1:514"),
        Some((false, "10.0.0.1".to_owned(), 514))
    );
    assert_eq!(
        forward("tcp://[2001:db8::1]:601"),
        Some((true, "2001:db8::1".to_owned(), 601))
    );
    for bad in [
        "udp://10.0.0.1",
        "udp://:514",
        "udp://a:0",
        "tcp://2001:db8::1:601",
        "tcp://[a]:1",
        "a:1",
    ] {
        assert_eq!(forward(bad), None, "{bad}");
    }
    assert_eq!(
        parse_address("10.0.0.2/24"),
        Some(("10.0.0.2".parse().unwrap(), 24))
    );
    for bad in [
        "10.0.0.2",
        "10.0.0.2/0",
        "0.0.0.0/8",
        "::/64",
        "224.0.0.1/4",
        "::1/129",
    ] {
        assert_eq!(parse_address(bad), None, "{bad}");
    }
    let digest = parse_token_hash(&format!("sha256:{}", "0aFf".repeat(16))).unwrap();
    assert_eq!(digest[..2], [0x0a, 0xff]);
    assert_eq!(parse_token_hash(&format!("sha256:{}", "+1".repeat(32))), None);
}

const DOCS: &str = include_str!("../../../docs/config.md");

fn examples(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
}

#[test]
fn the_documentations_examples_are_valid() {
    let others = [
        include_str!("../../../docs/netboot.md"),
        include_str!("../../../docs/install.md"),
        include_str!("../../../docs/update.md"),
    ];
    for example in others.into_iter().chain([DOCS]).flat_map(examples) {
        if let Err(error) = check(example, "example") {
            panic!("{error}, in\n{example}");
        }
    }
    let whole = check(examples(DOCS).next().unwrap(), "example").unwrap();
    let interface = &whole.network.interfaces[0];
    assert!(interface.mtu.is_some() && whole.console.log.is_some() && !whole.sysctl.is_empty());
}

#[test]
fn the_documentation_has_every_key_with_its_default_and_cost() {
    for (key, provenance) in resolve(&[]).provenance {
        let change = match provenance.change {
            ChangeCost::Live => "live",
            ChangeCost::RestartService => "service restart",
            ChangeCost::Reboot => "reboot",
        };
        let row = DOCS
            .lines()
            .find(|line| line.starts_with(&format!("| `{key}` |")));
        let row = row.unwrap_or_else(|| panic!("no row for `{key}`"));
        assert!(
            row.contains(&format!("| `{}` |", provenance.value)),
            "{row}: default {}",
            provenance.value
        );
        assert!(row.contains(&format!("| {change} |")), "{row}: change {change}");
    }
}

#[test]
fn documents_become_one_without_what_is_left_out() {
    let document = |source, text: &str| Document {
        source,
        text: text.to_owned(),
    };
    let documents = [
        document(
            Source::CommandLine("inline".to_owned()),
            "hostname = \"b\"\n[install]\ndisk.serial = \"S\"\n",
        ),
        document(
            Source::Volume("/dev/sda1".to_owned()),
            "hostname = \"a\"\nmodules = [\"x\"]\n[watch]\n",
        ),
        document(
            Source::Volume("/dev/sdb1".to_owned()),
            "hostname = \"c\"\nmodules = [\"y\"]\n",
        ),
    ];
    let text = in_one(&documents, "install");
    assert_eq!(text, "hostname = \"b\"\nmodules = [\"y\"]\n");
    assert_eq!(in_one(&[], "install"), "");
}

#[test]
fn a_secret_is_in_force_and_shown_nowhere() {
    let document = Document {
        source: Source::Volume("/dev/sda1".to_owned()),
        text: "[storage.encryption]\nkey = \"config\"\nsecret = \"correct horse\"\n".to_owned(),
    };
    let effective = resolve(std::slice::from_ref(&document));
    let secret = effective.config.storage.encryption.secret.clone().unwrap();
    assert_eq!(secret.expose(), "correct horse");
    assert_eq!(effective.provenance[SECRET_KEY].value, "\"(hidden)\"");
    let stored = serde_json::to_string(&effective).unwrap();
    assert!(
        !stored.contains("horse") && !format!("{effective:?}").contains("horse"),
        "{stored}"
    );
    // Who reads that file gets a config, and no secret.
    let read: Effective = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.config.storage.encryption.key, KeySource::Config);
    // Nor is it kept beside what it protects.
    assert_eq!(
        in_one(&[document], "install"),
        "[storage.encryption]\nkey = \"config\"\n"
    );
}

#[test]
fn secrets_of_datasets_are_in_force_and_shown_nowhere() {
    let document = Document {
        source: Source::Volume("/dev/sda1".to_owned()),
        text: "[storage.encryption.secrets]\n\"tank/a\" = \"correct horse\"\n".to_owned(),
    };
    let effective = resolve(std::slice::from_ref(&document));
    let secrets = &effective.config.storage.encryption.secrets;
    assert_eq!(secrets["tank/a"].expose(), "correct horse");
    let shown = &effective.provenance["storage.encryption.secrets.\"tank/a\""];
    assert_eq!(shown.value, "\"(hidden)\"");
    let stored = serde_json::to_string(&effective).unwrap();
    assert!(!stored.contains("horse"), "{stored}");
    assert!(!in_one(&[document], "install").contains("horse"));
}

#[test]
fn a_config_of_the_first_version_is_read() {
    let config = check(include_str!("golden-1.toml"), "axion.toml").unwrap();
    assert_eq!(config.hostname, "node-${serial}");
    assert_eq!(config.storage.pools.len(), 1);
    assert_eq!(config.update.keys.len(), 1);
    assert_eq!(config.install.after, AfterInstall::PowerOff);
    assert_eq!(config.netboot.interface.as_deref(), Some("eth1"));
}

#[test]
fn a_range_is_two_addresses_in_order() {
    let range: AddressRange = "10.0.0.5 - 10.0.0.9".parse().unwrap();
    assert_eq!(range.to_string(), "10.0.0.5-10.0.0.9");
    let ip = |last| std::net::Ipv4Addr::new(10, 0, 0, last);
    assert!(range.has(ip(5)) && range.has(ip(9)) && !range.has(ip(10)));
    assert_eq!((range.len(), range.nth(4), range.nth(5)), (5, ip(9), ip(5)));
    for (text, part) in [
        ("10.0.0.5", "is no range"),
        ("10.0.0.5-x", "is no range"),
        ("10.0.0.9-10.0.0.5", "ends before it begins"),
        ("0.0.0.0-255.255.255.255", "more than 65536"),
    ] {
        let error = text.parse::<AddressRange>().unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}
