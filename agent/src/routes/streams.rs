//! Datasets as streams: `/v1/snapshots/{name}/stream` and `/v1/datasets/{name}/receive`.

use std::sync::Arc;

use axion_api::storage::{Call, Dataset, ReceiveOptions, SendOptions};
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};

use super::Answer;
use super::extract::arriving;
use crate::app::App;
use crate::storage::done;
use crate::streams;

const BYTES: &str = "application/octet-stream";

/// What is in a snapshot, as `zfs receive` takes it. A stream that breaks off has failed: its reason is in the node's log.
#[utoipa::path(get, path = "/v1/snapshots/{name}/stream", tag = "storage",
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`: `tank%2Fscratch@monday`"), SendOptions),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub async fn send(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(options): Query<SendOptions>,
) -> Answer<([(HeaderName, &'static str); 1], Body)> {
    let parts = streams::send(&app.init, name, options).await?;
    Ok(([(CONTENT_TYPE, BYTES)], Body::from_stream(parts)))
}

/// Makes a dataset of a stream, or brings one up to date. Of one that breaks off nothing is left, unless it is to go on later.
#[utoipa::path(post, path = "/v1/datasets/{name}/receive", tag = "storage",
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`; what is above it must be there"), ReceiveOptions),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "What `GET /v1/snapshots/{name}/stream` gives"),
    responses((status = 201, body = Dataset, description = "Received")))]
pub async fn receive(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(options): Query<ReceiveOptions>,
    body: Body,
) -> Answer<(StatusCode, axum::Json<Dataset>)> {
    let dataset = streams::receive(&app.init, name, options, arriving(body)).await?;
    Ok((StatusCode::CREATED, axum::Json(dataset)))
}

/// Forgets what arrived of a stream that broke off.
#[utoipa::path(delete, path = "/v1/datasets/{name}/receive", tag = "storage",
    params(("name" = String, Path, description = "Whole name, its `/` as `%2F`")),
    responses((status = 204, description = "Nothing of it is left")))]
pub async fn abort(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<StatusCode> {
    done(&app.init, &Call::AbortReceive { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
