//! `/metrics`: counters for Prometheus.

use std::sync::Arc;
use std::time::Duration;

use axion_api::problem::Problem;
use axion_api::storage::{Answer as Told, Call, Pool};
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

use super::Answer;
use crate::app::App;
use crate::metrics::{self, MEDIA_TYPE};
use crate::storage;

/// A pool whose devices are gone may never answer, and a scrape does not wait for it.
const LONGEST: Duration = Duration::from_secs(5);

/// Counters of the node and its VMs in the text format of Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "metrics",
    responses((status = 200, body = String, content_type = "text/plain", description = "Exposition format 0.0.4")))]
pub async fn get(State(app): State<Arc<App>>) -> Answer<([(HeaderName, &'static str); 1], String)> {
    Ok(([(CONTENT_TYPE, MEDIA_TYPE)], text(&app).await?))
}

/// The counters.
pub async fn text(app: &App) -> Result<String, Problem> {
    let vms = app.vms.all_stats().await?;
    let capacity = app.vms.capacity().await?;
    let pools = pools(app).await;
    let tell = |node: &metrics::Node<'_>| metrics::render(node, pools.as_deref(), &vms);
    let profile = app.drift.last();
    Ok(app
        .inventory
        .with_metrics(&capacity, profile.as_ref(), tell)
        .await)
}

/// Every pool; none where init does not say in time.
async fn pools(app: &App) -> Option<Vec<Pool>> {
    let asked = storage::ask(&app.init, &Call::Pools);
    match tokio::time::timeout(LONGEST, asked).await {
        Ok(Ok(Told::Pools(pools))) => Some(pools),
        _ => None,
    }
}
