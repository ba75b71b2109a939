//! The schema of the machine config, version 1.
//!
//! Every table refuses unknown keys; whether that refuses the document is decided in `check`. A key of a later version may be
//! left out by this one, so no new key may widen what a known one permits. Every field has a default, so an empty document is a valid one.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Install, Netboot, Profile, Storage, Update};
use crate::quantity::Span;

/// A whole machine config.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MachineConfig {
    /// Version of the schema; only 1 exists.
    pub version: u32,
    /// Host name (RFC 1123). `${serial}`, `${uuid}`, `${mac}` are substituted. Empty: `axion-` and the start of the machine id.
    pub hostname: String,
    /// Addresses, routes, resolvers.
    pub network: Network,
    /// Clock.
    pub time: Time,
    /// Where logs go besides the node's own ring.
    pub logging: Logging,
    /// The node agent's API.
    pub api: Api,
    /// The TUI.
    pub console: Console,
    /// What a failed boot does.
    pub boot: Boot,
    /// Hardware watchdog.
    pub watchdog: Watchdog,
    /// How CPUs, memory and devices are divided between the host and the workloads.
    pub profile: Profile,
    /// Pools, and which disks may be used for them.
    pub storage: Storage,
    /// Installation on a disk.
    pub install: Install,
    /// Updates of an installed node.
    pub update: Update,
    /// Booting other machines over the network.
    pub netboot: Netboot,
    /// Kernel modules to load besides those that Axion itself needs.
    pub modules: Vec<String>,
    /// Kernel settings below /proc/sys, with dots: `"vm.max_map_count" = "262144"`.
    pub sysctl: BTreeMap<String, String>,
}

/// Network of the host itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// Resolvers; they come before those learnt by DHCP.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Interfaces to configure. None given: DHCP on every Ethernet interface that has a link.
    pub interfaces: Vec<Interface>,
}

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Interface {
    /// Which interface; every given part must fit.
    pub r#match: InterfaceMatch,
    /// Ask a DHCP server (IPv4). Default true when no address is given.
    pub dhcp: Option<bool>,
    /// Static addresses with prefix length: `"10.0.0.2/24"`, `"2001:db8::2/64"`.
    pub addresses: Vec<String>,
    /// Default gateways, at most one of each family.
    pub gateways: Vec<IpAddr>,
    /// MTU in bytes, 576 to 65535; the driver's default when absent.
    pub mtu: Option<u32>,
}

/// Which interface an [`Interface`] entry means.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InterfaceMatch {
    /// Kernel name, `eth0`.
    pub name: Option<String>,
    /// MAC address, `52:54:00:12:34:56`.
    pub mac: Option<String>,
    /// PCI address, `0000:00:02.0`.
    pub pci: Option<String>,
}

/// Clock of the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Time {
    /// NTP servers, names or addresses, tried in order. Empty: the clock stays as the RTC had it.
    pub ntp: Vec<String>,
    /// Time between two measurements once in step.
    pub interval: Span,
}

/// Where logs go.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// RFC 5424 receivers: `udp://10.0.0.1:514` or `tcp://10.0.0.1:601` (RFC 6587 octet counting).
    pub forward: Vec<String>,
}

/// The node agent's API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// Address of the HTTPS listener.
    pub listen: SocketAddr,
    /// Accepted bearer tokens, each as `sha256:` and 64 hex digits (`axctl token generate` prints both). None given: the agent
    /// makes one at first boot and shows it on the local console.
    pub token_hashes: Vec<String>,
}

/// The TUI.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Console {
    /// Terminals (`tty1`, `ttyS0`) that show the TUI. Empty: `tty1` and every serial console that exists and is not `log`.
    pub lines: Vec<String>,
    /// A serial line that carries the log and never a TUI: `ttyS1`. `axion.log=` on the kernel command line says the same.
    pub log: Option<String>,
    /// Let whoever is at a console have a root shell there.
    pub rescue_shell: bool,
}

/// What a failed boot does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Boot {
    /// After an essential task failed and `countdown` has passed.
    pub on_failure: FailureAction,
    /// How long the cause stays on the consoles first.
    pub countdown: Span,
}

/// What follows a failed boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureAction {
    /// Restart the machine.
    Reboot,
    /// Power the machine off.
    PowerOff,
    /// Stay with the cause on the consoles.
    Halt,
}

/// Hardware watchdog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Watchdog {
    /// Use `/dev/watchdog` where the machine has one.
    pub enabled: bool,
    /// The machine resets when init has not fed the timer for this long; 10 s to 10 min.
    pub timeout: Span,
}

impl Default for MachineConfig {
    fn default() -> Self {
        Self {
            version: 1,
            hostname: String::new(),
            network: Network::default(),
            time: Time::default(),
            logging: Logging::default(),
            api: Api::default(),
            console: Console::default(),
            boot: Boot::default(),
            watchdog: Watchdog::default(),
            profile: Profile::default(),
            storage: Storage::default(),
            install: Install::default(),
            update: Update::default(),
            netboot: Netboot::default(),
            modules: Vec::new(),
            sysctl: BTreeMap::new(),
        }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self {
            ntp: (0..4).map(|n| format!("{n}.debian.pool.ntp.org")).collect(),
            interval: Span(Duration::from_secs(1024)),
        }
    }
}

impl Default for Api {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
            token_hashes: Vec::new(),
        }
    }
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            on_failure: FailureAction::Reboot,
            countdown: Span(Duration::from_secs(30)),
        }
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout: Span(Duration::from_secs(60)),
        }
    }
}
