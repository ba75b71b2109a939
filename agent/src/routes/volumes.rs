//! `/v1/volumes`: disks that the node keeps.

use std::sync::Arc;

use axion_api::storage::{RollbackRequest, Snapshot};
use axion_api::volume::{Volume, VolumeSpec};
use axum::extract::{Path, Query, State};
use axum::http::header::ETAG;
use axum::http::{HeaderName, StatusCode};

use super::Answer;
use super::extract::Json;
use crate::app::App;
use crate::store::Precondition;

/// A volume with its revision as entity tag.
type Tagged = ([(HeaderName, String); 1], axum::Json<Volume>);

fn tagged(volume: Volume) -> Tagged {
    ([(ETAG, format!("\"{}\"", volume.revision))], axum::Json(volume))
}

/// Every volume.
#[utoipa::path(get, path = "/v1/volumes", tag = "volumes", responses((status = 200, body = Vec<Volume>)))]
pub async fn list(State(app): State<Arc<App>>) -> Answer<axum::Json<Vec<Volume>>> {
    let uses = app.vms.uses().await?;
    Ok(axum::Json(app.volumes.list(|name| uses.volume(name)).await?))
}

/// One volume.
#[utoipa::path(get, path = "/v1/volumes/{name}", tag = "volumes",
    params(("name" = String, Path, description = "Name of the volume")),
    responses((status = 200, body = Volume, headers(("ETag" = String, description = "Its revision, in quotes")))))]
pub async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<Tagged> {
    let uses = app.vms.uses().await?;
    Ok(tagged(app.volumes.get(&name, |name| uses.volume(name)).await?))
}

/// Makes a volume, or makes one larger. The same spec again changes nothing, and what is on the volume stays.
#[utoipa::path(put, path = "/v1/volumes/{name}", tag = "volumes", request_body = VolumeSpec,
    params(
        ("name" = String, Path, description = "Name of the volume: 1 to 40 of a-z, 0-9 and `-`, starting with a letter"),
        ("If-Match" = Option<String>, Header, description = "`\"REVISION\"`, or `*`: it must exist"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it must not exist"),
    ),
    responses((status = 201, body = Volume, description = "Made"), (status = 200, body = Volume, description = "It was there, or has grown")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    condition: Precondition,
    Json(spec): Json<VolumeSpec>,
) -> Answer<(StatusCode, Tagged)> {
    let uses = app.vms.uses().await?;
    let put = app.volumes.put(&name, spec, &condition, |name| uses.volume(name));
    let (volume, new) = put.await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(volume)))
}

/// Whether the record goes without what is on the disks.
#[derive(Debug, serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Forget {
    /// Forget a volume whose pool is not imported. What is on it stays on the pool's disks.
    #[serde(default)]
    forget: bool,
}

/// Deletes a volume that no VM has, and what is on it.
#[utoipa::path(delete, path = "/v1/volumes/{name}", tag = "volumes",
    params(
        ("name" = String, Path, description = "Name of the volume"),
        Forget,
        ("If-Match" = Option<String>, Header, description = "`\"REVISION\"`"),
    ),
    responses((status = 204, description = "Deleted")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Forget { forget }): Query<Forget>,
    condition: Precondition,
) -> Answer<StatusCode> {
    app.vms.delete_volume(&name, forget, &condition).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Snapshots of a volume that is a zvol, oldest first.
#[utoipa::path(get, path = "/v1/volumes/{name}/snapshots", tag = "volumes",
    params(("name" = String, Path, description = "Name of the volume")),
    responses((status = 200, body = Vec<Snapshot>)))]
pub async fn snapshots(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Answer<axum::Json<Vec<Snapshot>>> {
    Ok(axum::Json(app.volumes.snapshots(&name).await?))
}

/// Makes a snapshot of a volume, whether a VM writes to it or not; one that is there stays as it is.
#[utoipa::path(put, path = "/v1/volumes/{name}/snapshots/{snapshot}", tag = "volumes",
    params(
        ("name" = String, Path, description = "Name of the volume"),
        ("snapshot" = String, Path, description = "Name of the snapshot: the part behind `@`"),
    ),
    responses((status = 201, body = Snapshot, description = "Made"), (status = 200, body = Snapshot, description = "It was there")))]
pub async fn put_snapshot(
    State(app): State<Arc<App>>,
    Path((name, snapshot)): Path<(String, String)>,
) -> Answer<(StatusCode, axum::Json<Snapshot>)> {
    let (snapshot, new) = app.volumes.put_snapshot(&name, &snapshot).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(snapshot)))
}

/// Destroys a snapshot of a volume; the volume stays.
#[utoipa::path(delete, path = "/v1/volumes/{name}/snapshots/{snapshot}", tag = "volumes",
    params(
        ("name" = String, Path, description = "Name of the volume"),
        ("snapshot" = String, Path, description = "Name of the snapshot"),
    ),
    responses((status = 204, description = "Destroyed")))]
pub async fn delete_snapshot(
    State(app): State<Arc<App>>,
    Path((name, snapshot)): Path<(String, String)>,
) -> Answer<StatusCode> {
    app.volumes.delete_snapshot(&name, &snapshot).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets a volume back to a snapshot, while no VM that is on has it. What was written since is lost.
#[utoipa::path(post, path = "/v1/volumes/{name}/snapshots/{snapshot}/rollback", tag = "volumes",
    request_body = RollbackRequest,
    params(
        ("name" = String, Path, description = "Name of the volume"),
        ("snapshot" = String, Path, description = "Name of the snapshot"),
    ),
    responses((status = 204, description = "The volume is as it was")))]
pub async fn rollback(
    State(app): State<Arc<App>>,
    Path((name, snapshot)): Path<(String, String)>,
    Json(RollbackRequest { discard_newer }): Json<RollbackRequest>,
) -> Answer<StatusCode> {
    app.vms.roll_volume_back(&name, &snapshot, discard_newer).await?;
    Ok(StatusCode::NO_CONTENT)
}
