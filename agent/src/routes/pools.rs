//! `/v1/pools` and `/v1/storage`: ZFS pools, and the disks that they can be made of.

use std::sync::Arc;

use axion_api::problem::Problem;
use axion_api::storage::{
    Answer as Told, Call, DeviceRequest, FoundPool, ImportRequest, Pool, PoolDisk, PoolSpec, ReplaceRequest,
    ScrubRequest,
};
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::Answer;
use super::extract::Json;
use crate::app::App;
use crate::storage::{ask, done, unexpected};

async fn one(app: &App, call: &Call) -> Result<(Pool, bool), Problem> {
    match ask(&app.init, call).await? {
        Told::Pool(pool, new) => Ok((*pool, new)),
        _ => Err(unexpected()),
    }
}

async fn all(app: &App) -> Result<Vec<Pool>, Problem> {
    match ask(&app.init, &Call::Pools).await? {
        Told::Pools(pools) => Ok(pools),
        _ => Err(unexpected()),
    }
}

/// Every pool that is imported, with its devices and their health.
#[utoipa::path(get, path = "/v1/pools", tag = "storage", responses((status = 200, body = Vec<Pool>)))]
pub async fn list(State(app): State<Arc<App>>) -> Answer<axum::Json<Vec<Pool>>> {
    Ok(axum::Json(all(&app).await?))
}

/// One pool.
#[utoipa::path(get, path = "/v1/pools/{name}", tag = "storage",
    params(("name" = String, Path, description = "Name of the pool")),
    responses((status = 200, body = Pool)))]
pub async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<axum::Json<Pool>> {
    Ok(axum::Json(one(&app, &Call::Pool { name }).await?.0))
}

/// Makes a pool of whole disks, which must be empty or named in `erase`. One that is there of the same disks stays as it is.
#[utoipa::path(put, path = "/v1/pools/{name}", tag = "storage", request_body = PoolSpec,
    params(("name" = String, Path, description = "Name of the pool: up to 40 of a-z, A-Z, 0-9, `_`, `-` and `.`, starting with a letter")),
    responses((status = 201, body = Pool, description = "Made"), (status = 200, body = Pool, description = "It was there")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(spec): Json<PoolSpec>,
) -> Answer<(StatusCode, axum::Json<Pool>)> {
    let (pool, new) = one(&app, &Call::CreatePool { name, spec }).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(pool)))
}

/// Destroys a pool and everything in it.
#[utoipa::path(delete, path = "/v1/pools/{name}", tag = "storage",
    params(("name" = String, Path, description = "Name of the pool")),
    responses((status = 204, description = "Destroyed")))]
pub async fn delete(State(app): State<Arc<App>>, Path(pool): Path<String>) -> Answer<StatusCode> {
    done(&app.init, &Call::DestroyPool { pool }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Imports a pool that is on disks, and mounts what is in it.
#[utoipa::path(post, path = "/v1/pools/{name}/import", tag = "storage", request_body = ImportRequest,
    params(("name" = String, Path, description = "Name of the pool, or its id")),
    responses((status = 200, body = Pool)))]
pub async fn import(
    State(app): State<Arc<App>>,
    Path(pool): Path<String>,
    Json(request): Json<ImportRequest>,
) -> Answer<axum::Json<Pool>> {
    let take_over = request.take_over;
    Ok(axum::Json(
        one(&app, &Call::ImportPool { pool, take_over }).await?.0,
    ))
}

/// Gives a pool back, so that any host may import it.
#[utoipa::path(post, path = "/v1/pools/{name}/export", tag = "storage",
    params(("name" = String, Path, description = "Name of the pool")),
    responses((status = 204, description = "Exported")))]
pub async fn export(State(app): State<Arc<App>>, Path(pool): Path<String>) -> Answer<StatusCode> {
    done(&app.init, &Call::ExportPool { pool }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts, pauses or stops a scrub: everything is read, and what is damaged is repaired.
#[utoipa::path(post, path = "/v1/pools/{name}/scrub", tag = "storage", request_body = ScrubRequest,
    params(("name" = String, Path, description = "Name of the pool")),
    responses((status = 202, description = "Under way, or as it was asked for")))]
pub async fn scrub(
    State(app): State<Arc<App>>,
    Path(pool): Path<String>,
    Json(request): Json<ScrubRequest>,
) -> Answer<StatusCode> {
    let action = request.action;
    done(&app.init, &Call::Scrub { pool, action }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Has another disk take the place of a device.
#[utoipa::path(post, path = "/v1/pools/{name}/replace", tag = "storage", request_body = ReplaceRequest,
    params(("name" = String, Path, description = "Name of the pool")),
    responses((status = 202, description = "The new disk is being brought up to date")))]
pub async fn replace(
    State(app): State<Arc<App>>,
    Path(pool): Path<String>,
    Json(request): Json<ReplaceRequest>,
) -> Answer<StatusCode> {
    done(&app.init, &Call::Replace { pool, request }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// Takes a device out of use, puts it back, forgets it or its errors.
#[utoipa::path(post, path = "/v1/pools/{name}/device", tag = "storage", request_body = DeviceRequest,
    params(("name" = String, Path, description = "Name of the pool")),
    responses((status = 204, description = "Done")))]
pub async fn device(
    State(app): State<Arc<App>>,
    Path(pool): Path<String>,
    Json(request): Json<DeviceRequest>,
) -> Answer<StatusCode> {
    done(&app.init, &Call::Device { pool, request }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Pools that are on disks and not imported, and who had them last.
#[utoipa::path(get, path = "/v1/storage/found", tag = "storage", responses((status = 200, body = Vec<FoundPool>)))]
pub async fn found(State(app): State<Arc<App>>) -> Answer<axum::Json<Vec<FoundPool>>> {
    match ask(&app.init, &Call::FoundPools).await? {
        Told::FoundPools(pools) => Ok(axum::Json(pools)),
        _ => Err(unexpected().into()),
    }
}

/// Disks, how a pool names them, and what is on them.
#[utoipa::path(get, path = "/v1/storage/disks", tag = "storage", responses((status = 200, body = Vec<PoolDisk>)))]
pub async fn disks(State(app): State<Arc<App>>) -> Answer<axum::Json<Vec<PoolDisk>>> {
    match ask(&app.init, &Call::Disks).await? {
        Told::Disks(disks) => Ok(axum::Json(disks)),
        _ => Err(unexpected().into()),
    }
}
