//! `/v1/vms`: virtual machines.

use std::sync::Arc;

use axion_api::vm::{BalloonRequest, MemoryRequest, StopRequest, Vm, VmSpec, VmStats};
use axum::extract::{Path, Query, State};
use axum::http::header::ETAG;
use axum::http::{HeaderName, StatusCode};
use serde::Deserialize;

use super::Answer;
use super::extract::Json;
use crate::app::App;
use crate::store::Precondition;

/// A VM with its revision as entity tag.
type Tagged = ([(HeaderName, String); 1], axum::Json<Vm>);

fn tagged(vm: Vm) -> Tagged {
    ([(ETAG, format!("\"{}\"", vm.revision))], axum::Json(vm))
}

/// Every VM.
#[utoipa::path(get, path = "/v1/vms", tag = "vms", responses((status = 200, body = Vec<Vm>)))]
pub async fn list(State(app): State<Arc<App>>) -> Answer<axum::Json<Vec<Vm>>> {
    Ok(axum::Json(app.vms.list().await?))
}

/// One VM.
#[utoipa::path(get, path = "/v1/vms/{name}", tag = "vms", params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 200, body = Vm, headers(("ETag" = String, description = "Its revision, in quotes")))))]
pub async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<Tagged> {
    Ok(tagged(app.vms.get(&name).await?))
}

/// Creates a VM, stopped, or replaces the spec of a stopped one. The same spec again changes nothing.
#[utoipa::path(put, path = "/v1/vms/{name}", tag = "vms", request_body = VmSpec,
    params(
        ("name" = String, Path, description = "Name of the VM: 1 to 40 of a-z, 0-9 and `-`, starting with a letter"),
        ("If-Match" = Option<String>, Header, description = "`\"REVISION\"`, or `*`: it must exist"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it must not exist"),
    ),
    responses((status = 201, body = Vm, description = "Created"), (status = 200, body = Vm, description = "Replaced, or as it was")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    condition: Precondition,
    Json(spec): Json<VmSpec>,
) -> Answer<(StatusCode, Tagged)> {
    let (vm, new) = app.vms.put(&name, spec, &condition).await?;
    Ok((if new { StatusCode::CREATED } else { StatusCode::OK }, tagged(vm)))
}

/// What to do with a VM that runs.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    /// Cut its power first.
    #[serde(default)]
    force: bool,
}

/// Deletes a VM.
#[utoipa::path(delete, path = "/v1/vms/{name}", tag = "vms",
    params(
        DeleteQuery,
        ("name" = String, Path, description = "Name of the VM"),
        ("If-Match" = Option<String>, Header, description = "`\"REVISION\"`"),
    ),
    responses((status = 204, description = "Deleted")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(query): Query<DeleteQuery>,
    condition: Precondition,
) -> Answer<StatusCode> {
    app.vms.delete(&name, &condition, query.force).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Starts a VM.
#[utoipa::path(post, path = "/v1/vms/{name}/start", tag = "vms",
    params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 202, body = Vm, description = "It will run")))]
pub async fn start(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<(StatusCode, Tagged)> {
    Ok((StatusCode::ACCEPTED, tagged(app.vms.start(&name).await?)))
}

/// Presses the power button of a VM, or cuts its power.
#[utoipa::path(post, path = "/v1/vms/{name}/stop", tag = "vms", request_body = StopRequest,
    params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 202, body = Vm, description = "It was asked to stop")))]
pub async fn stop(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(request): Json<StopRequest>,
) -> Answer<(StatusCode, Tagged)> {
    Ok((
        StatusCode::ACCEPTED,
        tagged(app.vms.stop(&name, request.force).await?),
    ))
}

/// Presses the reset button of a VM.
#[utoipa::path(post, path = "/v1/vms/{name}/reset", tag = "vms",
    params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 202, body = Vm, description = "It starts anew")))]
pub async fn reset(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<(StatusCode, Tagged)> {
    Ok((StatusCode::ACCEPTED, tagged(app.vms.reset(&name).await?)))
}

/// Has the guest of a VM stand still.
#[utoipa::path(post, path = "/v1/vms/{name}/pause", tag = "vms",
    params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 202, body = Vm, description = "Its vCPUs stand still")))]
pub async fn pause(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<(StatusCode, Tagged)> {
    Ok((StatusCode::ACCEPTED, tagged(app.vms.pause(&name).await?)))
}

/// Has the guest of a VM go on.
#[utoipa::path(post, path = "/v1/vms/{name}/resume", tag = "vms",
    params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 202, body = Vm, description = "Its vCPUs go on")))]
pub async fn resume(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<(StatusCode, Tagged)> {
    Ok((StatusCode::ACCEPTED, tagged(app.vms.resume(&name).await?)))
}

/// Asks the guest of a VM that runs for a part of its memory.
#[utoipa::path(put, path = "/v1/vms/{name}/balloon", tag = "vms", request_body = BalloonRequest,
    params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 202, body = Vm, description = "The guest is asked; `stats` tells what it has given")))]
pub async fn set_balloon(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(request): Json<BalloonRequest>,
) -> Answer<(StatusCode, Tagged)> {
    let vm = app.vms.set_balloon(&name, request.size).await?;
    Ok((StatusCode::ACCEPTED, tagged(vm)))
}

/// Has a VM have more or less memory, from now on. What it is to have more is its own before the guest is asked.
#[utoipa::path(put, path = "/v1/vms/{name}/memory", tag = "vms", request_body = MemoryRequest,
    params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 202, body = Vm, description = "The guest is asked; `status.memory` tells what it has")))]
pub async fn set_memory(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Json(request): Json<MemoryRequest>,
) -> Answer<(StatusCode, Tagged)> {
    let vm = app.vms.set_memory(&name, request.size).await?;
    Ok((StatusCode::ACCEPTED, tagged(vm)))
}

/// What a VM that runs has used and done.
#[utoipa::path(get, path = "/v1/vms/{name}/stats", tag = "vms",
    params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 200, body = VmStats)))]
pub async fn stats(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<axum::Json<VmStats>> {
    Ok(axum::Json(app.vms.stats(&name).await?))
}
