//! `/v1/networks`: what connects VMs.

use std::sync::Arc;

use axion_api::network::{Network, NetworkSpec};
use axum::extract::{Path, State};
use axum::http::header::ETAG;
use axum::http::{HeaderName, StatusCode};

use super::Answer;
use super::extract::Json;
use crate::app::App;
use crate::store::Precondition;

/// A network with its revision as entity tag.
type Tagged = ([(HeaderName, String); 1], axum::Json<Network>);

fn tagged(network: Network) -> Tagged {
    ([(ETAG, format!("\"{}\"", network.revision))], axum::Json(network))
}

/// Every network.
#[utoipa::path(get, path = "/v1/networks", tag = "networks", responses((status = 200, body = Vec<Network>)))]
pub async fn list(State(app): State<Arc<App>>) -> Answer<axum::Json<Vec<Network>>> {
    let uses = app.vms.uses().await?;
    Ok(axum::Json(app.networks.list(|name| uses.network(name)).await?))
}

/// One network.
#[utoipa::path(get, path = "/v1/networks/{name}", tag = "networks",
    params(("name" = String, Path, description = "Name of the network")),
    responses((status = 200, body = Network, headers(("ETag" = String, description = "Its revision, in quotes")))))]
pub async fn get(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<Tagged> {
    let uses = app.vms.uses().await?;
    Ok(tagged(app.networks.get(&name, |name| uses.network(name)).await?))
}

/// Makes a network, or changes one; VMs that are connected stay so. One that cannot be made is not stored.
#[utoipa::path(put, path = "/v1/networks/{name}", tag = "networks", request_body = NetworkSpec,
    params(
        ("name" = String, Path, description = "Name of the network: 1 to 12 of a-z, 0-9 and `-`, starting with a letter"),
        ("If-Match" = Option<String>, Header, description = "`\"REVISION\"`, or `*`: it must exist"),
        ("If-None-Match" = Option<String>, Header, description = "`*`: it must not exist"),
    ),
    responses((status = 201, body = Network, description = "Made"), (status = 200, body = Network, description = "Changed, or as it was")))]
pub async fn put(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    condition: Precondition,
    Json(spec): Json<NetworkSpec>,
) -> Answer<(StatusCode, Tagged)> {
    let uses = app.vms.uses().await?;
    let put = app
        .networks
        .put(&name, spec, &condition, |name| uses.network(name));
    let (network, new) = put.await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, tagged(network)))
}

/// Deletes a network that no VM is in; its uplink gets its own configuration back.
#[utoipa::path(delete, path = "/v1/networks/{name}", tag = "networks",
    params(
        ("name" = String, Path, description = "Name of the network"),
        ("If-Match" = Option<String>, Header, description = "`\"REVISION\"`"),
    ),
    responses((status = 204, description = "Deleted")))]
pub async fn delete(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    condition: Precondition,
) -> Answer<StatusCode> {
    app.vms.delete_network(&name, &condition).await?;
    Ok(StatusCode::NO_CONTENT)
}
