//! What types cannot say: ranges, names, forms.

mod netboot;
mod profile;
mod storage;

use std::net::IpAddr;
use std::time::Duration;

use super::place::Place;
use super::{DiskSelector, Install, Interface, InterfaceMatch, MachineConfig, is_update_key};
use crate::identity::{Facts, substitute};
use crate::quantity::Span;
use crate::topology::is_pci_address;

/// A value that is not allowed.
pub(super) struct Violation {
    /// Which.
    pub(super) place: Place,
    /// What is wrong and what is allowed.
    pub(super) message: String,
}

/// Everything in `config` that is not allowed.
pub(super) fn violations(config: &MachineConfig) -> Vec<Violation> {
    let mut found = Findings::default();
    if config.version != 1 {
        let message = format!(
            "version {} is not known; this Axion reads version 1",
            config.version
        );
        found.refuse(Place::of("version"), message);
    }
    found.check(Place::of("hostname"), hostname_template(&config.hostname));
    found.each("network.search", &config.network.search, |name| domain(name));
    for (index, interface) in config.network.interfaces.iter().enumerate() {
        interface_entry(
            &mut found,
            &Place::of("network.interfaces").index(index),
            interface,
        );
    }
    found.each("time.ntp", &config.time.ntp, |name| host(name));
    found.range("time.interval", config.time.interval, 16..=129_600, "16s to 36h");
    found.each(
        "logging.forward",
        &config.logging.forward,
        |url| match parse_forward(url) {
            Some(_) => Ok(()),
            None => Err(format!(
                "`{url}` is not a receiver; allowed are `udp://HOST:PORT` and `tcp://HOST:PORT`"
            )),
        },
    );
    if config.api.listen.port() == 0 {
        found.refuse(
            Place::of("api.listen"),
            "port 0 is not allowed; 8443 is the usual one".to_owned(),
        );
    }
    // The text is not repeated: what is in the wrong form may be the token itself.
    found.each(
        "api.token_hashes",
        &config.api.token_hashes,
        |hash| match parse_token_hash(hash) {
            Some(_) => Ok(()),
            None => Err(
                "not a token hash; allowed is `sha256:` and 64 hex digits, as `axctl token generate` prints"
                    .to_owned(),
            ),
        },
    );
    found.each("console.lines", &config.console.lines, |name| line_name(name));
    if let Some(log) = &config.console.log {
        found.check(Place::of("console.log"), line_name(log));
        if config.console.lines.contains(log) {
            let message =
                format!("`{log}` is in `console.lines` too; a line carries the log or the TUI, not both");
            found.refuse(Place::of("console.log"), message);
        }
    }
    found.range("boot.countdown", config.boot.countdown, 0..=3600, "0s to 1h");
    found.range(
        "watchdog.timeout",
        config.watchdog.timeout,
        10..=600,
        "10s to 10min",
    );
    profile::rules(&mut found, &config.profile);
    storage::rules(&mut found, &config.storage);
    install(&mut found, &config.install);
    found.each("update.keys", &config.update.keys, |key| {
        if is_update_key(key) {
            return Ok(());
        }
        Err(format!(
            "`{key}` is no public key of minisign; one is a line of 56 characters that begins with `RW`, as `cargo xtask \
             keys` prints"
        ))
    });
    found.range("update.deadline", config.update.deadline, 60..=3600, "1min to 1h");
    netboot::rules(&mut found, &config.netboot);
    found.each("modules", &config.modules, |name| module(name));
    for (key, value) in &config.sysctl {
        let place = Place::of("sysctl").key(key);
        found.check(place.clone(), sysctl_key(key));
        if value.contains(char::is_control) {
            found.refuse(
                place,
                "the value holds a control character, as a line break is".to_owned(),
            );
        }
    }
    found.0
}

#[derive(Default)]
struct Findings(Vec<Violation>);

impl Findings {
    fn refuse(&mut self, place: Place, message: String) {
        self.0.push(Violation { place, message });
    }

    fn check(&mut self, place: Place, verdict: Result<(), String>) {
        if let Err(message) = verdict {
            self.refuse(place, message);
        }
    }

    fn each(&mut self, key: &str, values: &[String], verdict: impl Fn(&String) -> Result<(), String>) {
        for (index, value) in values.iter().enumerate() {
            self.check(Place::of(key).index(index), verdict(value));
        }
    }

    /// Whole seconds within `allowed`.
    fn range(&mut self, key: &str, span: Span, allowed: std::ops::RangeInclusive<u64>, words: &str) {
        if !allowed.contains(&span.0.as_secs())
            || span.0.subsec_nanos() != 0
            || span.0 > Duration::from_secs(*allowed.end())
        {
            self.refuse(
                Place::of(key),
                format!("`{span}` is not allowed; allowed are whole seconds from {words}"),
            );
        }
    }
}

fn install(found: &mut Findings, install: &Install) {
    for (key, disk) in [
        ("install.disk", &install.disk),
        ("install.mirror", &install.mirror),
    ] {
        if let Some(disk) = disk {
            disk_selector(found, key, disk);
        }
    }
    if install.mirror.is_some() && install.disk.is_none() {
        let message = "is the second of two disks; `install.disk` must say which is the first";
        found.refuse(Place::of("install.mirror"), message.to_owned());
    }
}

fn disk_selector(found: &mut Findings, key: &str, disk: &DiskSelector) {
    if disk.is_empty() {
        let message = "names no disk; give at least one of `wwid`, `serial`, `model`, `min_size`, `max_size`";
        found.refuse(Place::of(key), message.to_owned());
    }
    if let (Some(min), Some(max)) = (disk.min_size, disk.max_size)
        && min > max
    {
        let message = format!("{min} is more than `max_size`, {max}; no disk can fit");
        found.refuse(Place::of(key).key("min_size"), message);
    }
}

fn interface_entry(found: &mut Findings, place: &Place, interface: &Interface) {
    interface_match(found, &place.key("match"), &interface.r#match);
    for (index, text) in interface.addresses.iter().enumerate() {
        if parse_address(text).is_none() {
            let form = "an address with a prefix length, as in `10.0.0.2/24` or `2001:db8::2/64`";
            found.refuse(
                place.key("addresses").index(index),
                format!("`{text}` is not {form}"),
            );
        }
    }
    for family in [IpAddr::is_ipv4, IpAddr::is_ipv6] {
        let second = interface
            .gateways
            .iter()
            .enumerate()
            .filter(|(_, gateway)| family(gateway))
            .nth(1);
        if let Some((index, gateway)) = second {
            let message = format!(
                "`{gateway}` is a second gateway of its family; allowed is one of IPv4 and one of IPv6"
            );
            found.refuse(place.key("gateways").index(index), message);
        }
    }
    if let Some(mtu) = interface.mtu.filter(|mtu| !(576..=65_535).contains(mtu)) {
        found.refuse(
            place.key("mtu"),
            format!("{mtu} is not allowed; allowed are 576 to 65535 bytes"),
        );
    }
}

fn interface_match(found: &mut Findings, by: &Place, matched: &InterfaceMatch) {
    if (&matched.name, &matched.mac, &matched.pci) == (&None, &None, &None) {
        found.refuse(
            by.clone(),
            "names no interface; give at least one of `name`, `mac`, `pci`".to_owned(),
        );
    }
    let parts = [
        (
            "name",
            &matched.name,
            is_interface_name as fn(&str) -> bool,
            "an interface name, as in `eth0`",
        ),
        (
            "mac",
            &matched.mac,
            is_mac,
            "a MAC address, as in `52:54:00:12:34:56`",
        ),
        (
            "pci",
            &matched.pci,
            is_pci_address,
            "a PCI address, as in `0000:00:02.0`",
        ),
    ];
    for (key, value, is_one, form) in parts {
        if let Some(text) = value.as_deref().filter(|text| !is_one(text)) {
            found.refuse(by.key(key), format!("`{text}` is not {form}"));
        }
    }
}

/// The address and prefix length of `10.0.0.2/24`; `None` for anything that no interface can have.
pub fn parse_address(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let (address, prefix): (IpAddr, u8) = (address.parse().ok()?, prefix.parse().ok()?);
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let usable = !address.is_unspecified() && !address.is_multicast();
    (usable && (1..=longest).contains(&prefix)).then_some((address, prefix))
}

/// A receiver of forwarded logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// Over TCP (RFC 6587, octet counting) instead of UDP (RFC 5426).
    pub tcp: bool,
    /// Name or address, an IPv6 one without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Reads `udp://HOST:PORT` or `tcp://HOST:PORT`; `None` for anything else.
pub fn parse_forward(url: &str) -> Option<Forward> {
    let (scheme, receiver) = url.split_once("://")?;
    let tcp = match scheme {
        "udp" => false,
        "tcp" => true,
        _ => return None,
    };
    let (name, port) = receiver.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let valid = match name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !name.contains(':') && host(name).is_ok(),
    };
    valid.then(|| Forward {
        tcp,
        host: name.trim_matches(['[', ']']).to_owned(),
        port,
    })
}

/// The digest in `sha256:` and 64 hex digits; `None` for anything else.
pub fn parse_token_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text
        .strip_prefix("sha256:")
        .filter(|d| d.len() == 64 && d.is_ascii())?;
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        let pair = digits
            .get(2 * index..2 * index + 2)
            .filter(|p| p.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}

fn hostname_template(template: &str) -> Result<(), String> {
    if template.is_empty() {
        return Ok(());
    }
    if template.contains("${hostname}") {
        return Err(
            "a host name cannot be made of `${hostname}`; allowed are `${serial}`, `${uuid}`, `${mac}`"
                .to_owned(),
        );
    }
    let sample = || Some("x".to_owned());
    let facts = Facts {
        uuid: sample(),
        serial: sample(),
        mac: sample(),
        hostname: None,
    };
    let name = substitute(template, &facts).map_err(|e| e.to_string())?;
    if name.len() <= 63 && is_domain(&name) {
        return Ok(());
    }
    Err(format!(
        "`{template}` is not a host name (RFC 1123); allowed are up to 63 letters, digits and `-`, in parts joined by `.` \
         that neither start nor end with `-`"
    ))
}

fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

fn domain(name: &str) -> Result<(), String> {
    if is_domain(name) {
        Ok(())
    } else {
        Err(format!("`{name}` is not a domain name, as in `example.org`"))
    }
}

fn host(name: &str) -> Result<(), String> {
    // A name that ends in a number would be a mistyped IPv4 address: no top-level domain is numeric.
    let numeric_end = name
        .rsplit('.')
        .next()
        .is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if name.parse::<IpAddr>().is_ok() || (is_domain(name) && !numeric_end) {
        return Ok(());
    }
    Err(format!(
        "`{name}` is neither a host name nor an IP address, as in `ntp.example.org` or `10.0.0.1`"
    ))
}

fn line_name(name: &str) -> Result<(), String> {
    let valid = (1..=32).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    if valid {
        Ok(())
    } else {
        Err(format!(
            "`{name}` is not a terminal's name, as in `tty1` or `ttyS0` (without `/dev/`)"
        ))
    }
}

fn module(name: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    Err(format!(
        "`{name}` is not a kernel module's name; allowed are letters, digits, `_` and `-`, as in `nvme_tcp`"
    ))
}

fn sysctl_key(key: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    let parts: Vec<&str> = key.split('.').collect();
    if parts.len() >= 2
        && parts
            .iter()
            .all(|part| !part.is_empty() && part.bytes().all(allowed))
    {
        return Ok(());
    }
    Err(
        "not a kernel setting; allowed are names below /proc/sys with dots, as in `\"vm.max_map_count\"`"
            .to_owned(),
    )
}

fn is_interface_name(name: &str) -> bool {
    // IFNAMSIZ less the terminator; `/`, `:` and white space are refused by dev_valid_name().
    let allowed = |c: char| c.is_ascii_graphic() && !matches!(c, '/' | ':');
    (1..=15).contains(&name.len()) && name.chars().all(allowed) && name != "." && name != ".."
}

/// Whether `text` is hex digits, so many.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_mac(text: &str) -> bool {
    text.split(':').count() == 6 && text.split(':').all(|byte| is_hex(byte, 2))
}
