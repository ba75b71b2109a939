//! Who may pass, and the audit of what they changed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_api::problem::{Kind, Problem};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Fault;
use super::support;
use crate::app::App;
use crate::audit::Call;
use crate::auth::limit::Refused;
use crate::auth::{Identity, Peer};

/// What needs no token.
const OPEN: [&str; 2] = ["/healthz", "/openapi.json"];

/// Why a request does not pass.
enum Denied {
    /// No token, or a wrong one.
    Unauthorized(&'static str),
    /// Too many wrong ones.
    TooMany(Duration),
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthorized(detail) => {
                let mut response = Fault(Problem::new(Kind::Unauthorized, detail)).into_response();
                let challenge = HeaderValue::from_static("Bearer realm=\"axion\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            }
            Self::TooMany(wait) => {
                let seconds = wait.as_secs() + 1;
                let detail = format!("too many wrong tokens from this address; try again in {seconds} s");
                let mut response = Fault(Problem::new(Kind::TooManyRequests, detail)).into_response();
                response
                    .headers_mut()
                    .insert(RETRY_AFTER, HeaderValue::from(seconds));
                response
            }
        }
    }
}

/// Lets a request pass that says who it is from, and records it if it changes something.
pub async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if OPEN.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    let unknown = Peer::Remote(([0, 0, 0, 0], 0).into());
    let peer = request.extensions().get::<Peer>().copied().unwrap_or(unknown);
    let method = request.method().clone();
    let target = request
        .uri()
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    // A console is typed into, a guest's port is written to, and a support bundle tells everything.
    let path = request.uri().path();
    let changes = !matches!(method, Method::GET | Method::HEAD)
        || path.ends_with("/console")
        || path.contains("/vsock/")
        || path == support::PATH;
    let (who, response) = match authenticate(&app, peer, request.headers()).await {
        Ok(identity) => (Some(identity.to_string()), next.run(request).await),
        Err(denied) => (None, denied.into_response()),
    };
    if changes {
        let status = response.status().as_u16();
        let peer = peer.to_string();
        app.audit.record(&Call {
            who,
            peer,
            method: method.as_str(),
            target: &target,
            status,
        });
    }
    response
}

async fn authenticate(app: &App, peer: Peer, headers: &HeaderMap) -> Result<Identity, Denied> {
    if let Some(identity) = peer.identity() {
        return Ok(identity);
    }
    let token = bearer(headers).ok_or(Denied::Unauthorized(
        "this needs a token: `Authorization: Bearer TOKEN`; see the console",
    ))?;
    let ip = match peer {
        Peer::Remote(address) => address.ip(),
        Peer::Local { .. } => [127, 0, 0, 1].into(),
    };
    app.limiter
        .admit(ip, Instant::now())
        .map_err(|Refused(wait)| Denied::TooMany(wait))?;
    if let Some(identity) = app.tokens.check(token) {
        return Ok(identity);
    }
    tokio::time::sleep(app.limiter.fail(ip, Instant::now())).await;
    Err(Denied::Unauthorized("the token is not known here"))
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
