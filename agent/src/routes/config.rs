//! `/v1/config`: the machine config that the node keeps.

use std::sync::Arc;
use std::time::Duration;

use axion_api::config::{Answer as Told, ApplyOptions, Call, ConfigApplied, ConfigDocument, ShowOptions};
use axion_api::problem::{Kind, Problem};
use axum::extract::{Query, State};

use super::Answer;
use super::extract::Text;
use crate::app::App;
use crate::init::InitError;

/// How long init may take: a slow stick.
const LONGEST: Duration = Duration::from_secs(60);

/// Asks init, which has the disks.
async fn ask(app: &App, call: &Call) -> Result<Told, Problem> {
    let unreadable = |error: serde_json::Error| {
        let detail = format!("init and the agent do not understand each other: {error}");
        Problem::new(Kind::Internal, detail)
    };
    let text = serde_json::to_string(call).map_err(unreadable)?;
    let proxy = app.init.proxy()?;
    let answered = tokio::time::timeout(LONGEST, proxy.machine_config(&text)).await;
    let answered = answered.map_err(|_| {
        let detail = format!("init did not finish within {} s; it may go on", LONGEST.as_secs());
        Problem::new(Kind::Unavailable, detail)
    })?;
    let answer = answered.map_err(InitError::from)?;
    serde_json::from_str(&answer).map_err(unreadable)
}

fn strange() -> Problem {
    Problem::new(Kind::Internal, "init answers something else than it was asked")
}

/// The machine config that the node keeps, an installed node on its disk and another one on its `AXION-CFG` volume; secrets are
/// hidden. What is in force, with every other source, is `GET /v1/host/config`. 409 on a node that keeps none.
#[utoipa::path(get, path = "/v1/config", tag = "host", params(ShowOptions),
    responses((status = 200, body = ConfigDocument)))]
pub async fn get(
    State(app): State<Arc<App>>,
    Query(options): Query<ShowOptions>,
) -> Answer<axum::Json<ConfigDocument>> {
    match ask(&app, &Call::Show(options)).await? {
        Told::Document(document) => Ok(axum::Json(document)),
        Told::Problem(problem) => Err(problem.into()),
        Told::Applied(_) => Err(strange().into()),
    }
}

/// Replaces the machine config that the node keeps. It is checked as a whole, with the other sources and against this machine,
/// before anything is written; every mistake is a line of the 422's `detail`. The one before is kept. It takes effect at the next
/// start. `(hidden)` as `storage.encryption.secret` stands for the secret that is there.
#[utoipa::path(put, path = "/v1/config", tag = "host", params(ApplyOptions),
    request_body(content = String, content_type = "application/toml", description = "A machine config document"),
    responses((status = 200, body = ConfigApplied)))]
pub async fn put(
    State(app): State<Arc<App>>,
    Query(options): Query<ApplyOptions>,
    Text(text): Text,
) -> Answer<axum::Json<ConfigApplied>> {
    match ask(&app, &Call::Apply { text, options }).await? {
        Told::Applied(applied) => Ok(axum::Json(applied)),
        Told::Problem(problem) => Err(problem.into()),
        Told::Document(_) => Err(strange().into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Agent;

    #[tokio::test]
    async fn a_config_goes_to_init_and_into_the_audit_log_without_its_text() {
        let agent = Agent::new().await;
        let shown = ConfigDocument {
            place: "axion.toml".to_owned(),
            text: "hostname = \"a\"\n".to_owned(),
            in_force: true,
        };
        agent.init.answer_config(Told::Document(shown.clone()));
        let answer = agent.call("GET", "/v1/config?previous=true", "").await;
        assert_eq!(answer.json::<ConfigDocument>(), shown);
        agent.init.answer_config(Told::Applied(ConfigApplied::default()));
        let text = "hostname = \"secret-node\"\n";
        let answer = agent.call("PUT", "/v1/config?dry_run=true", text).await;
        assert_eq!(answer.status, 200);
        let calls = agent.init.config_calls();
        let [Call::Show(show), Call::Apply { text: sent, options }] = calls.as_slice() else {
            panic!("{} calls", calls.len())
        };
        assert!(show.previous && options.dry_run && sent == text);
        agent.app.audit.written().await;
        let log = std::fs::read_to_string(agent.directory.path().join("state/audit.log")).unwrap();
        assert!(
            log.contains("/v1/config?dry_run=true") && !log.contains("secret-node"),
            "{log}"
        );
    }

    #[tokio::test]
    async fn what_init_refuses_is_told() {
        let agent = Agent::new().await;
        let problem = Problem::new(Kind::Conflict, "this node keeps no machine config");
        agent.init.answer_config(Told::Problem(problem.clone()));
        assert_eq!(agent.call("PUT", "/v1/config", "").await.problem(), problem);
        assert_eq!(
            agent
                .call("PUT", "/v1/config?force=true", "")
                .await
                .problem()
                .status,
            400
        );
    }
}
