//! Connections to a VMM's sockets, and one call to its control socket (`axion_api::vmm`).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

/// A VMM that has just been started has opened its sockets by then.
const OPENS: Duration = Duration::from_secs(10);
/// Between two looks for a socket.
const LOOK: Duration = Duration::from_millis(10);
/// How long a VMM may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Longest error body that is read, bytes.
const LONGEST: usize = 4096;

/// What a VMM can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Press the ACPI power button.
    PowerButton,
    /// Start the machine anew.
    Reset,
}

/// Why a VMM did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens.
    #[error("cannot connect to the VMM at {}", path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No answer in time.
    #[error("the VMM did not answer within {} s", ANSWER.as_secs())]
    Timeout,
    /// The connection broke.
    #[error("the VMM broke the connection")]
    Protocol(#[from] hyper::Error),
    /// It refused.
    #[error("the VMM answered {status}: {body}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
}

/// Sends `command` to the VMM whose control socket is at `path`.
pub async fn send(path: PathBuf, command: Command) -> Result<(), ControlError> {
    let stream = connect(&path).await;
    let stream = stream.map_err(|source| ControlError::Connect { path, source })?;
    tokio::time::timeout(ANSWER, exchange(stream, command))
        .await
        .map_err(|_| ControlError::Timeout)?
}

/// Connects to a socket of a VMM that runs: its process is there a moment before its sockets are.
///
/// # Errors
/// Nobody listens there, and nobody begins to.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let end = Instant::now() + OPENS;
    loop {
        let not_yet = |e: &io::Error| {
            matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            )
        };
        match UnixStream::connect(path).await {
            Err(e) if not_yet(&e) && Instant::now() < end => sleep(LOOK).await,
            connected => return connected,
        }
    }
}

async fn exchange(stream: UnixStream, command: Command) -> Result<(), ControlError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::PUT;
    *request.uri_mut() = hyper::Uri::from_static(match command {
        Command::PowerButton => "/v1/vm/power-button",
        Command::Reset => "/v1/vm/reset",
    });
    request
        .headers_mut()
        .insert(header::HOST, header::HeaderValue::from_static("vmm"));
    let call = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Err(ControlError::Refused {
            status,
            body: String::from_utf8_lossy(&body).into_owned(),
        })
    };
    tokio::pin!(call);
    tokio::select! {
        // The call cannot go on without the connection; when that ends first, the call says why.
        biased;
        answer = &mut call => answer,
        _ = connection => call.await,
    }
}
