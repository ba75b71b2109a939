//! `/v1/update`: the slots of an installed node.

use std::sync::Arc;

use axion_api::update::{
    Call, MirrorPlan, MirrorRequest, SIGNATURE_HEADER, StageOptions, StageRequest, UpdateStatus,
};
use axum::extract::{FromRequest, Query, Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;

use super::Answer;
use super::extract::{Json, arriving};
use crate::app::App;
use crate::streams::read_on;
use crate::update;

/// The slots of an installed node: what is in them, which runs, which the next start takes, and why one was given up. 409 on a
/// node that was not started from an installed disk.
#[utoipa::path(get, path = "/v1/update", tag = "update", responses((status = 200, body = UpdateStatus)))]
pub async fn get(State(app): State<Arc<App>>) -> Answer<axum::Json<UpdateStatus>> {
    Ok(axum::Json(update::ask(&app, &Call::Status).await?))
}

/// Checks an image, a signed UKI, and writes it to the slot that is not the last confirmed one; the next start tries it. Its
/// signature, its version and whether it is whole are looked at before anything is written. The body is the image, or JSON that
/// says where the node gets it from.
#[utoipa::path(post, path = "/v1/update/stage", tag = "update",
    params(StageOptions,
        ("Axion-Signature" = Option<String>, Header, description = "Of an upload: the content of the image's `.minisig` file in Base64")),
    request_body(description = "The image, or where it is", content(
        (Vec<u8> = "application/octet-stream"), (StageRequest = "application/json"))),
    responses((status = 200, body = UpdateStatus, description = "Written")))]
pub async fn stage(
    State(app): State<Arc<App>>,
    Query(options): Query<StageOptions>,
    headers: HeaderMap,
    request: Request,
) -> Answer<axum::Json<UpdateStatus>> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_json = header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json"));
    if is_json {
        let Json(request) = Json::<StageRequest>::from_request(request, &()).await?;
        return Ok(axum::Json(update::fetch(&app, &request).await?));
    }
    let mut body = arriving(request.into_body());
    let staged = update::upload(&app, header(SIGNATURE_HEADER), options.allow_downgrade, &mut body).await;
    if staged.is_err() {
        read_on(&mut body).await;
    }
    Ok(axum::Json(staged?))
}

/// Makes the other confirmed slot the one that the next start takes; takes an update back that was not tried yet.
#[utoipa::path(post, path = "/v1/update/rollback", tag = "update", responses((status = 200, body = UpdateStatus)))]
pub async fn roll_back(State(app): State<Arc<App>>) -> Answer<axum::Json<UpdateStatus>> {
    Ok(axum::Json(update::ask(&app, &Call::RollBack).await?))
}

/// What would become of a disk if it were made the other system disk, which holds the same as the one that the node was started from.
/// Nothing is written; the plan has the word that confirms it.
#[utoipa::path(post, path = "/v1/update/mirror/plan", tag = "update", request_body = MirrorRequest,
    responses((status = 200, body = MirrorPlan)))]
pub async fn plan_mirror(
    State(app): State<Arc<App>>,
    Json(request): Json<MirrorRequest>,
) -> Answer<axum::Json<MirrorPlan>> {
    Ok(axum::Json(update::plan_mirror(&app, request).await?))
}

/// Makes a disk the other system disk, in the place of the one that was: it is laid out, what is on it is lost, and it gets both slots
/// and the machine config. From then on it follows every change. The word of the plan confirms it.
#[utoipa::path(post, path = "/v1/update/mirror", tag = "update", request_body = MirrorRequest,
    responses((status = 200, body = UpdateStatus)))]
pub async fn add_mirror(
    State(app): State<Arc<App>>,
    Json(request): Json<MirrorRequest>,
) -> Answer<axum::Json<UpdateStatus>> {
    Ok(axum::Json(update::add_mirror(&app, request).await?))
}

/// The node goes on with the disk that it was started from alone, and misses no other one. The other one keeps what is on it.
#[utoipa::path(delete, path = "/v1/update/mirror", tag = "update", responses((status = 200, body = UpdateStatus)))]
pub async fn forget_mirror(State(app): State<Arc<App>>) -> Answer<axum::Json<UpdateStatus>> {
    Ok(axum::Json(update::ask(&app, &Call::ForgetMirror).await?))
}
