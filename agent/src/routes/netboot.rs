//! `/v1/netboot`: booting other machines over the network.

use std::sync::Arc;

use axion_api::netboot::{Netboot, NetbootConfig};
use axion_api::profile::CONFIG_MEDIA_TYPE;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};

use super::Answer;
use super::extract::Text;
use crate::app::App;

/// The node's boot server: whether it serves, what and where, and what machines did last. It is switched on by `netboot` in the
/// machine config.
#[utoipa::path(get, path = "/v1/netboot", tag = "netboot", responses((status = 200, body = Netboot)))]
pub async fn get(State(app): State<Arc<App>>) -> Answer<axum::Json<Netboot>> {
    Ok(axum::Json(app.netboot.status().await?))
}

/// Machine configs that are kept for machines that boot from this node.
#[utoipa::path(get, path = "/v1/netboot/configs", tag = "netboot",
    responses((status = 200, body = Vec<NetbootConfig>)))]
pub async fn configs(State(app): State<Arc<App>>) -> Answer<axum::Json<Vec<NetbootConfig>>> {
    Ok(axum::Json(app.netboot.configs.list().await?))
}

/// One of them.
#[utoipa::path(get, path = "/v1/netboot/configs/{name}", tag = "netboot",
    params(("name" = String, Path, description = "UUID, serial number or MAC address (`52-54-00-12-34-56`) of the machine, or `default`")),
    responses((status = 200, body = String, content_type = "application/toml")))]
pub async fn config(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Answer<([(HeaderName, &'static str); 1], String)> {
    let text = app.netboot.configs.get(name).await?;
    Ok(([(CONTENT_TYPE, CONFIG_MEDIA_TYPE)], text))
}

/// Keeps a machine config for a machine, from its next boot on. It is checked first; whoever is on the network of the machines can
/// read it.
#[utoipa::path(put, path = "/v1/netboot/configs/{name}", tag = "netboot",
    params(("name" = String, Path, description = "UUID, serial number or MAC address (`52-54-00-12-34-56`) of the machine, or `default`")),
    request_body(content = String, content_type = "application/toml", description = "A machine config document, at most 256 KiB"),
    responses((status = 201, body = NetbootConfig, description = "Kept"), (status = 200, body = NetbootConfig, description = "Replaced")))]
pub async fn put_config(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Text(text): Text,
) -> Answer<(StatusCode, axum::Json<NetbootConfig>)> {
    let (config, new) = app.netboot.configs.put(name, text).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, axum::Json(config)))
}

/// Takes a machine's config away.
#[utoipa::path(delete, path = "/v1/netboot/configs/{name}", tag = "netboot",
    params(("name" = String, Path, description = "As it was put")),
    responses((status = 204, description = "Removed")))]
pub async fn delete_config(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<StatusCode> {
    app.netboot.configs.delete(name).await?;
    Ok(StatusCode::NO_CONTENT)
}
