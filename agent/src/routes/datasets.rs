//! `/v1/datasets`: file systems and zvols. A name's `/` is written `%2F`.

use std::sync::Arc;

use axion_api::problem::Problem;
use axion_api::storage::{Answer as Told, Call, Dataset, DatasetSpec, Encryption};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Answer;
use super::extract::Json;
use crate::app::App;
use crate::storage::{ask, done, unexpected};

pub(super) async fn one(app: &App, call: &Call) -> Result<(Dataset, bool), Problem> {
    match ask(&app.init, call).await? {
        Told::Dataset(dataset, new) => Ok((*dataset, new)),
        _ => Err(unexpected()),
    }
}

/// Which datasets.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DatasetQuery {
    /// This one and what is below it; absent: all.
    under: Option<String>,
}

/// Whether what is below goes too.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Recursive {
    /// What is below goes too.
    #[serde(default)]
    pub(super) recursive: bool,
}

/// Every file system and zvol.
#[utoipa::path(get, path = "/v1/datasets", tag = "storage", params(DatasetQuery),
    responses((status = 200, body = Vec<Dataset>)))]
pub async fn list(
    State(app): State<Arc<App>>,
    Query(query): Query<DatasetQuery>,
) -> Answer<axum::Json<Vec<Dataset>>> {
    match ask(&app.init, &Call::Datasets { under: query.under }).await? {
        Told::Datasets(datasets) => Ok(axum::Json(datasets)),
        _ => Err(unexpected().into()),
    }
}

/// One file system or zvol.
#[utoipa::path(get, path = "/v1/datasets/{name}", tag = "storage",
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`: `tank%2Fscratch`")),
    responses((status = 200, body = Dataset)))]
pub async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<axum::Json<Dataset>> {
    Ok(axum::Json(one(&app, &Call::Dataset { name }).await?.0))
}

/// Makes a dataset, or changes what can be changed of one: limits, compression, the size of a zvol upwards.
#[utoipa::path(put, path = "/v1/datasets/{name}", tag = "storage", request_body = DatasetSpec,
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`; what is above it must be there")),
    responses((status = 201, body = Dataset, description = "Made"), (status = 200, body = Dataset, description = "Changed, or as it was")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(spec): Json<DatasetSpec>,
) -> Answer<(StatusCode, axum::Json<Dataset>)> {
    let (dataset, new) = one(&app, &Call::PutDataset { name, spec }).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(dataset)))
}

/// Destroys a dataset and its data.
#[utoipa::path(delete, path = "/v1/datasets/{name}", tag = "storage",
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`"), Recursive),
    responses((status = 204, description = "Destroyed")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Recursive { recursive }): Query<Recursive>,
) -> Answer<StatusCode> {
    done(&app.init, &Call::DestroyDataset { name, recursive }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unlocks an encrypted dataset, and mounts it.
#[utoipa::path(post, path = "/v1/datasets/{name}/load-key", tag = "storage", request_body = Encryption,
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`")),
    responses((status = 204, description = "Its key is loaded")))]
pub async fn load_key(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(encryption): Json<Encryption>,
) -> Answer<StatusCode> {
    let key = encryption.key;
    done(&app.init, &Call::LoadKey { name, key }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unmounts an encrypted dataset, and forgets its key.
#[utoipa::path(post, path = "/v1/datasets/{name}/unload-key", tag = "storage",
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`")),
    responses((status = 204, description = "Its key is forgotten")))]
pub async fn unload_key(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<StatusCode> {
    done(&app.init, &Call::UnloadKey { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
