//! Who may pass, and the audit of what they changed.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axion_api::problem::{Kind, Problem};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;

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
    let call = changes(&request).then(|| Begun {
        peer,
        method: request.method().clone(),
        target: request
            .uri()
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
    });
    let known = authenticate(&app, peer, request.headers()).await;
    match (known, call) {
        (Ok(identity), call) => {
            let mut response = match call {
                None => next.run(request).await,
                Some(call) => to_its_end(app, call, identity.clone(), request, next).await,
            };
            // For the server, which waits longer for those that are known.
            response.extensions_mut().insert(identity);
            response
        }
        (Err(denied), call) => {
            let response = denied.into_response();
            if let Some(call) = call {
                call.record(&app, None, response.status());
            }
            response
        }
    }
}

/// Whether a call is recorded: a console is typed into, a guest's port is written to, and a support bundle tells everything.
fn changes(request: &Request) -> bool {
    let path = request.uri().path();
    !matches!(*request.method(), Method::GET | Method::HEAD)
        || path.ends_with("/console")
        || path.contains("/vsock/")
        || path == support::PATH
}

/// A call that is to be recorded.
struct Begun {
    peer: Peer,
    method: Method,
    target: String,
}

impl Begun {
    fn record(&self, app: &App, who: Option<&Identity>, status: StatusCode) {
        app.audit.record(&Call {
            who: who.map(ToString::to_string),
            peer: self.peer.to_string(),
            method: self.method.as_str(),
            target: &self.target,
            status: status.as_u16(),
        });
    }
}

/// Runs a call in a task of its own and records it. Of a client that hangs up the server forgets the request wherever it is: what
/// was begun is finished all the same, and known.
async fn to_its_end(app: Arc<App>, call: Begun, who: Identity, request: Request, next: Next) -> Response {
    let tasks = app.tasks.clone();
    let task = tasks.spawn(async move {
        let response = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        let response = response.unwrap_or_else(|_| unfinished());
        call.record(&app, Some(&who), response.status());
        response
    });
    task.await.unwrap_or_else(|_| unfinished())
}

fn unfinished() -> Response {
    Fault(Problem::new(
        Kind::Internal,
        "the request was not finished; see the node's log",
    ))
    .into_response()
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
