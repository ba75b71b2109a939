//! Messages with their lines, merging with its provenance, and the documentation against the code.

use super::*;
use crate::quantity::Span;

fn refused(text: &str) -> String {
    check(text, "axion.toml").unwrap_err().to_string()
}

/// Document, then the whole message.
const REFUSED: &[(&str, &str)] = &[
    // Unknown fields
    (
        "version = 1\n[network]\ndsn = []\n",
        "axion.toml line 3: unknown field `network.dsn`, expected one of `dns`, `search`, `interfaces`",
    ),
    (
        "[[network.interfaces]]\nmatch = { nam = \"eth0\" }\n",
        "axion.toml line 2: unknown field `network.interfaces[0].match.nam`, expected one of `name`, `mac`, `pci`",
    ),
    (
        "\n[watch]\nenabled = true\n",
        "axion.toml line 2: unknown field `watch`, expected one of `version`, `hostname`, `network`, `time`, `logging`, \
         `api`, `console`, `boot`, `watchdog`, `profile`, `storage`, `install`, `update`, `modules`, `sysctl`",
    ),
    // Wrong types
    (
        "[watchdog]\nenabled = \"yes\"\n",
        "axion.toml line 2: `watchdog.enabled`: expected a boolean, found string \"yes\"",
    ),
    (
        "hostname = 7\n",
        "axion.toml line 1: `hostname`: expected a string, found integer `7`",
    ),
    (
        "modules = \"nvme\"\n",
        "axion.toml line 1: `modules`: expected an array, found string \"nvme\"",
    ),
    (
        "\ntime = 5\n",
        "axion.toml line 2: `time`: expected a table, found integer `5`",
    ),
    (
        "version = -1\n",
        "axion.toml line 1: `version`: expected a whole number from 0 to 4294967295, found integer `-1`",
    ),
    (
        "[network]\ndns = [\n  \"10.0.0.1\",\n  \"10.0.0\",\n]\n",
        "axion.toml line 4: `network.dns[1]`: `10.0.0` is not an IP address, as in `10.0.0.1` or `2001:db8::1`",
    ),
    (
        "[api]\nlisten = \"8443\"\n",
        "axion.toml line 2: `api.listen`: `8443` is not an address and a port, as in `0.0.0.0:8443` or `[::]:8443`",
    ),
    (
        "[boot]\non_failure = \"retry\"\n",
        "axion.toml line 2: `boot.on_failure`: unknown variant `retry`, expected one of `reboot`, `power-off`, `halt`",
    ),
    // Wrong units
    (
        "[watchdog]\ntimeout = \"30\"\n",
        "axion.toml line 2: `watchdog.timeout`: `30` is not a duration: a whole number and one of ms, s, min, h, d, as in \
         `30s`",
    ),
    (
        "[watchdog]\ntimeout = 30\n",
        "axion.toml line 2: `watchdog.timeout`: expected a duration: a whole number and one of ms, s, min, h, d, as in \
         `30s`, found integer `30`",
    ),
    (
        "[time]\ninterval = \"2 weeks\"\n",
        "axion.toml line 2: `time.interval`: `2 weeks` is not a duration: a whole number and one of ms, s, min, h, d, as \
         in `30s`",
    ),
    // Syntax
    (
        "version = 1\nhostname = \n",
        "axion.toml line 2: not TOML: string values must be quoted, expected literal string",
    ),
    (
        "[network\n",
        "axion.toml line 1: not TOML: unclosed table, expected `]`",
    ),
    (
        "version = 1\nversion = 1\n",
        "axion.toml line 2: not TOML: duplicate key",
    ),
    // Meaning
    (
        "version = 2\n",
        "axion.toml line 1: `version`: version 2 is not known; this Axion reads version 1",
    ),
    (
        "hostname = \"node_1\"\n",
        "axion.toml line 1: `hostname`: `node_1` is not a host name (RFC 1123); allowed are up to 63 letters, digits and \
         `-`, in parts joined by `.` that neither start nor end with `-`",
    ),
    (
        "hostname = \"n-${hostname}\"\n",
        "axion.toml line 1: `hostname`: a host name cannot be made of `${hostname}`; allowed are `${serial}`, `${uuid}`, \
         `${mac}`",
    ),
    (
        "hostname = \"n-${arch}\"\n",
        "axion.toml line 1: `hostname`: `${arch}` is not known; allowed are `${serial}`, `${uuid}`, `${mac}` and, in URLs, \
         `${hostname}`",
    ),
    (
        "[[network.interfaces]]\ndhcp = true\n",
        "axion.toml line 1: `network.interfaces[0].match`: names no interface; give at least one of `name`, `mac`, `pci`",
    ),
    (
        "[[network.interfaces]]\nmatch.name = \"eth0\"\nmtu = 100\n",
        "axion.toml line 3: `network.interfaces[0].mtu`: 100 is not allowed; allowed are 576 to 65535 bytes",
    ),
    (
        "[[network.interfaces]]\nmatch.name = \"eth0\"\naddresses = [\"10.0.0.2/33\"]\n",
        "axion.toml line 3: `network.interfaces[0].addresses[0]`: `10.0.0.2/33` is not an address with a prefix length, as \
         in `10.0.0.2/24` or `2001:db8::2/64`",
    ),
    (
        "[[network.interfaces]]\nmatch.mac = \"52:54:00\"\n",
        "axion.toml line 2: `network.interfaces[0].match.mac`: `52:54:00` is not a MAC address, as in `52:54:00:12:34:56`",
    ),
    (
        "[[network.interfaces]]\nmatch.pci = \"00:02.0\"\n",
        "axion.toml line 2: `network.interfaces[0].match.pci`: `00:02.0` is not a PCI address, as in `0000:00:02.0`",
    ),
    (
        "[[network.interfaces]]\nmatch.name = \"eth0\"\ngateways = [\"10.0.0.1\", \"::1\", \"10.0.0.3\"]\n",
        "axion.toml line 3: `network.interfaces[0].gateways[2]`: `10.0.0.3` is a second gateway of its family; allowed is \
         one of IPv4 and one of IPv6",
    ),
    (
        "[time]\nntp = [\"ntp.example.org\", \"10.0.0.256\"]\n",
        "axion.toml line 2: `time.ntp[1]`: `10.0.0.256` is neither a host name nor an IP address, as in \
         `ntp.example.org` or `10.0.0.1`",
    ),
    (
        "[logging]\nforward = [\"http://log:514\"]\n",
        "axion.toml line 2: `logging.forward[0]`: `http://log:514` is not a receiver; allowed are `udp://HOST:PORT` and \
         `tcp://HOST:PORT`",
    ),
    (
        "[api]\ntoken_hashes = [\"hunter2\"]\n",
        "axion.toml line 2: `api.token_hashes[0]`: not a token hash; allowed is `sha256:` and 64 hex digits, as `axctl \
         token generate` prints",
    ),
    (
        "[console]\nlines = [\"/dev/tty1\"]\n",
        "axion.toml line 2: `console.lines[0]`: `/dev/tty1` is not a terminal's name, as in `tty1` or `ttyS0` (without \
         `/dev/`)",
    ),
    (
        "[console]\nlines = [\"ttyS1\"]\nlog = \"ttyS1\"\n",
        "axion.toml line 3: `console.log`: `ttyS1` is in `console.lines` too; a line carries the log or the TUI, not both",
    ),
    (
        "[watchdog]\ntimeout = \"5s\"\n",
        "axion.toml line 2: `watchdog.timeout`: `5s` is not allowed; allowed are whole seconds from 10s to 10min",
    ),
    (
        "modules = [\"../evil\"]\n",
        "axion.toml line 1: `modules[0]`: `../evil` is not a kernel module's name; allowed are letters, digits, `_` and \
         `-`, as in `nvme_tcp`",
    ),
    (
        "[sysctl]\n\"vm.swappiness\" = \"1\"\n\"../kernel.core\" = \"1\"\n",
        "axion.toml line 3: `sysctl.\"../kernel.core\"`: not a kernel setting; allowed are names below /proc/sys with \
         dots, as in `\"vm.max_map_count\"`",
    ),
    // Profile
    (
        "[profile]\nmode = \"fast\"\n",
        "axion.toml line 2: `profile.mode`: unknown variant `fast`, expected one of `hpc`, `balanced`, `off`",
    ),
    (
        "[profile.cpu]\nisolated = \"all\"\n",
        "axion.toml line 2: `profile.cpu.isolated`: `all` is not `auto`, `none` or a CPU list, as in `2-15,18`",
    ),
    (
        "[profile.cpu]\nisolated = 3\n",
        "axion.toml line 2: `profile.cpu.isolated`: expected `auto`, `none` or a CPU list, as in `2-15,18`, found \
         integer `3`",
    ),
    (
        "[profile.cpu]\nhousekeeping = \"none\"\n",
        "axion.toml line 2: `profile.cpu.housekeeping`: the host needs a CPU; allowed are `auto` and a CPU list, as in \
         `0-1`",
    ),
    (
        "[profile.cpu]\nhyperthreading = true\n",
        "axion.toml line 2: unknown field `profile.cpu.hyperthreading`, expected one of `housekeeping`, `isolated`, \
         `smt`, `nohz_full`, `rcu_nocbs`, `irqs`, `mitigations`",
    ),
    (
        "[[profile.hugepages]]\nsize = \"4MiB\"\ncount = 1\n",
        "axion.toml line 2: `profile.hugepages[0].size`: unknown variant `4MiB`, expected `2MiB` or `1GiB`",
    ),
    (
        "[[profile.hugepages]]\nsize = \"2MiB\"\nnode = \"all\"\ncount = 1\n",
        "axion.toml line 3: `profile.hugepages[0].node`: expected a NUMA node's number or `\"each\"`, found string \
         \"all\"",
    ),
    (
        "[profile]\nmode = \"hpc\"\n\n[[profile.hugepages]]\nsize = \"2MiB\"\ncount = 1\npercent = 50\n",
        "axion.toml line 4: `profile.hugepages[0]`: give exactly one of `count`, `bytes`, `percent`",
    ),
    (
        "[[profile.hugepages]]\nsize = \"1GiB\"\nbytes = \"1500MiB\"\n",
        "axion.toml line 3: `profile.hugepages[0].bytes`: `1500MiB` is not allowed; allowed are multiples of the page \
         size, 1GiB",
    ),
    (
        "[[profile.hugepages]]\nsize = \"1GiB\"\npercent = 101\n",
        "axion.toml line 3: `profile.hugepages[0].percent`: 101 is not allowed; allowed are 1 to 100",
    ),
    (
        "[profile.memory]\narc_limit = \"95%\"\n",
        "axion.toml line 2: `profile.memory.arc_limit`: `95%` is not `auto`, a size as in `8GiB`, or a share of the \
         memory from `1%` to `90%`",
    ),
    (
        "[profile]\nvfio = [{ device = \"gpu\" }]\n",
        "axion.toml line 2: `profile.vfio[0].device`: `gpu` is not a PCI address, as in `0000:41:00.0`, vendor and \
         device, as in `10de:2204`, or a class, as in `class:0302`",
    ),
    (
        "[[profile.sriov]]\nvfs = 4\nmatch.name = \"eth0\"\nmac = \"01:00:00:00:00:01\"\n",
        "axion.toml line 4: `profile.sriov[0].mac`: `01:00:00:00:00:01` is not a MAC address of an interface, as in \
         `02:00:00:00:10:00`",
    ),
    (
        "[[profile.sriov]]\nvfs = 0\nmatch.name = \"eth0\"\nvlan = 4095\n",
        "axion.toml line 2: `profile.sriov[0].vfs`: 0 is not allowed; an interface without an entry has none",
    ),
    (
        "[[profile.sriov]]\nvfs = 2\nmatch = {}\n",
        "axion.toml line 3: `profile.sriov[0].match`: names no interface; give at least one of `name`, `mac`, `pci`",
    ),
    // Storage
    (
        "[storage]\nscrub = \"1h\"\n",
        "axion.toml line 2: `storage.scrub`: `1h` is not allowed; allowed are whole seconds from 1d to 365d, or 0s for none",
    ),
    (
        "[storage.encryption]\nkey = \"config\"\nsecret = \"short\"\n",
        "axion.toml line 3: `storage.encryption.secret`: allowed are a key of 64 hex digits, and a passphrase of 8 to 512 bytes \
         in one line",
    ),
    (
        "[storage.encryption]\nsecret = 12345678\n",
        "axion.toml line 2: `storage.encryption.secret`: a secret is text in quotes",
    ),
    (
        "[storage.encryption.secrets]\n\"tank/a\" = \"short\"\n",
        "axion.toml line 2: `storage.encryption.secrets.\"tank/a\"`: allowed are a key of 64 hex digits, and a passphrase of 8 \
         to 512 bytes in one line",
    ),
    (
        "[storage.encryption.secrets]\n\"tank//a\" = \"correct horse\"\n",
        "axion.toml line 2: `storage.encryption.secrets.\"tank//a\"`: not a dataset's name; allowed is one as in `tank/projects`",
    ),
    (
        "[storage.encryption.secrets]\n\"tank/axion/state\" = \"correct horse\"\n",
        "axion.toml line 2: `storage.encryption.secrets.\"tank/axion/state\"`: belongs to the node itself, whose key is \
         `storage.encryption.secret`",
    ),
    (
        "[storage.encryption]\npcrs = [7, 24]\n",
        "axion.toml line 2: `storage.encryption.pcrs[1]`: PCR 24 does not exist; allowed are 0 to 23",
    ),
    (
        "[storage.encryption]\npcrs = [16]\n",
        "axion.toml line 2: `storage.encryption.pcrs[0]`: PCR 16 can be reset by whatever runs on the machine; it protects \
         nothing",
    ),
    (
        "[storage]\nstate = \"a/b\"\n",
        "axion.toml line 2: `storage.state`: `a/b` is not `auto`, `none` or a pool's name, as in `tank`",
    ),
    (
        "[[storage.pools]]\nname = \"mirror1\"\nlayout = \"stripe\"\ndisks = [\"serial:a\"]\n",
        "axion.toml line 2: `storage.pools[0].name`: `mirror1` is not a pool's name; allowed are up to 40 of a-z, A-Z, \
         0-9, `_`, `-` and `.`, starting with a letter, but neither `log`, `auto` or `none` nor what starts with `mirror`, \
         `raidz`, `draid`, `spare` or `c` and a digit",
    ),
    (
        "[[storage.pools]]\nname = \"tank\"\nlayout = \"raid5\"\ndisks = []\n",
        "axion.toml line 3: `storage.pools[0].layout`: unknown variant `raid5`, expected one of `stripe`, `mirror`, \
         `raidz1`, `raidz2`, `raidz3`",
    ),
    (
        "[[storage.pools]]\nname = \"tank\"\nlayout = \"raidz2\"\ndisks = [\"serial:a\", \"serial:b\"]\n",
        "axion.toml line 4: `storage.pools[0].disks`: 2 given; a raidz2 takes at least 3",
    ),
    (
        "[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"/dev/sda\"]\n",
        "axion.toml line 4: `storage.pools[0].disks[0]`: `/dev/sda` is not `serial:` and a serial number, `wwid:` and a \
         world-wide identifier, or `pci:` and an address, as in `serial:S4EVNX0R123456`, `wwid:eui.0025385b01234567` or \
         `pci:0000:41:00.0`",
    ),
    (
        "[[storage.pools]]\nname = \"tank\"\nlayout = \"mirror\"\ndisks = [\"serial:a\", \"serial:a\"]\n",
        "axion.toml line 4: `storage.pools[0].disks[1]`: `serial:a` is named twice; a disk is in one pool, once",
    ),
    (
        "[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"serial:a\"]\nerase = [\"serial:b\"]\n",
        "axion.toml line 5: `storage.pools[0].erase[0]`: `serial:b` is not in `disks`, written the same way; only disks of \
         the pool are erased",
    ),
    (
        "[[storage.pools]]\nname = \"tank\"\nlayout = \"stripe\"\ndisks = [\"serial:a\"]\nashift = 8\n",
        "axion.toml line 5: `storage.pools[0].ashift`: 8 is not allowed; allowed are 9 to 16 (512 B to 64 KiB)",
    ),
    // Installation
    (
        "[install]\ndisk = {}\n",
        "axion.toml line 2: `install.disk`: names no disk; give at least one of `wwid`, `serial`, `model`, `min_size`, \
         `max_size`",
    ),
    (
        "[install.disk]\nmin_size = \"2TiB\"\nmax_size = \"1TiB\"\n",
        "axion.toml line 2: `install.disk.min_size`: 2TiB is more than `max_size`, 1TiB; no disk can fit",
    ),
    (
        "[install]\nexisting = \"overwrite\"\n",
        "axion.toml line 2: `install.existing`: unknown variant `overwrite`, expected `refuse` or `replace`",
    ),
    // Update
    (
        "[update]\nkeys = [\"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\", \"RWQf6LRCGA9i53\"]\n",
        "axion.toml line 2: `update.keys[1]`: `RWQf6LRCGA9i53` is no public key of minisign; one is a line of 56 characters \
         that begins with `RW`, as `cargo xtask keys` prints",
    ),
    (
        "[update]\ndeadline = \"10s\"\n",
        "axion.toml line 2: `update.deadline`: `10s` is not allowed; allowed are whole seconds from 1min to 1h",
    ),
];

#[test]
fn every_refusal_says_what_where_and_what_is_allowed() {
    for (text, message) in REFUSED {
        assert_eq!(&refused(text), message, "for\n{text}");
    }
}

#[test]
fn the_first_of_several_mistakes_is_reported() {
    let message = refused("[watchdog]\ntimeout = \"1s\"\n[time]\ninterval = \"1s\"\n");
    assert!(
        message.starts_with("axion.toml line 2: `watchdog.timeout`"),
        "{message}"
    );
}

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

fn examples() -> impl Iterator<Item = &'static str> {
    DOCS.split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
}

#[test]
fn the_documentations_examples_are_valid() {
    for example in examples() {
        check(example, "example").unwrap();
    }
    let whole = check(examples().next().unwrap(), "example").unwrap();
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
}
