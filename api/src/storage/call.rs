//! What the agent asks of init.
//!
//! `Storage` of `org.axion.Init1` takes the JSON of a [`Call`] and gives the JSON of an [`Answer`]: a vdev tree has no D-Bus
//! type, as it contains itself. `BeginStream` takes the JSON of a [`Stream`], and gives one end of a pipe.

use serde::{Deserialize, Serialize};

use super::{
    CloneSpec, Dataset, DatasetSpec, DeviceRequest, FoundPool, Key, Pool, PoolDisk, PoolSpec, ReceiveOptions,
    ReplaceRequest, ScrubAction, SendOptions, Snapshot,
};
use crate::problem::Problem;
use axion_core::quantity::ByteSize;

/// Something to be done with pools, datasets or snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are those of the routes")]
pub enum Call {
    /// Every imported pool.
    Pools,
    /// One imported pool.
    Pool { name: String },
    /// Pools that are on disks and not imported.
    FoundPools,
    /// Disks, and what is on them.
    Disks,
    /// Makes a pool.
    CreatePool { name: String, spec: PoolSpec },
    /// Imports a pool, by its name or id.
    ImportPool { pool: String, take_over: bool },
    /// Gives a pool back.
    ExportPool { pool: String },
    /// Destroys a pool.
    DestroyPool { pool: String },
    /// Starts, pauses or stops a scrub.
    Scrub { pool: String, action: ScrubAction },
    /// Replaces a device.
    Replace { pool: String, request: ReplaceRequest },
    /// Takes a device out of use or puts it back.
    Device { pool: String, request: DeviceRequest },
    /// File systems and zvols: all, or one and what is below it.
    Datasets { under: Option<String> },
    /// One file system or zvol.
    Dataset { name: String },
    /// Makes or changes a dataset.
    PutDataset { name: String, spec: DatasetSpec },
    /// Destroys a dataset, with everything below it where `recursive` says so.
    DestroyDataset { name: String, recursive: bool },
    /// Loads the key of a dataset, and mounts it.
    LoadKey { name: String, key: Key },
    /// Unmounts a dataset and forgets its key.
    UnloadKey { name: String },
    /// Snapshots: all, or those of one dataset.
    Snapshots { dataset: Option<String> },
    /// Makes a snapshot.
    PutSnapshot { name: String, recursive: bool },
    /// Destroys a snapshot, and those of the same name below where `recursive` says so.
    DestroySnapshot { name: String, recursive: bool },
    /// Sets a dataset back to a snapshot.
    Rollback { name: String, discard_newer: bool },
    /// Makes a dataset of a snapshot.
    Clone { name: String, spec: CloneSpec },
    /// Forgets what was received of a dataset before the stream broke off.
    AbortReceive { name: String },
    /// Every zvol that is a volume of VMs.
    Volumes,
    /// Makes a volume's zvol; what is there of that name is replaced.
    MakeVolume {
        pool: String,
        name: String,
        spec: ZvolSpec,
    },
    /// Makes a volume's zvol larger.
    GrowVolume {
        pool: String,
        name: String,
        size: ByteSize,
    },
    /// Destroys a volume's zvol and its snapshots.
    DestroyVolume { pool: String, name: String },
    /// Sets a volume's zvol back to a snapshot. Whoever calls has made sure that nobody has it open.
    RollbackVolume {
        pool: String,
        name: String,
        snapshot: String,
        discard_newer: bool,
    },
}

/// The zvol of a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZvolSpec {
    /// Size.
    pub size: ByteSize,
    /// Block size; absent: by the pool.
    pub block_size: Option<ByteSize>,
    /// Keep room for all of it.
    pub reserved: bool,
    /// The snapshot that it is a clone of, by its whole name.
    pub from: Option<String>,
}

/// A dataset's bytes on their way. Init gives the end of a pipe that `zfs` reads from or writes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stream", rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the fields are those of the routes")]
pub enum Stream {
    /// What is in a snapshot.
    Send { name: String, options: SendOptions },
    /// What a dataset is to become.
    Receive { name: String, options: ReceiveOptions },
}

/// What came of a [`Call`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// Pools.
    Pools(Vec<Pool>),
    /// One pool, and whether it is new.
    Pool(Box<Pool>, bool),
    /// Pools that are not imported.
    FoundPools(Vec<FoundPool>),
    /// Disks.
    Disks(Vec<PoolDisk>),
    /// Datasets.
    Datasets(Vec<Dataset>),
    /// One dataset, and whether it is new.
    Dataset(Box<Dataset>, bool),
    /// Snapshots.
    Snapshots(Vec<Snapshot>),
    /// One snapshot, and whether it is new.
    Snapshot(Snapshot, bool),
    /// It was refused, or it failed.
    Problem(Problem),
}
