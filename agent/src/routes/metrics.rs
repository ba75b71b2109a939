//! `/metrics`: counters for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

use super::Answer;
use crate::app::App;
use crate::metrics::{self, MEDIA_TYPE};

/// Counters of the node and its VMs in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "metrics",
    responses((status = 200, body = String, content_type = "text/plain", description = "Exposition format 0.0.4")))]
pub async fn get(State(app): State<Arc<App>>) -> Answer<([(HeaderName, &'static str); 1], String)> {
    let vms = app.vms.all_stats().await?;
    let capacity = app.vms.capacity().await?;
    let text = app
        .inventory
        .with_metrics(&capacity, |node| metrics::render(node, &vms))
        .await;
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], text))
}
