//! `/v1/host/profile`: the boot profile.

use std::sync::Arc;

use axion_api::problem::{Kind, Problem};
use axion_api::profile::{HostProfile, ProfilePreview};
use axion_core::config::check;
use axion_core::profile::Declaration;
use axum::extract::State;

use super::Answer;
use super::extract::Text;
use crate::app::App;

/// The boot profile: what is planned for this boot, and whether it is so.
#[utoipa::path(get, path = "/v1/host/profile", tag = "host", responses((status = 200, body = HostProfile)))]
pub async fn get(State(app): State<Arc<App>>) -> Answer<axum::Json<HostProfile>> {
    let profile = app.inventory.profile(&app.config).await?;
    app.drift.notice(&profile.attestation, &app.events);
    Ok(axum::Json(profile))
}

/// What a machine config would bring on this node. Nothing is changed. Wishes that the node cannot grant are a 422 that
/// lists each in `refusals`.
#[utoipa::path(post, path = "/v1/host/profile/plan", tag = "host",
    request_body(content = String, content_type = "application/toml", description = "A machine config document"),
    responses((status = 200, body = ProfilePreview)))]
pub async fn plan(State(app): State<Arc<App>>, Text(document): Text) -> Answer<axum::Json<ProfilePreview>> {
    let config = check(&document, "the document").map_err(|e| Problem::new(Kind::Invalid, e.to_string()))?;
    // What the node boots from is the node's, whatever the document says.
    let declaration = Declaration {
        boot_devices: Declaration::of_effective(&app.config).boot_devices,
        ..Declaration::new(&config)
    };
    Ok(axum::Json(app.inventory.plan(declaration).await?))
}
