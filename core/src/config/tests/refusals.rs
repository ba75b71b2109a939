//! What is refused, with the whole message.

use super::*;

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
         `api`, `console`, `boot`, `watchdog`, `profile`, `storage`, `install`, `update`, `netboot`, `modules`, `sysctl`",
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
         world-wide identifier, `pci:` and an address, or `system`, as in `serial:S4EVNX0R123456`, \
         `wwid:eui.0025385b01234567` or `pci:0000:41:00.0`",
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
    // Booting others
    (
        "[netboot]\ninterface = \"eth/1\"\n",
        "axion.toml line 2: `netboot.interface`: `eth/1` is not an interface name, as in `eth0`",
    ),
    (
        "[netboot]\ndhcp_range = \"10.0.0.9-10.0.0.2\"\n",
        "axion.toml line 2: `netboot.dhcp_range`: the range 10.0.0.9-10.0.0.2 ends before it begins",
    ),
    (
        "[netboot]\nhttp_port = 0\n",
        "axion.toml line 2: `netboot.http_port`: port 0 is not allowed; 8069 is the usual one",
    ),
    (
        "[netboot]\nkernel_args = \"a || b\"\n",
        "axion.toml line 2: `netboot.kernel_args`: `||` is not allowed as a word, since it ends a command of iPXE's: `||`, \
         `&&`, `;` and what begins with `#` do",
    ),
    (
        "[netboot]\nuki = true\nkernel_args = \"quiet\"\n",
        "axion.toml line 3: `netboot.kernel_args`: with `netboot.uki` machines are told nothing; leave one of the two out",
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
