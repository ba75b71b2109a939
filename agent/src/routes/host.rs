//! `/v1/host`: the node.

use std::sync::Arc;

use axion_api::host::{
    BootReport, ConfigValue, Device, Host, HostConfig, LogEntry, PowerAction, PowerRequest, Process,
    UnitStatus,
};
use axion_api::problem::{Kind, Problem};
use axion_core::config::{ChangeCost, Effective};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::Answer;
use super::extract::Json;
use crate::app::App;
use crate::init::answer;
use crate::processes;

/// Log lines that are answered when the request does not say how many.
const LINES: u32 = 200;
/// Most log lines in one answer.
const MOST_LINES: u32 = 1000;

/// What the node is.
#[utoipa::path(get, path = "/v1/host", tag = "host", responses((status = 200, body = Host)))]
pub async fn get(State(app): State<Arc<App>>) -> Answer<axum::Json<Host>> {
    let node = answer(app.init.proxy()?.node_status()).await?;
    Ok(axum::Json(
        app.inventory.host(node, app.fingerprint.clone()).await,
    ))
}

/// How the node booted.
#[utoipa::path(get, path = "/v1/host/boot", tag = "host", responses((status = 200, body = BootReport)))]
pub async fn boot(State(app): State<Arc<App>>) -> Answer<axum::Json<BootReport>> {
    let boot = answer(app.init.proxy()?.boot_status()).await?;
    Ok(axum::Json(BootReport {
        kernel_ms: boot.kernel_us / 1000,
        ready_ms: boot.ready_us.map(|us| us / 1000),
        phases: boot.phases,
    }))
}

/// The machine config in force, and where each value came from.
#[utoipa::path(get, path = "/v1/host/config", tag = "host", responses((status = 200, body = HostConfig)))]
pub async fn config(State(app): State<Arc<App>>) -> axum::Json<HostConfig> {
    axum::Json(config_of(&app.config))
}

/// A machine config for clients.
pub fn config_of(config: &Effective) -> HostConfig {
    let values = config.provenance.iter().map(|(key, provenance)| ConfigValue {
        key: key.clone(),
        value: provenance.value.clone(),
        source: provenance.source.to_string(),
        change: match provenance.change {
            ChangeCost::Live => "live",
            ChangeCost::RestartService => "restart-service",
            ChangeCost::Reboot => "reboot",
        }
        .to_owned(),
    });
    HostConfig {
        values: values.collect(),
        rejected: config.rejected.iter().map(ToString::to_string).collect(),
        ignored: config.ignored.iter().map(ToString::to_string).collect(),
    }
}

/// PCI functions: what they are, who has them, what giving them to a VM takes.
#[utoipa::path(get, path = "/v1/host/devices", tag = "host", responses((status = 200, body = Vec<Device>)))]
pub async fn devices(State(app): State<Arc<App>>) -> axum::Json<Vec<Device>> {
    axum::Json(app.inventory.devices().await)
}

/// Which log lines.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogQuery {
    /// Lines after this sequence number, oldest first; 0 or absent: the last ones.
    #[serde(default)]
    after: u64,
    /// At most so many, 1 to 1000; 200 when absent.
    limit: Option<u32>,
}

/// Lines of the node's log.
#[utoipa::path(get, path = "/v1/host/logs", tag = "host", params(LogQuery),
    responses((status = 200, body = Vec<LogEntry>)))]
pub async fn logs(
    State(app): State<Arc<App>>,
    Query(query): Query<LogQuery>,
) -> Answer<axum::Json<Vec<LogEntry>>> {
    let limit = query.limit.unwrap_or(LINES);
    if limit == 0 || limit > MOST_LINES {
        let detail = format!("limit={limit}; allowed are 1 to {MOST_LINES}");
        return Err(Problem::new(Kind::Invalid, detail).into());
    }
    Ok(axum::Json(
        answer(app.init.proxy()?.logs(query.after, limit)).await?,
    ))
}

/// What is listed of what runs.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ProcessQuery {
    /// Threads of the kernel too.
    #[serde(default)]
    kernel: bool,
}

/// What runs in user space, and what the kernel itself runs where that is asked for.
#[utoipa::path(get, path = "/v1/host/processes", tag = "host", params(ProcessQuery),
    responses((status = 200, body = Vec<Process>)))]
pub async fn processes(Query(query): Query<ProcessQuery>) -> axum::Json<Vec<Process>> {
    let proc = std::path::Path::new("/proc");
    let read = tokio::task::spawn_blocking(move || processes::read(proc, query.kernel)).await;
    axum::Json(read.unwrap_or_default())
}

/// Restarts or powers off the machine.
#[utoipa::path(post, path = "/v1/host/power", tag = "host", request_body = PowerRequest,
    responses((status = 202, description = "The machine goes down in order")))]
pub async fn power(State(app): State<Arc<App>>, Json(request): Json<PowerRequest>) -> Answer<StatusCode> {
    match request.action {
        PowerAction::Reboot => answer(app.init.proxy()?.reboot()).await?,
        PowerAction::PowerOff => answer(app.init.proxy()?.power_off()).await?,
    }
    Ok(StatusCode::ACCEPTED)
}

/// Init's units: services of the node and VMs.
#[utoipa::path(get, path = "/v1/host/units", tag = "host", responses((status = 200, body = Vec<UnitStatus>)))]
pub async fn units(State(app): State<Arc<App>>) -> Answer<axum::Json<Vec<UnitStatus>>> {
    Ok(axum::Json(
        app.init
            .units()?
            .values()
            .map(|unit| unit.status.clone())
            .collect(),
    ))
}

/// Restarts a service of the node.
#[utoipa::path(post, path = "/v1/host/units/{name}/restart", tag = "host",
    params(("name" = String, Path, description = "Name of the unit")),
    responses((status = 202, description = "The unit is started again")))]
pub async fn restart_unit(State(app): State<Arc<App>>, Path(name): Path<String>) -> Answer<StatusCode> {
    let units = app.init.units()?;
    let Some(unit) = units.get(&name) else {
        let detail = format!(
            "there is no unit `{}`; GET /v1/host/units lists them",
            name.escape_debug()
        );
        return Err(Problem::new(Kind::NotFound, detail).into());
    };
    if unit.status.transient {
        let vm = name.strip_prefix("vm-").unwrap_or("NAME");
        let detail = format!("`{name}` is a VM; use POST /v1/vms/{vm}/reset, or stop and start");
        return Err(Problem::new(Kind::Conflict, detail).into());
    }
    let own = unit.status.pid == Some(std::process::id());
    let restart = async move { answer(app.init.proxy()?.restart_unit(&name)).await };
    if own {
        // Init answers when this process has ended, so the client cannot wait for that.
        tokio::spawn(restart);
    } else {
        restart.await?;
    }
    Ok(StatusCode::ACCEPTED)
}
