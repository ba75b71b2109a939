//! The REST API, one file for each kind of thing.
//!
//! ```text
//! connection (server) -> problem: every error becomes problem+json -> guard: who, and audit -> route
//! ```

mod capacity;
mod config;
mod console;
mod datasets;
mod events;
mod extract;
mod guard;
pub mod host;
mod images;
mod keys;
pub mod metrics;
mod netboot;
mod networks;
pub mod openapi;
mod pools;
mod problem;
mod profile;
mod reset;
mod snapshots;
mod streams;
mod support;
mod update;
mod vms;
mod volumes;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post, put};
use serde::Serialize;

use self::problem::Fault;
use crate::app::App;

/// What a handler answers.
type Answer<T> = Result<T, Fault>;

/// State of the agent itself (`GET /healthz`).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
}

/// Every route.
pub fn router(app: &Arc<App>) -> Router {
    let routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/openapi.json", get(openapi::document))
        .route("/v1/host", get(host::get))
        .route("/v1/host/boot", get(host::boot))
        .route("/v1/host/config", get(host::config))
        .route("/v1/host/devices", get(host::devices))
        .route("/v1/host/logs", get(host::logs))
        .route("/v1/host/power", post(host::power))
        .route("/v1/host/processes", get(host::processes))
        .route("/v1/host/profile", get(profile::get))
        .route("/v1/host/profile/apply", post(profile::apply))
        .route("/v1/host/profile/plan", post(profile::plan))
        .route(
            "/v1/host/profile/proof",
            get(profile::proof).post(profile::start_proof),
        )
        .route(
            "/v1/host/state/recovery",
            post(keys::recovery).delete(keys::forget_recovery),
        )
        .route("/v1/host/state/unlock", post(keys::unlock))
        .route("/v1/host/tpm", get(keys::tpm))
        .route("/v1/host/tpm/seal", post(keys::seal))
        .route("/v1/host/units", get(host::units))
        .route("/v1/host/units/{name}/restart", post(host::restart_unit))
        .route("/v1/config", get(config::get).put(config::put))
        .route("/v1/update", get(update::get))
        .route("/v1/update/stage", post(update::stage))
        .route("/v1/update/rollback", post(update::roll_back))
        .route(
            "/v1/update/mirror",
            post(update::add_mirror).delete(update::forget_mirror),
        )
        .route("/v1/update/mirror/plan", post(update::plan_mirror))
        .route(
            "/v1/reset",
            get(reset::plan).post(reset::order).delete(reset::cancel),
        )
        .route("/v1/support/bundle", get(support::bundle))
        .route("/v1/capacity", get(capacity::get))
        .route("/v1/vms", get(vms::list))
        .route("/v1/vms/{name}", get(vms::get).put(vms::put).delete(vms::delete))
        .route("/v1/vms/{name}/start", post(vms::start))
        .route("/v1/vms/{name}/stop", post(vms::stop))
        .route("/v1/vms/{name}/reset", post(vms::reset))
        .route("/v1/vms/{name}/pause", post(vms::pause))
        .route("/v1/vms/{name}/resume", post(vms::resume))
        .route("/v1/vms/{name}/stats", get(vms::stats))
        .route("/v1/vms/{name}/balloon", put(vms::set_balloon))
        .route("/v1/vms/{name}/memory", put(vms::set_memory))
        .route("/v1/vms/{name}/console", get(console::attach))
        .route("/v1/vms/{name}/vsock/{port}", get(console::vsock))
        .route("/v1/images", get(images::list))
        .route("/v1/images/{digest}", put(images::put).delete(images::delete))
        .route("/v1/volumes", get(volumes::list))
        .route(
            "/v1/volumes/{name}",
            get(volumes::get).put(volumes::put).delete(volumes::delete),
        )
        .route("/v1/volumes/{name}/snapshots", get(volumes::snapshots))
        .route(
            "/v1/volumes/{name}/snapshots/{snapshot}",
            put(volumes::put_snapshot).delete(volumes::delete_snapshot),
        )
        .route(
            "/v1/volumes/{name}/snapshots/{snapshot}/rollback",
            post(volumes::rollback),
        )
        .route("/v1/netboot", get(netboot::get))
        .route("/v1/netboot/configs", get(netboot::configs))
        .route(
            "/v1/netboot/configs/{name}",
            get(netboot::config)
                .put(netboot::put_config)
                .delete(netboot::delete_config),
        )
        .route("/v1/networks", get(networks::list))
        .route(
            "/v1/networks/{name}",
            get(networks::get).put(networks::put).delete(networks::delete),
        )
        .route("/v1/storage/disks", get(pools::disks))
        .route("/v1/storage/found", get(pools::found))
        .route("/v1/pools", get(pools::list))
        .route(
            "/v1/pools/{name}",
            get(pools::get).put(pools::put).delete(pools::delete),
        )
        .route("/v1/pools/{name}/import", post(pools::import))
        .route("/v1/pools/{name}/export", post(pools::export))
        .route("/v1/pools/{name}/scrub", post(pools::scrub))
        .route("/v1/pools/{name}/replace", post(pools::replace))
        .route("/v1/pools/{name}/device", post(pools::device))
        .route("/v1/datasets", get(datasets::list))
        .route(
            "/v1/datasets/{name}",
            get(datasets::get).put(datasets::put).delete(datasets::delete),
        )
        .route(
            "/v1/datasets/{name}/receive",
            post(streams::receive).delete(streams::abort),
        )
        .route("/v1/datasets/{name}/load-key", post(datasets::load_key))
        .route("/v1/datasets/{name}/unload-key", post(datasets::unload_key))
        .route("/v1/snapshots", get(snapshots::list))
        .route(
            "/v1/snapshots/{name}",
            put(snapshots::put).delete(snapshots::delete),
        )
        .route("/v1/snapshots/{name}/stream", get(streams::send))
        .route("/v1/snapshots/{name}/rollback", post(snapshots::rollback))
        .route("/v1/snapshots/{name}/clone", post(snapshots::clone))
        .route("/metrics", get(metrics::get))
        .route("/v1/events", get(events::stream))
        .with_state(app.clone());
    // Around the router as a whole, so that its own answers (404, 405) pass them too, complete.
    Router::new()
        .fallback_service(routes)
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .layer(from_fn(problem::as_problem))
}

/// Whether the API is up and its store can be read. Needs no token.
#[utoipa::path(get, path = "/healthz", tag = "agent", security(()), responses((status = 200, body = Health)))]
async fn healthz(State(app): State<Arc<App>>) -> Answer<axum::Json<Health>> {
    app.store.get("healthz").await?;
    Ok(axum::Json(Health { status: "ok" }))
}

#[cfg(test)]
mod tests;
