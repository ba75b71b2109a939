//! `/v1/reset`: factory reset.

use std::sync::Arc;

use axion_api::recovery::{Answer as Told, Call, ResetPlan, ResetRequest, ResetScope};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Answer;
use super::extract::Json;
use crate::app::App;
use crate::recovery::ask;
use crate::storage::unexpected;

/// Which reset.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ResetQuery {
    /// What is forgotten.
    scope: ResetScope,
    /// Destroy every pool that is imported too.
    #[serde(default)]
    pools: bool,
}

/// What a factory reset would do: what is lost, what stays. Nothing is changed.
#[utoipa::path(get, path = "/v1/reset", tag = "host", params(ResetQuery), responses((status = 200, body = ResetPlan)))]
pub async fn plan(
    State(app): State<Arc<App>>,
    Query(query): Query<ResetQuery>,
) -> Answer<axum::Json<ResetPlan>> {
    let ResetQuery { scope, pools } = query;
    match ask(&app.init, &Call::PlanReset { scope, pools }).await? {
        Told::ResetPlan(plan) => Ok(axum::Json(*plan)),
        _ => Err(unexpected().into()),
    }
}

/// Orders a factory reset and restarts the machine, whose next boot carries it out. Power cuts do not stop it. `confirm` is the
/// host name of the node.
#[utoipa::path(post, path = "/v1/reset", tag = "host", request_body = ResetRequest,
    responses((status = 202, description = "Ordered; the machine restarts")))]
pub async fn order(State(app): State<Arc<App>>, Json(request): Json<ResetRequest>) -> Answer<StatusCode> {
    match ask(&app.init, &Call::Reset { request }).await? {
        Told::Done => Ok(StatusCode::ACCEPTED),
        _ => Err(unexpected().into()),
    }
}

/// Withdraws a factory reset that is not done, because pools are missing: they stay as they are. What was destroyed is gone.
#[utoipa::path(delete, path = "/v1/reset", tag = "host", responses((status = 204, description = "Withdrawn")))]
pub async fn cancel(State(app): State<Arc<App>>) -> Answer<StatusCode> {
    match ask(&app.init, &Call::CancelReset).await? {
        Told::Done => Ok(StatusCode::NO_CONTENT),
        _ => Err(unexpected().into()),
    }
}
