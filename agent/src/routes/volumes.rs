//! `/v1/volumes`: disks that the node keeps.

use std::sync::Arc;

use axion_api::volume::{Volume, VolumeSpec};
use axum::extract::{Path, State};
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

/// Makes a volume. The same spec again changes nothing, and what is on the volume stays.
#[utoipa::path(put, path = "/v1/volumes/{name}", tag = "volumes", request_body = VolumeSpec,
    params(
        ("name" = String, Path, description = "Name of the volume: 1 to 40 of a-z, 0-9 and `-`, starting with a letter"),
        ("If-Match" = Option<String>, Header, description = "`\"REVISION\"`, or `*`: it must exist"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it must not exist"),
    ),
    responses((status = 201, body = Volume, description = "Made"), (status = 200, body = Volume, description = "It was there")))]
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

/// Deletes a volume that no VM has, and what is on it.
#[utoipa::path(delete, path = "/v1/volumes/{name}", tag = "volumes",
    params(
        ("name" = String, Path, description = "Name of the volume"),
        ("If-Match" = Option<String>, Header, description = "`\"REVISION\"`"),
    ),
    responses((status = 204, description = "Deleted")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    condition: Precondition,
) -> Answer<StatusCode> {
    app.vms.delete_volume(&name, &condition).await?;
    Ok(StatusCode::NO_CONTENT)
}
