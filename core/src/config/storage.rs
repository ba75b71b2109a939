//! `[storage]`: the pools that a node has, and what may be done to disks for them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Encryption;
use crate::quantity::{Span, as_text};
use crate::topology::{Disk, is_pci_address};

/// Pools of the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Storage {
    /// Which pools are imported at boot besides the declared ones.
    pub import: ImportPolicy,
    /// The pool that keeps the node's own state.
    pub state: StatePool,
    /// How long the boot waits for disks of pools that are not there yet; 0s to 5min.
    pub settle: Span,
    /// Time between two scrubs of a pool; 0s: none. 1d to 365d.
    pub scrub: Span,
    /// Encryption of the node's own datasets.
    pub encryption: Encryption,
    /// Pools that are made where they are missing.
    pub pools: Vec<PoolRule>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            import: ImportPolicy::default(),
            state: StatePool::default(),
            settle: Span(Duration::from_secs(10)),
            scrub: Span(Duration::from_secs(30 * 86_400)),
            encryption: Encryption::default(),
            pools: Vec::new(),
        }
    }
}

/// Pools that are imported at boot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImportPolicy {
    /// Every one that was last this node's, or that was exported.
    #[default]
    Found,
    /// Those in `pools` only.
    Declared,
}

/// Which pool keeps the node's state: `auto`, `none`, or its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StatePool {
    /// One that has the state already, else the first in `pools`.
    #[default]
    Auto,
    /// No one: the node is stateless.
    None,
    /// This one.
    Pool(String),
}

const STATE_POOL_FORM: &str = "`auto`, `none` or a pool's name, as in `tank`";

impl FromStr for StatePool {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            name if is_pool_name(name) => Ok(Self::Pool(name.to_owned())),
            _ => Err(format!("`{text}` is not {STATE_POOL_FORM}")),
        }
    }
}

impl fmt::Display for StatePool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Pool(name) => name,
        })
    }
}
as_text!(StatePool, STATE_POOL_FORM);

/// One pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolRule {
    /// Name.
    pub name: String,
    /// How its disks are put together.
    pub layout: PoolLayout,
    /// Its disks, each by something that does not change.
    pub disks: Vec<DiskChoice>,
    /// Those of its disks that are overwritten whatever is on them, except this very pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erase: Vec<DiskChoice>,
    /// Import it even if another host had it last and did not give it back.
    #[serde(default)]
    pub take_over: bool,
    /// Base-2 logarithm of the smallest write in bytes, 9 to 16. Absent: by the disks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ashift: Option<u8>,
    /// Compression of what is stored.
    #[serde(default)]
    pub compression: Compression,
}

/// How a pool's disks are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum PoolLayout {
    /// Each block on one disk: the loss of any disk loses the pool.
    Stripe,
    /// Each block on every disk.
    Mirror,
    /// Any one disk may fail.
    Raidz1,
    /// Any two disks may fail.
    Raidz2,
    /// Any three disks may fail.
    Raidz3,
}

impl PoolLayout {
    /// Disks that it takes at least.
    pub const fn fewest_disks(self) -> usize {
        match self {
            Self::Stripe => 1,
            Self::Mirror | Self::Raidz1 => 2,
            Self::Raidz2 => 3,
            Self::Raidz3 => 4,
        }
    }

    /// Name, as ZFS has it too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::Mirror => "mirror",
            Self::Raidz1 => "raidz1",
            Self::Raidz2 => "raidz2",
            Self::Raidz3 => "raidz3",
        }
    }
}

impl fmt::Display for PoolLayout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How what is stored is made smaller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// By use.
    #[default]
    Auto,
    /// Not at all.
    Off,
    /// LZ4: hardly any CPU time.
    Lz4,
    /// Zstandard: smaller.
    Zstd,
}

/// One disk, by something that stays the same when cables and slots are changed, or by its slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskChoice {
    /// Serial number.
    Serial(String),
    /// World-wide identifier as the kernel gives it (`eui.…`, `naa.…`, `nvme.…`).
    Wwid(String),
    /// The one disk behind this PCI function.
    Pci(String),
    /// What the node's own installation leaves for ZFS on the disk that it was started from.
    System,
}

const DISK_FORM: &str = "`serial:` and a serial number, `wwid:` and a world-wide identifier, `pci:` and an address, or `system`, \
                         as in `serial:S4EVNX0R123456`, `wwid:eui.0025385b01234567` or `pci:0000:41:00.0`";

impl FromStr for DiskChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let chosen = match text.split_once(':') {
            None if text == "system" => Some(Self::System),
            Some(("serial", serial)) if !serial.trim().is_empty() => {
                Some(Self::Serial(serial.trim().to_owned()))
            }
            Some(("wwid", wwid)) if !wwid.trim().is_empty() => Some(Self::Wwid(wwid.trim().to_owned())),
            Some(("pci", address)) => {
                let address = address.to_ascii_lowercase();
                is_pci_address(&address).then_some(Self::Pci(address))
            }
            _ => None,
        };
        chosen.ok_or_else(|| format!("`{text}` is not {DISK_FORM}"))
    }
}

impl fmt::Display for DiskChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Serial(serial) => write!(f, "serial:{serial}"),
            Self::Wwid(wwid) => write!(f, "wwid:{wwid}"),
            Self::Pci(address) => write!(f, "pci:{address}"),
            Self::System => f.write_str("system"),
        }
    }
}
as_text!(DiskChoice, DISK_FORM);

impl DiskChoice {
    /// Whether this is the disk; a partition of one is none.
    pub fn fits(&self, disk: &Disk) -> bool {
        match self {
            Self::Serial(serial) => disk.serial.as_ref() == Some(serial),
            Self::Wwid(wwid) => disk.wwid.as_ref() == Some(wwid),
            Self::Pci(address) => disk.pci.as_ref() == Some(address),
            Self::System => false,
        }
    }

    /// The most lasting way to name a disk; `None` where it has nothing to be named by.
    pub fn of(disk: &Disk) -> Option<Self> {
        let serial = disk.serial.clone().map(Self::Serial);
        let wwid = || disk.wwid.clone().map(Self::Wwid);
        serial.or_else(wwid).or_else(|| disk.pci.clone().map(Self::Pci))
    }
}

/// Beginnings of names that zpool(8) would take for a kind of vdev.
const RESERVED: [&str; 4] = ["mirror", "raidz", "draid", "spare"];
/// Names that zpool(8) or the machine config keep for themselves.
const TAKEN: [&str; 3] = ["log", "auto", "none"];

/// Whether a pool may have this name: as zpool-create(8) has it, and short enough to be shown.
pub fn is_pool_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    // `c0` to `c9` are disks to zpool.
    let device = name.starts_with('c') && name.chars().nth(1).is_some_and(|c| c.is_ascii_digit());
    name.len() <= 40
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(allowed)
        && !device
        && !RESERVED.iter().any(|reserved| name.starts_with(reserved))
        && !TAKEN.contains(&name)
}

/// Whether a dataset may have this name: a pool's, and parts of letters, digits, `_`, `-`, `.` and `:` behind it.
pub fn is_dataset_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':');
    let sound = |part: &str| !part.is_empty() && !part.starts_with('.') && part.chars().all(allowed);
    let mut parts = name.split('/');
    name.len() <= 255 && parts.next().is_some_and(is_pool_name) && parts.all(sound)
}

/// What [`is_pool_name`] allows, for messages.
pub const POOL_NAME_FORM: &str = "up to 40 of a-z, A-Z, 0-9, `_`, `-` and `.`, starting with a letter, but neither `log`, `auto` \
                                  or `none` nor what starts with `mirror`, `raidz`, `draid`, `spare` or `c` and a digit";
