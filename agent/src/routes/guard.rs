//! Who may pass, and the audit of what they changed.

use std::net::IpAddr;
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
use crate::audit::{Call, refused};
use crate::auth::limit::Refused;
use crate::auth::{Identity, Peer};

/// What needs no token.
const OPEN: [&str; 2] = ["/healthz", "/openapi.json"];

/// Why a request does not pass.
enum Denied {
    /// No token, or a wrong one; it is said after so long.
    Unauthorized(&'static str, Duration),
    /// Too many wrong ones.
    TooMany(Duration),
}

impl Denied {
    fn status(&self) -> u16 {
        match self {
            Self::Unauthorized(..) => Kind::Unauthorized.status(),
            Self::TooMany(_) => Kind::TooManyRequests.status(),
        }
    }

    async fn answer(self) -> Response {
        match self {
            Self::Unauthorized(detail, wait) => {
                tokio::time::sleep(wait).await;
                let mut response = Fault(Problem::new(Kind::Unauthorized, detail)).into_response();
                let challenge = HeaderValue::from_static("Bearer realm=\"axion\"");
                response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                response
            }
            Self::TooMany(wait) => {
                let seconds = wait.as_secs() + 1;
                let detail = format!(
                    "too many requests without a valid token from this address; try again in {seconds} s"
                );
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
            if let Some(call) = call {
                call.refused(&app, denied.status());
            }
            denied.answer().await
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
    fn record(&self, app: &App, who: &Identity, status: StatusCode) {
        app.audit.record(&Call {
            who: Some(who.to_string()),
            peer: self.peer.to_string(),
            method: self.method.as_str(),
            target: &self.target,
            status: status.as_u16(),
        });
    }

    /// Records it as that of somebody who is not known, unless others of that peer stand for it.
    fn refused(&self, app: &Arc<App>, status: u16) {
        let Some(first) = app.refused.count(ip(self.peer)) else {
            return;
        };
        app.audit.record(&Call {
            who: None,
            peer: self.peer.to_string(),
            method: refused::method(self.method.as_str()),
            target: refused::target(&self.target),
            status,
        });
        let app = app.clone();
        app.tasks.clone().spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(refused::WINDOW) => {}
                () = app.closing.cancelled() => {}
            }
            let more = app.refused.end(first);
            if more > 0 {
                app.audit.record(&Call {
                    who: None,
                    peer: first.to_string(),
                    method: "REFUSED",
                    target: &format!("{more} more calls within {} s", refused::WINDOW.as_secs()),
                    status,
                });
            }
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
        call.record(&app, &who, response.status());
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
    let ip = ip(peer);
    app.limiter
        .admit(ip, Instant::now())
        .map_err(|Refused(wait)| Denied::TooMany(wait))?;
    let token = bearer(headers);
    if let Some(identity) = token.and_then(|token| app.tokens.check(token)) {
        app.tokens.noted().await;
        return Ok(identity);
    }
    let detail = match token {
        Some(_) => "the token is not known here",
        None => "this needs a token: `Authorization: Bearer TOKEN`; see the console",
    };
    Err(Denied::Unauthorized(detail, app.limiter.fail(ip, Instant::now())))
}

fn ip(peer: Peer) -> IpAddr {
    match peer {
        Peer::Remote(address) => address.ip(),
        Peer::Local { .. } => [127, 0, 0, 1].into(),
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750 §2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}
