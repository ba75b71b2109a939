//! The API's own description, generated from the types and checked in as `docs/openapi.json`.

use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::{Modify, OpenApi};

/// What the agent serves; a test keeps it equal to [`generate`].
const CHECKED_IN: &str = include_str!("../../../docs/openapi.json");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Axion node",
        description = "REST API of one Axion node. Errors are RFC 9457 problem details (application/problem+json).",
    ),
    paths(
        super::healthz, document,
        super::host::get, super::host::boot, super::host::config, super::host::logs, super::host::power,
        super::host::processes, super::host::units, super::host::restart_unit,
        super::host::devices,
        super::profile::get, super::profile::apply, super::profile::plan, super::profile::proof, super::profile::start_proof,
        super::keys::tpm, super::keys::seal, super::keys::unlock, super::keys::recovery,
        super::keys::forget_recovery,
        super::config::get, super::config::put,
        super::update::get, super::update::stage, super::update::roll_back,
        super::update::plan_mirror, super::update::add_mirror, super::update::forget_mirror,
        super::capacity::get,
        super::vms::list, super::vms::get, super::vms::put, super::vms::delete, super::vms::start,
        super::vms::stop, super::vms::reset, super::vms::pause, super::vms::resume, super::vms::stats,
        super::vms::set_balloon, super::vms::set_memory, super::console::attach, super::console::vsock,
        super::images::list, super::images::put, super::images::delete,
        super::volumes::list, super::volumes::get, super::volumes::put, super::volumes::delete,
        super::volumes::snapshots, super::volumes::put_snapshot, super::volumes::delete_snapshot,
        super::volumes::rollback,
        super::networks::list, super::networks::get, super::networks::put, super::networks::delete,
        super::netboot::get, super::netboot::configs, super::netboot::config, super::netboot::put_config,
        super::netboot::delete_config,
        super::pools::list, super::pools::get, super::pools::put, super::pools::delete, super::pools::import,
        super::pools::export, super::pools::scrub, super::pools::replace, super::pools::device,
        super::pools::found, super::pools::disks,
        super::datasets::list, super::datasets::get, super::datasets::put, super::datasets::delete,
        super::datasets::load_key, super::datasets::unload_key,
        super::snapshots::list, super::snapshots::put, super::snapshots::delete, super::snapshots::rollback,
        super::snapshots::clone,
        super::streams::send, super::streams::receive, super::streams::abort,
        super::support::bundle, super::reset::plan, super::reset::order, super::reset::cancel,
        super::events::stream, super::metrics::get,
    ),
    components(schemas(axion_api::problem::Problem)),
    modifiers(&Bearer, &Problems),
    security(("bearer" = [])),
)]
struct Api;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        api.components
            .get_or_insert_default()
            .add_security_scheme("bearer", scheme);
    }
}

/// Says of every operation how it fails.
struct Problems;

impl Modify for Problems {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::{Content, Ref, Response};
        let problem = Ref::from_schema_name("Problem");
        for path in api.paths.paths.values_mut() {
            let operations = [&mut path.get, &mut path.put, &mut path.post, &mut path.delete];
            for operation in operations.into_iter().flatten() {
                let mut response = Response::new("A problem");
                response.content.insert(
                    axion_api::problem::MEDIA_TYPE.to_owned(),
                    Content::new(Some(problem.clone())).into(),
                );
                operation
                    .responses
                    .responses
                    .insert("default".to_owned(), response.into());
            }
        }
    }
}

/// The document, from the types.
pub fn generate() -> serde_json::Result<String> {
    let mut text = Api::openapi().to_pretty_json()?;
    text.push('\n');
    Ok(text)
}

/// This description. Needs no token.
#[utoipa::path(get, path = "/openapi.json", tag = "agent", security(()),
    responses((status = 200, description = "OpenAPI document", content_type = "application/json")))]
pub async fn document() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], CHECKED_IN)
}
