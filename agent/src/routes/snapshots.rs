//! `/v1/snapshots`: datasets as they were. A name's `/` is written `%2F`.

use std::sync::Arc;

use axion_api::storage::{Answer as Told, Call, CloneSpec, Dataset, RollbackRequest, Snapshot, SnapshotSpec};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Answer;
use super::datasets::{Recursive, one};
use super::extract::Json;
use crate::app::App;
use crate::storage::{ask, done, unexpected};

/// Which snapshots.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SnapshotQuery {
    /// Those of this dataset; absent: all.
    dataset: Option<String>,
}

/// Snapshots, oldest first.
#[utoipa::path(get, path = "/v1/snapshots", tag = "storage", params(SnapshotQuery),
    responses((status = 200, body = Vec<Snapshot>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<SnapshotQuery>,
) -> Answer<axum::Json<Vec<Snapshot>>> {
    let dataset = query.dataset;
    match ask(&app.init, &Call::Snapshots { dataset }).await? {
        Told::Snapshots(snapshots) => Ok(axum::Json(snapshots)),
        _ => Err(unexpected().into()),
    }
}

/// Makes a snapshot; one that is there stays as it is.
#[utoipa::path(put, path = "/v1/snapshots/{name}", tag = "storage", request_body = SnapshotSpec,
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`: `tank%2Fscratch@monday`")),
    responses((status = 201, body = Snapshot, description = "Made"), (status = 200, body = Snapshot, description = "It was there")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(SnapshotSpec { recursive }): Json<SnapshotSpec>,
) -> Answer<(StatusCode, axum::Json<Snapshot>)> {
    match ask(&app.init, &Call::PutSnapshot { name, recursive }).await? {
        Told::Snapshot(snapshot, true) => Ok((StatusCode::CREATED, axum::Json(snapshot))),
        Told::Snapshot(snapshot, false) => Ok((StatusCode::OK, axum::Json(snapshot))),
        _ => Err(unexpected().into()),
    }
}

/// Destroys a snapshot; the dataset stays.
#[utoipa::path(delete, path = "/v1/snapshots/{name}", tag = "storage",
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`"), Recursive),
    responses((status = 204, description = "Destroyed")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Recursive { recursive }): Query<Recursive>,
) -> Answer<StatusCode> {
    done(&app.init, &Call::DestroySnapshot { name, recursive }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sets the dataset back to a snapshot. What was written since is lost.
#[utoipa::path(post, path = "/v1/snapshots/{name}/rollback", tag = "storage", request_body = RollbackRequest,
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`")),
    responses((status = 204, description = "The dataset is as it was")))]
pub async fn rollback(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(RollbackRequest { discard_newer }): Json<RollbackRequest>,
) -> Answer<StatusCode> {
    done(&app.init, &Call::Rollback { name, discard_newer }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a dataset of a snapshot; it takes room only for what is changed in it.
#[utoipa::path(post, path = "/v1/snapshots/{name}/clone", tag = "storage", request_body = CloneSpec,
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`")),
    responses((status = 201, body = Dataset)))]
pub async fn clone(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(spec): Json<CloneSpec>,
) -> Answer<(StatusCode, axum::Json<Dataset>)> {
    let (dataset, _) = one(&app, &Call::Clone { name, spec }).await?;
    Ok((StatusCode::CREATED, axum::Json(dataset)))
}
