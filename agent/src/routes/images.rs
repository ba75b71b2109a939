//! `/v1/images`: guest kernels, initial RAM disks and disk images.

use std::sync::Arc;

use axion_api::problem::{Kind, Problem};
use axion_api::vm::Image;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_LENGTH;
use axum::http::{HeaderMap, StatusCode};

use super::Answer;
use super::extract::arriving;
use crate::app::App;
use crate::images::Digest;
use crate::log::chain;

/// Every image.
#[utoipa::path(get, path = "/v1/images", tag = "images", responses((status = 200, body = Vec<Image>)))]
pub async fn list(State(app): State<Arc<App>>) -> Answer<axum::Json<Vec<Image>>> {
    let images = app.images.list().await;
    Ok(axum::Json(
        images.map_err(|error| Problem::new(Kind::Internal, chain(&error)))?,
    ))
}

/// Uploads an image; its body must have the digest that the path names.
#[utoipa::path(put, path = "/v1/images/{digest}", tag = "images",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits (lower case)")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "At most 4 GiB"),
    responses((status = 201, body = Image, description = "Stored"), (status = 200, body = Image, description = "It was there")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Answer<(StatusCode, axum::Json<Image>)> {
    let digest: Digest = digest.parse()?;
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let (image, new) = app.images.put(digest, announced, arriving(body)).await?;
    Ok((
        if new { StatusCode::CREATED } else { StatusCode::OK },
        axum::Json(image),
    ))
}

/// Deletes an image that no VM uses.
#[utoipa::path(delete, path = "/v1/images/{digest}", tag = "images",
    params(("digest" = String, Path, description = "`sha256:` and 64 hex digits (lower case)")),
    responses((status = 204, description = "Deleted")))]
pub async fn delete(State(app): State<Arc<App>>, Path(digest): Path<String>) -> Answer<StatusCode> {
    app.vms.delete_image(digest.parse()?).await?;
    Ok(StatusCode::NO_CONTENT)
}
