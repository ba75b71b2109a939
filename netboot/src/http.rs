//! The HTTP server: the files, the two scripts, the machines' configs; nothing else, and for reading only.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;

use crate::boot::SCRIPT;
use crate::event::{Event, Progress, shown};
use crate::files::Served;
use crate::nodes::Identity;
use crate::script::{CONFIG, NODE};
use crate::server::Shared;

/// Bytes that are read and handed on at once: of each transfer, one such piece is being read and one is being sent.
const CHUNK: u64 = 64 << 10;

/// What iPXE says of a machine.
#[derive(Debug, Deserialize)]
struct Says {
    uuid: Option<String>,
    serial: Option<String>,
    mac: Option<String>,
}

impl Says {
    fn identity(&self) -> Identity {
        Identity::new(self.uuid.as_deref(), self.serial.as_deref(), self.mac.as_deref())
    }
}

type Machine = (State<Arc<Shared>>, ConnectInfo<SocketAddr>, Query<Says>);

/// All that can be asked for.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route(&format!("/{SCRIPT}"), get(first_script))
        .route(&format!("/{NODE}"), get(node_script))
        .route(&format!("/{CONFIG}"), get(config))
        .route("/{name}", get(file))
        .with_state(shared)
}

async fn first_script(State(shared): State<Arc<Shared>>) -> Response {
    text(shared.scripts.first())
}

async fn node_script((State(shared), ConnectInfo(peer), Query(query)): Machine) -> Response {
    let identity = query.identity();
    let who = shared.meet(peer.ip(), identity.mac);
    let config = shared.nodes.as_ref().and_then(|nodes| nodes.find(&identity));
    let script = shared.scripts.node(&identity, config.is_some());
    shared.say(Event::Script { who, config });
    text(script)
}

async fn config((State(shared), ConnectInfo(peer), Query(query)): Machine) -> Response {
    let identity = query.identity();
    let who = shared.meet(peer.ip(), identity.mac);
    let nodes = shared.nodes.as_ref();
    let Some((nodes, file)) = nodes.and_then(|nodes| Some((nodes, nodes.find(&identity)?))) else {
        return refuse(
            &shared,
            peer.ip(),
            StatusCode::NOT_FOUND,
            "there is no config for it".to_owned(),
        );
    };
    match nodes.read(&file) {
        Ok(document) => {
            shared.say(Event::Config { who, file });
            text(document)
        }
        Err(error) => refuse(
            &shared,
            peer.ip(),
            StatusCode::INTERNAL_SERVER_ERROR,
            chain(&error),
        ),
    }
}

async fn file(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    method: Method,
    Path(name): Path<String>,
) -> Response {
    let Some((name, served)) = shared.files.get(&name) else {
        let reason = format!("there is no {}", shown(&name));
        return refuse(&shared, peer.ip(), StatusCode::NOT_FOUND, reason);
    };
    if let Some(problem) = served.problem() {
        return refuse(&shared, peer.ip(), StatusCode::SERVICE_UNAVAILABLE, problem);
    }
    let headers = [
        (CONTENT_LENGTH, served.size.to_string()),
        // UEFI takes a program by its name or by this type.
        (
            CONTENT_TYPE,
            if name.ends_with(".efi") {
                "application/efi"
            } else {
                "application/octet-stream"
            }
            .to_owned(),
        ),
    ];
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let progress = Progress::new(shared.who(peer.ip()), name.to_owned(), served.size);
        body(served, progress, shared)
    };
    (headers, body).into_response()
}

/// The file in pieces, each one read when the one before it has been taken.
fn body(served: Arc<Served>, progress: Progress, shared: Arc<Shared>) -> Body {
    let start = (served, progress, 0_u64);
    let pieces = stream::try_unfold(start, move |(served, mut progress, from)| {
        let shared = Arc::clone(&shared);
        async move {
            if from >= served.size {
                return Ok::<_, io::Error>(None);
            }
            let length = CHUNK.min(served.size - from);
            let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
            let (served, piece) = tokio::task::spawn_blocking(move || {
                served.read(&mut piece, from)?;
                Ok::<_, io::Error>((served, Bytes::from(piece)))
            })
            .await
            .map_err(io::Error::other)??;
            if let Some(event) = progress.advance(piece.len()) {
                shared.say(event);
            }
            Ok(Some((piece, (served, progress, from + length))))
        }
    });
    Body::from_stream(pieces)
}

fn text(text: String) -> Response {
    ([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

fn refuse(shared: &Shared, peer: IpAddr, status: StatusCode, reason: String) -> Response {
    let text = format!("{reason}\n");
    shared.say(Event::Refused {
        who: shared.who(peer),
        reason,
    });
    (status, text).into_response()
}

/// An error with its causes, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
