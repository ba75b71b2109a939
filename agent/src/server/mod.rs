//! Connections: accepted, bounded, encrypted where they come from the network, and handed to the router with the
//! peer's identity.
//!
//! Places for connections are few, and a stranger may take one: each has to be given back by whoever does nothing with it. A client
//! that is gone is found out by the kernel, one that is silent by the time that it has for a handshake and for the head of a request.
//! What it speaks it says in the TLS handshake, so that no time is spent on waiting for a first byte.

mod requests;
mod slots;

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use self::requests::Requests;
use self::slots::Slots;
use crate::auth::Peer;
use crate::files::FileError;

/// Connections from the network at a time, in all and from one address.
const REMOTE: usize = 256;
const REMOTE_EACH: usize = 64;
/// Connections to the local socket at a time.
const LOCAL: usize = 64;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head, and stay idle between requests.
const HEAD: Duration = Duration::from_secs(60);
/// Seconds after which the kernel asks a client of which nothing is heard whether it is there, and how often without an answer.
const PROBE_S: u32 = 30;
const PROBES: u32 = 3;
/// What a client may take when the agent ends.
const GRACE: Duration = Duration::from_secs(4);
/// Before the next attempt when there are no descriptors left, or no address to listen on.
const PAUSE: Duration = Duration::from_millis(500);
/// Largest head of a request, bytes.
const LARGEST_HEAD: usize = 32 << 10;

/// Serves connections with one router.
#[derive(Clone)]
pub struct Server {
    router: Router,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Server {
    /// A server that lets go when `closing` is cancelled; its connections are counted in `tasks`.
    pub fn new(router: Router, closing: CancellationToken, tasks: TaskTracker) -> Self {
        Self {
            router,
            closing,
            tasks,
        }
    }

    /// Serves HTTPS for ever.
    pub async fn https(self, listener: TcpListener, config: ServerConfig) {
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let slots = Slots::new(REMOTE, REMOTE_EACH);
        loop {
            let Some((stream, address)) = accepted(listener.accept().await).await else {
                continue;
            };
            let Some(slot) = slots.take(address.ip()) else {
                continue;
            };
            let (server, acceptor) = (self.clone(), acceptor.clone());
            self.tasks.spawn(async move {
                let _slot = slot;
                set_up(&stream);
                let peer = Peer::Remote(address);
                // A client that does not speak TLS is no news.
                let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
                    return;
                };
                match stream.get_ref().1.alpn_protocol() {
                    Some(b"h2") => server.http2(stream, peer).await,
                    _ => server.http1(stream, peer).await,
                }
            });
        }
    }

    /// Serves the local socket for ever.
    pub async fn local(self, listener: UnixListener) {
        let slots = Slots::new(LOCAL, LOCAL);
        loop {
            let Some((stream, _)) = accepted(listener.accept().await).await else {
                continue;
            };
            let Ok(credentials) = stream.peer_cred() else {
                continue;
            };
            let Some(slot) = slots.take([127, 0, 0, 1].into()) else {
                continue;
            };
            let server = self.clone();
            self.tasks.spawn(async move {
                let _slot = slot;
                let uid = credentials.uid();
                server.http1(stream, Peer::Local { uid }).await;
            });
        }
    }

    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, peer: Peer) {
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::pin!(connection);
        // How a connection ends is the client's business.
        tokio::select! {
            _ = connection.as_mut() => return,
            () = self.closing.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(GRACE, connection).await;
    }

    async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, peer: Peer) {
        let (router, requests) = (self.router.clone(), Requests::default());
        let begun = requests.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            let (begun, answer) = (begun.begin(), router.clone().call(request));
            async move { answer.await.map(|response| begun.answered(response)) }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(HEAD / 2)
            .max_concurrent_streams(32)
            .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => return,
            () = requests.idle(HEAD) => {}
            () = self.closing.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ = timeout(GRACE, connection).await;
    }
}

/// Has small answers go at once, and the kernel find out that a client is gone, or takes nothing any more. Where something of it
/// cannot be set, all works without it.
fn set_up(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = setsockopt(stream, sockopt::KeepAlive, &true);
    let _ = setsockopt(stream, sockopt::TcpKeepIdle, &PROBE_S);
    let _ = setsockopt(stream, sockopt::TcpKeepInterval, &PROBE_S);
    let _ = setsockopt(stream, sockopt::TcpKeepCount, &PROBES);
    let _ = setsockopt(stream, sockopt::TcpUserTimeout, &(PROBE_S * (PROBES + 1) * 1000));
}

/// The connection, or `None` after a pause when the host is out of something.
async fn accepted<T>(result: io::Result<T>) -> Option<T> {
    match result {
        Ok(connection) => Some(connection),
        Err(error) => {
            tracing::warn!("cannot accept a connection: {error}");
            sleep(PAUSE).await;
            None
        }
    }
}

/// Listens at `address` as soon as it can be had.
pub async fn bind_https(address: SocketAddr) -> TcpListener {
    let mut reported = false;
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) if !reported => {
                reported = true;
                tracing::warn!("cannot listen at {address} (api.listen), trying on: {error}");
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

/// Listens on the local socket at `path`, for the owner and its group.
pub fn bind_local(path: &Path) -> Result<UnixListener, FileError> {
    let bind = || {
        match std::fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(listener)
    };
    bind().map_err(|e| FileError::new("listen on", path, e))
}

#[cfg(test)]
mod tests;
