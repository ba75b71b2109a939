//! `/v1/host/profile`: the boot profile.

use std::sync::Arc;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::profile::{Applied, AppliedProfile, HostProfile, HostProof, ProfilePreview, ProofRequest};
use axion_core::config::check_all;
use axion_core::profile::{Declaration, HostUses};
use axion_core::proof::Comparison;
use axum::extract::State;
use axum::http::StatusCode;

use super::Answer;
use super::extract::{Json, Text};
use crate::app::App;
use crate::init::{InitError, answer};

/// The boot profile: what is planned for this boot, and whether it is so.
#[utoipa::path(get, path = "/v1/host/profile", tag = "host", responses((status = 200, body = HostProfile)))]
pub async fn get(State(app): State<Arc<App>>) -> Answer<axum::Json<HostProfile>> {
    let profile = app.profile().await?;
    app.drift.notice(&profile.attestation, &app.events);
    Ok(axum::Json(profile))
}

/// How long putting the profile in force may take: the kernel looks for memory, and drivers let go of devices.
const LONGEST_APPLY: Duration = Duration::from_secs(120);

/// Puts what is not as planned in force again, as far as that is possible while the node runs and disturbs no VM; what is left
/// says why. Kernel arguments stay as they are until the next boot.
#[utoipa::path(post, path = "/v1/host/profile/apply", tag = "host", responses((status = 200, body = AppliedProfile)))]
pub async fn apply(State(app): State<Arc<App>>) -> Answer<axum::Json<AppliedProfile>> {
    let proxy = app.init.proxy()?;
    let asked = tokio::time::timeout(LONGEST_APPLY, proxy.apply_profile()).await;
    let late = |_| {
        let seconds = LONGEST_APPLY.as_secs();
        Problem::new(
            Kind::Unavailable,
            format!("init did not finish within {seconds} s; it may go on"),
        )
    };
    let answer = asked.map_err(late)?.map_err(|error| match error.into() {
        InitError::Exists(detail) | InitError::Failed(detail) => Problem::new(Kind::Conflict, detail).into(),
        other => super::problem::Fault::from(other),
    })?;
    let Applied { done, left } = serde_json::from_str(&answer).map_err(|error| {
        let detail = format!("init and the agent do not understand each other: {error}");
        Problem::new(Kind::Internal, detail)
    })?;
    let attestation = app.profile().await?.attestation;
    app.drift.notice(&attestation, &app.events);
    Ok(axum::Json(AppliedProfile {
        done,
        left,
        attestation,
    }))
}

/// What a machine config would bring on this node. Nothing is changed. Wishes that the node cannot grant are a 422 that
/// lists each in `refusals`.
#[utoipa::path(post, path = "/v1/host/profile/plan", tag = "host",
    request_body(content = String, content_type = "application/toml", description = "A machine config document"),
    responses((status = 200, body = ProfilePreview)))]
pub async fn plan(State(app): State<Arc<App>>, Text(document): Text) -> Answer<axum::Json<ProfilePreview>> {
    let config =
        check_all(&document, "the document").map_err(|e| Problem::new(Kind::Invalid, e.to_string()))?;
    let uses = if config.profile.vfio.is_empty() {
        HostUses::default()
    } else {
        let told = answer(app.init.proxy()?.host_uses()).await?;
        serde_json::from_str(&told).map_err(|error| {
            let detail = format!("init does not say what the node uses: {error}");
            Problem::new(Kind::Internal, detail)
        })?
    };
    // What the node boots from and uses is the node's, whatever the document says.
    let declaration = Declaration {
        boot_devices: Declaration::of_effective(&app.config).boot_devices,
        uses,
        ..Declaration::new(&config)
    };
    Ok(axum::Json(app.inventory.plan(declaration).await?))
}

/// The last isolation proof and the one before it, and whether one is being taken.
#[utoipa::path(get, path = "/v1/host/profile/proof", tag = "host", responses((status = 200, body = HostProof)))]
pub async fn proof(State(app): State<Arc<App>>) -> Answer<axum::Json<HostProof>> {
    // Asked before the files are read: what has ended is in them.
    let status = answer(app.init.proxy()?.proof_status()).await?;
    let (last, previous) = app.inventory.proofs().await?;
    let comparison = last.as_ref().zip(previous.as_ref());
    let comparison = comparison.map(|(last, previous)| Comparison::of(last, previous));
    Ok(axum::Json(HostProof {
        comparison,
        running: status.running,
        error: status.error,
        last,
        previous,
    }))
}

/// Begins an isolation proof: each CPU that is set apart and that no VM may use is kept busy, and what hits it is counted.
/// The result is what GET answers once `running` is false again.
#[utoipa::path(post, path = "/v1/host/profile/proof", tag = "host", request_body = ProofRequest,
    responses((status = 202, description = "It has begun")))]
pub async fn start_proof(
    State(app): State<Arc<App>>,
    Json(request): Json<ProofRequest>,
) -> Answer<StatusCode> {
    let begun = answer(app.init.proxy()?.start_proof(request.seconds)).await;
    begun.map_err(|error| match error {
        InitError::Refused(detail) => Problem::new(Kind::Invalid, detail).at("/seconds").into(),
        InitError::Exists(detail) | InitError::Failed(detail) => Problem::new(Kind::Conflict, detail).into(),
        other => super::problem::Fault::from(other),
    })?;
    Ok(StatusCode::ACCEPTED)
}
