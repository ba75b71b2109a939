//! Connections: accepted, bounded, encrypted where they come from the network, and handed to the router with the
//! peer's identity.

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
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

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
                // Latency of small answers counts; where it cannot be set, they are merely slower.
                let _ = stream.set_nodelay(true);
                // A client that does not speak TLS is no news.
                if let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    server.serve(stream, Peer::Remote(address)).await;
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
                server
                    .serve(
                        stream,
                        Peer::Local {
                            uid: credentials.uid(),
                        },
                    )
                    .await;
            });
        }
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S, peer: Peer) {
        let router = self.router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            router.clone().call(request)
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(LARGEST_HEAD);
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(HEAD / 2)
            .max_concurrent_streams(32)
            .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX));
        let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(connection);
        // How a connection ends is the client's business.
        tokio::select! {
            _ = connection.as_mut() => {}
            () = self.closing.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(GRACE, connection).await;
            }
        }
    }
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
