//! `/v1/host/tpm` and `/v1/host/state`: the TPM, and what unlocks the node's state.

use std::sync::Arc;

use axion_api::keys::{Answer as Told, Call, HostTpm, Recovery, SealRequest, UnlockRequest};
use axum::extract::State;
use axum::http::StatusCode;

use super::Answer;
use super::extract::Json;
use crate::app::App;
use crate::keys::ask;
use crate::storage::unexpected;

/// The TPM: its registers, what Axion measured in this boot, and the keys that are sealed to it.
#[utoipa::path(get, path = "/v1/host/tpm", tag = "host", responses((status = 200, body = HostTpm)))]
pub async fn tpm(State(app): State<Arc<App>>) -> Answer<axum::Json<HostTpm>> {
    match ask(&app, &Call::Tpm).await? {
        Told::Tpm(tpm) => Ok(axum::Json(*tpm)),
        _ => Err(unexpected().into()),
    }
}

/// Seals the key of an encrypted dataset to the TPM's registers as they are now, so that the node unlocks it by itself.
#[utoipa::path(post, path = "/v1/host/tpm/seal", tag = "host", request_body = SealRequest,
    responses((status = 204, description = "Sealed")))]
pub async fn seal(State(app): State<Arc<App>>, Json(request): Json<SealRequest>) -> Answer<StatusCode> {
    ask(&app, &Call::Seal { request }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Unlocks the node's state. The agent is started again with it: it has another certificate, and other contents, then.
#[utoipa::path(post, path = "/v1/host/state/unlock", tag = "host", request_body = UnlockRequest,
    responses((status = 202, description = "Unlocked; the agent is started again")))]
pub async fn unlock(State(app): State<Arc<App>>, Json(request): Json<UnlockRequest>) -> Answer<StatusCode> {
    ask(&app, &Call::Unlock { request }).await?;
    Ok(StatusCode::ACCEPTED)
}

/// The recovery passphrase that was made in this boot, until somebody says that it is noted; 404 from then on.
#[utoipa::path(post, path = "/v1/host/state/recovery", tag = "host", responses((status = 200, body = Recovery)))]
pub async fn recovery(State(app): State<Arc<App>>) -> Answer<axum::Json<Recovery>> {
    match ask(&app, &Call::Recovery { forget: false }).await? {
        Told::Recovery(recovery) => Ok(axum::Json(recovery)),
        _ => Err(unexpected().into()),
    }
}

/// The recovery passphrase is noted: nobody is told it any more.
#[utoipa::path(delete, path = "/v1/host/state/recovery", tag = "host",
    responses((status = 204, description = "The node has forgotten it")))]
pub async fn forget_recovery(State(app): State<Arc<App>>) -> Answer<StatusCode> {
    ask(&app, &Call::Recovery { forget: true }).await?;
    Ok(StatusCode::NO_CONTENT)
}
