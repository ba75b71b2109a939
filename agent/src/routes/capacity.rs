//! `/v1/capacity`: what the node has for VMs.

use std::sync::Arc;

use axion_api::capacity::Capacity;
use axum::extract::State;

use super::Answer;
use crate::app::App;

/// CPUs, memory and hugepages for VMs on each NUMA node, what of them is free, and which VM has the rest.
#[utoipa::path(get, path = "/v1/capacity", tag = "vms", responses((status = 200, body = Capacity)))]
pub async fn get(State(app): State<Arc<App>>) -> Answer<axum::Json<Capacity>> {
    Ok(axum::Json(app.vms.capacity().await?))
}
