//! The client against servers in this process, over a Unix socket and over TLS.

mod address;
mod calls;
mod console;
mod sse;
mod tls;

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::UnixListener;

use super::connection::Io;
use super::{Client, Error};
use crate::problem::{self, Kind, Problem};

/// What a server answers to a request whose body was read.
type Answer = fn(&Request<Bytes>) -> Response<Full<Bytes>>;

/// Serves one connection.
async fn serve(stream: impl Io + 'static, answer: Answer, seen: Arc<Mutex<Vec<Request<Bytes>>>>) {
    let service = service_fn(async |request: Request<Incoming>| {
        let (head, body) = request.into_parts();
        let request = Request::from_parts(head, body.collect().await.unwrap().to_bytes());
        let response = answer(&request);
        seen.lock().unwrap().push(request);
        Ok::<_, Infallible>(response)
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A server on a Unix socket, a client of it, and the requests that came.
struct Local {
    client: Client,
    seen: Arc<Mutex<Vec<Request<Bytes>>>>,
    _directory: TempDir,
}

impl Local {
    fn new(answer: Answer) -> Self {
        let (listener, client, directory) = listen();
        let seen = Arc::<Mutex<Vec<_>>>::default();
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer, log.clone()));
            }
        });
        Self {
            client,
            seen,
            _directory: directory,
        }
    }

    /// The only request that came.
    fn request(&self) -> Request<Bytes> {
        let mut seen = self.seen.lock().unwrap();
        assert_eq!(seen.len(), 1);
        seen.remove(0)
    }
}

fn listen() -> (UnixListener, Client, TempDir) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("agent.sock");
    (UnixListener::bind(&path).unwrap(), Client::unix(path), directory)
}

fn json(text: &'static str) -> Response<Full<Bytes>> {
    Response::new(Full::new(Bytes::from_static(text.as_bytes())))
}

fn refuse(kind: Kind, detail: &str) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(&Problem::new(kind, detail)).unwrap();
    Response::builder()
        .status(kind.status())
        .header("content-type", problem::MEDIA_TYPE)
        .body(Full::new(body.into()))
        .unwrap()
}
