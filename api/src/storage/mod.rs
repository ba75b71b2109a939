//! Pools, datasets and snapshots.
//!
//! A pool's id is a 64-bit number; it is text here, since JSON numbers of that size are not safe everywhere.

mod call;
mod dataset;
mod event;

use axion_core::config::{Compression, DiskChoice, PoolLayout};
use axion_core::topology::Disk;
use serde::{Deserialize, Serialize};

pub use call::{Answer, Call, Stream, ZvolSpec};
pub use dataset::{
    CloneSpec, Dataset, DatasetKind, DatasetSpec, Encryption, Key, KeyState, ReceiveOptions, RollbackRequest,
    SendOptions, Snapshot, SnapshotSpec, Use,
};
pub use event::{PoolEvent, PoolEventKind};

/// Health of a pool or of a part of one (zpoolconcepts(7)).
///
/// The agent's own health has the short name in the API's document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = PoolHealth))]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// As it should be.
    Online,
    /// Works, with less redundancy than it should have.
    Degraded,
    /// Closed, because it returned too many errors or too little of it is there.
    Faulted,
    /// Taken out of use by an operator.
    Offline,
    /// Pulled out.
    Removed,
    /// Cannot be opened.
    Unavailable,
    /// All writes are held back until its devices return.
    Suspended,
    /// A spare or a cache that is ready.
    Available,
    /// A spare that stands in for another device.
    InUse,
    /// ZFS says something else.
    Unknown,
}

impl std::fmt::Display for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Online => "online",
            Self::Degraded => "degraded",
            Self::Faulted => "faulted",
            Self::Offline => "offline",
            Self::Removed => "removed",
            Self::Unavailable => "unavailable",
            Self::Suspended => "suspended",
            Self::Available => "available",
            Self::InUse => "in-use",
            Self::Unknown => "unknown",
        })
    }
}

/// What a vdev is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum VdevClass {
    /// Data.
    Data,
    /// Synchronous writes.
    Log,
    /// Second-level read cache.
    Cache,
    /// Stands in for a failed device.
    Spare,
    /// Metadata and small blocks.
    Special,
    /// Deduplication tables.
    Dedup,
}

/// A part of a pool: a device, or a group of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Vdev {
    /// Name as ZFS has it: `mirror-0`, `nvme0n1p1`.
    pub name: String,
    /// `disk`, `file`, `mirror`, `raidz1` to `raidz3`, `replacing`, `spare` and others of zpoolconcepts(7).
    pub kind: String,
    /// What it is there for.
    pub class: VdevClass,
    /// Id, decimal.
    pub guid: String,
    /// Health.
    pub state: Health,
    /// Why it is not as it should be, where ZFS says so.
    pub detail: Option<String>,
    /// Device node, where it is a device.
    pub path: Option<String>,
    /// The disk that it is on, as a pool declaration names it, where the node sees it.
    pub disk: Option<String>,
    /// Reads that failed.
    pub read_errors: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Blocks whose checksum was wrong.
    pub checksum_errors: u64,
    /// What it is made of.
    #[cfg_attr(feature = "schema", schema(no_recursion))]
    pub children: Vec<Vdev>,
}

/// What goes through a whole pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ScanKind {
    /// Reads everything and repairs what is damaged.
    Scrub,
    /// Brings a device up to date.
    Resilver,
    /// Looks again at what is known to be damaged.
    Errorscrub,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ScanState {
    /// Under way.
    Running,
    /// Stands still until it is resumed.
    Paused,
    /// Done.
    Finished,
    /// Given up.
    Canceled,
}

/// The last scrub or resilver of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Scan {
    /// Which of them.
    pub kind: ScanKind,
    /// How far.
    pub state: ScanState,
    /// When it began, seconds since 1970.
    pub started_unix_s: u64,
    /// When it ended, seconds since 1970.
    pub ended_unix_s: Option<u64>,
    /// Bytes that are to be looked at.
    pub to_examine: u64,
    /// Bytes that were.
    pub examined: u64,
    /// Bytes that were repaired, or written to a new device.
    pub repaired: u64,
    /// Errors that were found.
    pub errors: u64,
}

/// A pool as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Pool {
    /// Name.
    pub name: String,
    /// Id, decimal.
    pub guid: String,
    /// Health.
    pub state: Health,
    /// What is wrong, in ZFS's words, where something is.
    pub detail: Option<String>,
    /// What to do about it, in ZFS's words.
    pub action: Option<String>,
    /// Bytes, parity of raidz included.
    pub size: u64,
    /// Bytes in use.
    pub allocated: u64,
    /// Bytes free.
    pub free: u64,
    /// How scattered the free space is, percent, where ZFS knows.
    pub fragmentation: Option<u8>,
    /// Base-2 logarithm of the smallest write, bytes.
    pub ashift: Option<u8>,
    /// Freed blocks are told to the devices at once.
    pub autotrim: bool,
    /// Imported for reading only.
    pub read_only: bool,
    /// Files and blocks that are damaged for good.
    pub data_errors: u64,
    /// The last scrub or resilver.
    pub scan: Option<Scan>,
    /// What it is made of.
    pub vdevs: Vec<Vdev>,
    /// It keeps the node's own state.
    pub holds_state: bool,
}

/// A pool to be made (body of `PUT /v1/pools/{name}`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PoolSpec {
    /// How the disks are put together.
    pub layout: PoolLayout,
    /// The disks: `serial:…`, `wwid:…`, `pci:…` or `system`.
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub disks: Vec<DiskChoice>,
    /// Those of them that are overwritten whatever is on them.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Vec<String>))]
    pub erase: Vec<DiskChoice>,
    /// Base-2 logarithm of the smallest write in bytes, 9 to 16. Absent: by the disks.
    #[serde(default)]
    pub ashift: Option<u8>,
    /// Compression of what is stored.
    #[serde(default)]
    pub compression: Compression,
}

/// A disk, and whether a pool may be made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PoolDisk {
    /// How a pool's declaration names it; absent where it has neither serial number, identifier nor PCI function.
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub choice: Option<DiskChoice>,
    /// What it is.
    pub disk: Disk,
    /// Nothing is on it that anybody could miss.
    pub empty: bool,
    /// What is on it: `partition table (GPT)`, `pool tank`, `ext4`.
    pub contents: Vec<String>,
}

/// What a scrub is to do (body of `POST /v1/pools/{name}/scrub`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ScrubRequest {
    /// Absent: start.
    #[serde(default)]
    pub action: ScrubAction,
}

/// What a scrub is to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ScrubAction {
    /// Begin, or go on where it was paused.
    #[default]
    Start,
    /// Stand still.
    Pause,
    /// Give up.
    Stop,
}

/// A device of a pool that another disk is to take the place of (body of `POST /v1/pools/{name}/replace`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ReplaceRequest {
    /// The device: its id, its name in the pool, or its disk.
    pub device: String,
    /// The new disk: `serial:…`, `wwid:…`, `pci:…` or `system`.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub disk: DiskChoice,
    /// Overwrite the new disk whatever is on it.
    #[serde(default)]
    pub erase: bool,
}

/// A device of a pool that is taken out of use or put back (body of `POST /v1/pools/{name}/device`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DeviceRequest {
    /// The device: its id, its name in the pool, or its disk.
    pub device: String,
    /// What is done.
    pub action: DeviceAction,
}

/// What is done with a device of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum DeviceAction {
    /// Put it to use again.
    Online,
    /// Take it out of use.
    Offline,
    /// Forget it: the half of a mirror that is not needed, the old one of a replacement.
    Detach,
    /// Forget its errors.
    Clear,
}

/// A pool that is on disks and not imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FoundPool {
    /// Name.
    pub name: String,
    /// Id, decimal.
    pub guid: String,
    /// It was given back (exported) by whoever had it.
    pub exported: bool,
    /// The host that had it last, where that is not this node: name and id.
    pub foreign_host: Option<String>,
    /// Device nodes of it that were seen.
    pub devices: Vec<String>,
}

/// A pool to be imported (body of `POST /v1/pools/{name}/import`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ImportRequest {
    /// Even if another host had it last and did not give it back.
    pub take_over: bool,
}
