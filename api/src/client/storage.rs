//! Pools, datasets and snapshots of a node.

use http::Method;

use super::request::{Call, segment};
use super::{Client, Error};
use crate::storage::{
    CloneSpec, Dataset, DatasetSpec, DeviceRequest, Encryption, FoundPool, ImportRequest, Key, Pool,
    PoolDisk, PoolSpec, ReplaceRequest, RollbackRequest, ScrubAction, ScrubRequest, Snapshot, SnapshotSpec,
};

fn pool_path(name: &str, rest: &str) -> String {
    format!("/v1/pools/{}{rest}", segment(name))
}

fn dataset_path(name: &str, rest: &str) -> String {
    format!("/v1/datasets/{}{rest}", segment(name))
}

fn snapshot_path(name: &str, rest: &str) -> String {
    format!("/v1/snapshots/{}{rest}", segment(name))
}

fn volume_path(volume: &str, snapshot: &str) -> String {
    let of = format!("/v1/volumes/{}/snapshots", segment(volume));
    if snapshot.is_empty() {
        of
    } else {
        format!("{of}/{}", segment(snapshot))
    }
}

fn recursive(wanted: bool) -> &'static str {
    if wanted { "?recursive=true" } else { "" }
}

/// # Errors
/// Every call: see [`Error`]. What ZFS refuses is an [`Error::Problem`] with its words.
impl Client {
    /// `GET /v1/pools`.
    pub async fn pools(&self) -> Result<Vec<Pool>, Error> {
        self.get("/v1/pools").await
    }

    /// `GET /v1/pools/{name}`.
    pub async fn pool(&self, name: &str) -> Result<Pool, Error> {
        self.get(pool_path(name, "")).await
    }

    /// `GET /v1/storage/disks`: disks, and what is on them.
    pub async fn pool_disks(&self) -> Result<Vec<PoolDisk>, Error> {
        self.get("/v1/storage/disks").await
    }

    /// `GET /v1/storage/found`: pools that are not imported.
    pub async fn found_pools(&self) -> Result<Vec<FoundPool>, Error> {
        self.get("/v1/storage/found").await
    }

    /// `PUT /v1/pools/{name}`: makes a pool. Disks take their time; see [`Client::with_timeout`].
    pub async fn put_pool(&self, name: &str, spec: &PoolSpec) -> Result<Pool, Error> {
        self.json(Call::new(Method::PUT, pool_path(name, "")).json(spec))
            .await
    }

    /// `DELETE /v1/pools/{name}`: destroys a pool and everything in it.
    pub async fn destroy_pool(&self, name: &str) -> Result<(), Error> {
        self.done(Call::new(Method::DELETE, pool_path(name, ""))).await
    }

    /// `POST /v1/pools/{name}/import`, by name or id.
    pub async fn import_pool(&self, name: &str, take_over: bool) -> Result<Pool, Error> {
        let call = Call::new(Method::POST, pool_path(name, "/import"));
        self.json(call.json(&ImportRequest { take_over })).await
    }

    /// `POST /v1/pools/{name}/export`.
    pub async fn export_pool(&self, name: &str) -> Result<(), Error> {
        self.done(Call::new(Method::POST, pool_path(name, "/export")))
            .await
    }

    /// `POST /v1/pools/{name}/scrub`.
    pub async fn scrub_pool(&self, name: &str, action: ScrubAction) -> Result<(), Error> {
        let call = Call::new(Method::POST, pool_path(name, "/scrub"));
        self.done(call.json(&ScrubRequest { action })).await
    }

    /// `POST /v1/pools/{name}/replace`.
    pub async fn replace_device(&self, pool: &str, request: &ReplaceRequest) -> Result<(), Error> {
        let call = Call::new(Method::POST, pool_path(pool, "/replace"));
        self.done(call.json(request)).await
    }

    /// `POST /v1/pools/{name}/device`.
    pub async fn pool_device(&self, pool: &str, request: &DeviceRequest) -> Result<(), Error> {
        let call = Call::new(Method::POST, pool_path(pool, "/device"));
        self.done(call.json(request)).await
    }

    /// `GET /v1/datasets`: all, or `under` and what is below it.
    pub async fn datasets(&self, under: Option<&str>) -> Result<Vec<Dataset>, Error> {
        let query = under.map(|name| format!("?under={}", segment(name)));
        self.get(format!("/v1/datasets{}", query.unwrap_or_default()))
            .await
    }

    /// `GET /v1/datasets/{name}`.
    pub async fn dataset(&self, name: &str) -> Result<Dataset, Error> {
        self.get(dataset_path(name, "")).await
    }

    /// `PUT /v1/datasets/{name}`: makes or changes a dataset.
    pub async fn put_dataset(&self, name: &str, spec: &DatasetSpec) -> Result<Dataset, Error> {
        self.json(Call::new(Method::PUT, dataset_path(name, "")).json(spec))
            .await
    }

    /// `DELETE /v1/datasets/{name}`.
    pub async fn destroy_dataset(&self, name: &str, below_too: bool) -> Result<(), Error> {
        let path = dataset_path(name, recursive(below_too));
        self.done(Call::new(Method::DELETE, path)).await
    }

    /// `POST /v1/datasets/{name}/load-key`.
    pub async fn load_key(&self, name: &str, key: Key) -> Result<(), Error> {
        let call = Call::new(Method::POST, dataset_path(name, "/load-key"));
        self.done(call.json(&Encryption { key })).await
    }

    /// `POST /v1/datasets/{name}/unload-key`.
    pub async fn unload_key(&self, name: &str) -> Result<(), Error> {
        self.done(Call::new(Method::POST, dataset_path(name, "/unload-key")))
            .await
    }

    /// `GET /v1/snapshots`: all, or those of one dataset.
    pub async fn snapshots(&self, dataset: Option<&str>) -> Result<Vec<Snapshot>, Error> {
        let query = dataset.map(|name| format!("?dataset={}", segment(name)));
        self.get(format!("/v1/snapshots{}", query.unwrap_or_default()))
            .await
    }

    /// `PUT /v1/snapshots/{name}`: makes a snapshot.
    pub async fn put_snapshot(&self, name: &str, spec: SnapshotSpec) -> Result<Snapshot, Error> {
        self.json(Call::new(Method::PUT, snapshot_path(name, "")).json(&spec))
            .await
    }

    /// `DELETE /v1/snapshots/{name}`.
    pub async fn destroy_snapshot(&self, name: &str, below_too: bool) -> Result<(), Error> {
        let path = snapshot_path(name, recursive(below_too));
        self.done(Call::new(Method::DELETE, path)).await
    }

    /// `POST /v1/snapshots/{name}/rollback`.
    pub async fn rollback(&self, name: &str, discard_newer: bool) -> Result<(), Error> {
        let call = Call::new(Method::POST, snapshot_path(name, "/rollback"));
        self.done(call.json(&RollbackRequest { discard_newer })).await
    }

    /// `POST /v1/snapshots/{name}/clone`: makes the dataset `new` of it.
    pub async fn clone_snapshot(&self, name: &str, new: &str) -> Result<Dataset, Error> {
        let call = Call::new(Method::POST, snapshot_path(name, "/clone"));
        let name = new.to_owned();
        self.json(call.json(&CloneSpec { name })).await
    }

    /// `GET /v1/volumes/{name}/snapshots`: oldest first.
    pub async fn volume_snapshots(&self, volume: &str) -> Result<Vec<Snapshot>, Error> {
        self.get(volume_path(volume, "")).await
    }

    /// `PUT /v1/volumes/{name}/snapshots/{snapshot}`.
    pub async fn put_volume_snapshot(&self, volume: &str, snapshot: &str) -> Result<Snapshot, Error> {
        self.json(Call::new(Method::PUT, volume_path(volume, snapshot)))
            .await
    }

    /// `DELETE /v1/volumes/{name}/snapshots/{snapshot}`.
    pub async fn destroy_volume_snapshot(&self, volume: &str, snapshot: &str) -> Result<(), Error> {
        self.done(Call::new(Method::DELETE, volume_path(volume, snapshot)))
            .await
    }

    /// `POST /v1/volumes/{name}/snapshots/{snapshot}/rollback`.
    pub async fn roll_volume_back(
        &self,
        volume: &str,
        snapshot: &str,
        discard_newer: bool,
    ) -> Result<(), Error> {
        let path = format!("{}/rollback", volume_path(volume, snapshot));
        let call = Call::new(Method::POST, path);
        self.done(call.json(&RollbackRequest { discard_newer })).await
    }
}
