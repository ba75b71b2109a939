//! Connections of the HTTP server: bounded in number, in all and from one address, in what each of them holds, and in time.
//!
//! ```text
//! accept ── a place, a turn ── TLS, where it is on ── head of a request ──> router ──> answer, piece by piece ──┐
//!                                                       ^    within `head`                within `stall` each  │
//!                                                       └───────────────────────────────────────────────────────┘
//! ```
//! HTTP/1 alone is spoken: every firmware does, and one connection has one answer under way, of which a few pieces are in memory. With
//! HTTP/2 a client may ask for hundreds at once and take none. All places together hold less than the server's memory as a unit of a
//! node (256 MiB): some 150 KiB of a file and of TLS each, and what the kernel keeps for a socket ([`SENDING`]).

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::event::Event;
use crate::http;
use crate::server::Shared;
use crate::tls::Tls;
use crate::turns::Turns;

/// Bytes that the kernel keeps of what a client has not confirmed, and twice that with what it takes for itself.
pub const SENDING: u32 = 128 << 10;
/// The same of what a client has sent: requests are short.
pub const HEARING: u32 = 16 << 10;
/// Bytes of the largest head of a request, and of an answer that waits in the server besides a piece of a file.
const HEAD: usize = 16 << 10;
/// Pause when descriptors are short; they come back.
const PAUSE: Duration = Duration::from_millis(200);

/// What a client may have.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at a time: a rack that is switched on, and a bound for whoever connects in bulk. Others wait to be accepted.
    pub all: usize,
    /// The same from one address.
    pub each: usize,
    /// Time until a client has said by what TLS: that takes no computing, and who has nothing to say is not to have a place for it.
    pub hello: Duration,
    /// Time for the rest of the handshake: firmware computes slowly.
    pub handshake: Duration,
    /// Time for the head of a request, from the end of the one before it on.
    pub head: Duration,
    /// Time in which nothing of an answer is taken.
    pub stall: Duration,
}

/// The server's.
pub const LIMITS: Limits = Limits {
    all: 256,
    each: 16,
    hello: Duration::from_secs(8),
    handshake: Duration::from_secs(30),
    head: Duration::from_secs(30),
    stall: Duration::from_secs(30),
};

/// Serves connections of `listener` for ever, by TLS where that is given. What is dropped ends them.
pub async fn serve(listener: TcpListener, tls: Option<Tls>, shared: Arc<Shared>, limits: Limits) {
    let router = http::router(Arc::clone(&shared));
    let places = Arc::new(Semaphore::new(limits.all));
    let turns = Turns::new(limits.all, limits.each);
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Ok((stream, peer)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let Some(turn) = turns.take(peer) else { continue };
        let (tls, router, shared) = (tls.clone(), router.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            let _held = (place, turn);
            // Where it cannot be set, small answers are merely slower.
            let _ = stream.set_nodelay(true);
            let Some(tls) = tls else {
                return speak(stream, peer, router, limits).await;
            };
            match secure(&tls, stream, limits).await {
                Ok(stream) => speak(stream, peer, router, limits).await,
                Err(reason) => {
                    let who = shared.who(peer.ip());
                    shared.say(Event::Refused { who, reason });
                }
            }
        });
    }
}

async fn secure(
    tls: &Tls,
    stream: TcpStream,
    limits: Limits,
) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, String> {
    tls.accept(stream, limits.hello, limits.handshake)
        .await
        .map_err(|error| format!("TLS: {error}"))
}

/// Answers the requests of a connection, one after the other. How it ends is the client's business.
async fn speak<S>(stream: S, peer: SocketAddr, router: Router, limits: Limits)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().call(request)
    });
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(Taken::new(stream, limits.stall)), service)
        .await;
}

/// A stream that fails when nothing is taken of what is written to it.
struct Taken<S> {
    stream: S,
    stall: Duration,
    waits: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    fn new(stream: S, stall: Duration) -> Self {
        Self {
            stream,
            stall,
            waits: None,
        }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waits = None;
            return written;
        }
        let stall = self.stall;
        let waits = self.waits.get_or_insert_with(|| Box::pin(sleep(stall)));
        waits
            .as_mut()
            .poll(context)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, shut)
    }
}

#[cfg(test)]
mod tests;
