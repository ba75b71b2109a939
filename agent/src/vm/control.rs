//! Connections to a VMM's sockets, and one call to its control socket (`axion_api::vmm`). What a VMM answers is not trusted:
//! a guest may have taken it over.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use axion_api::vmm::{BalloonSize, MemorySize, VmmMetrics, VmmStatus};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep};

/// A VMM that has just been started has opened its sockets by then.
const OPENS: Duration = Duration::from_secs(10);
/// Between two looks for a socket.
const LOOK: Duration = Duration::from_millis(10);
/// How long a VMM may take to answer.
const ANSWER: Duration = Duration::from_secs(3);
/// Longest body that is read, bytes: histograms of 64 queues of disks, each with all its buckets, are some 3 MiB.
const LONGEST: usize = 8 << 20;
/// Most of an error's body that is told on, characters.
const LONGEST_ERROR: usize = 4096;

/// Longest line by which a connection to a port is granted: `OK 4294967295`, and its end.
const LONGEST_GRANT: usize = 14;

/// Why a port of a guest cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// Its VMM's socket.
    #[error("cannot connect to the VMM's socket")]
    Socket(#[source] io::Error),
    /// Nobody listens.
    #[error("nobody listens at port {0} of the guest")]
    Refused(u32),
    /// The guest does not answer.
    #[error("the guest did not answer within {seconds} s at port {0}", seconds = ANSWER.as_secs())]
    Timeout(u32),
}

/// What a VMM can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Press the ACPI power button.
    PowerButton,
    /// Start the machine anew.
    Reset,
    /// Stop the vCPUs.
    Pause,
    /// Let the vCPUs go on.
    Resume,
}

/// A socket of a VMM.
#[derive(Debug, Clone)]
pub struct Socket {
    /// Where it is.
    pub path: PathBuf,
    /// The VMM has not been heard of: its process is there a moment before its sockets are.
    pub comes: bool,
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
    /// It has ended meanwhile.
    #[error("the VMM has ended")]
    Ended,
    /// No answer in time.
    #[error("the VMM did not answer within {} s", ANSWER.as_secs())]
    Timeout,
    /// The connection broke.
    #[error("the VMM broke the connection")]
    Protocol(#[from] hyper::Error),
    /// It answered something else than it should.
    #[error("the VMM's answer cannot be read: {0}")]
    Answer(String),
    /// It refused.
    #[error("the VMM answered {status}: {body}")]
    Refused {
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        body: String,
    },
}

/// Sends `command` to the VMM whose control socket is `socket`.
pub async fn send(socket: Socket, command: Command) -> Result<(), ControlError> {
    let target = match command {
        Command::PowerButton => "/v1/vm/power-button",
        Command::Reset => "/v1/vm/reset",
        Command::Pause => "/v1/vm/pause",
        Command::Resume => "/v1/vm/resume",
    };
    call(socket, Method::PUT, target, Bytes::new()).await.map(drop)
}

/// What the VMM whose control socket is `socket` says of itself.
pub async fn status(socket: Socket) -> Result<VmmStatus, ControlError> {
    let body = call(socket, Method::GET, "/v1/vm", Bytes::new()).await?;
    serde_json::from_slice(&body).map_err(|error| ControlError::Answer(error.to_string()))
}

/// What the VMM whose control socket is `socket` has counted.
pub async fn metrics(socket: Socket) -> Result<VmmMetrics, ControlError> {
    let body = call(socket, Method::GET, "/v1/vm/metrics", Bytes::new()).await?;
    serde_json::from_slice(&body).map_err(|error| ControlError::Answer(error.to_string()))
}

/// Has the VMM whose control socket is `socket` ask its guest for `size` bytes.
pub async fn set_balloon(socket: Socket, size: u64) -> Result<(), ControlError> {
    let body = serde_json::to_vec(&BalloonSize { size });
    let body = body.map_err(|error| ControlError::Answer(error.to_string()))?;
    call(socket, Method::PUT, "/v1/vm/balloon", body.into())
        .await
        .map(drop)
}

/// Has the VMM whose control socket is `socket` ask its guest to have `size` bytes.
pub async fn set_memory(socket: Socket, size: u64) -> Result<(), ControlError> {
    let body = serde_json::to_vec(&MemorySize { size });
    let body = body.map_err(|error| ControlError::Answer(error.to_string()))?;
    call(socket, Method::PUT, "/v1/vm/memory", body.into())
        .await
        .map(drop)
}

/// Connects to a port of the guest whose clients come to `socket`.
///
/// # Errors
/// [`PortError`].
pub async fn connect_port(socket: &Socket, port: u32) -> Result<UnixStream, PortError> {
    let mut stream = connect(socket).await.map_err(PortError::Socket)?;
    let granted = async {
        stream.write_all(format!("CONNECT {port}\n").as_bytes()).await?;
        // What comes behind the line is the guest's.
        for _ in 0..LONGEST_GRANT {
            if stream.read_u8().await? == b'\n' {
                return Ok(());
            }
        }
        Err(io::Error::from(io::ErrorKind::InvalidData))
    };
    match tokio::time::timeout(ANSWER, granted).await {
        Ok(Ok(())) => Ok(stream),
        Ok(Err(_)) => Err(PortError::Refused(port)),
        Err(_) => Err(PortError::Timeout(port)),
    }
}

async fn call(
    socket: Socket,
    method: Method,
    target: &'static str,
    body: Bytes,
) -> Result<Bytes, ControlError> {
    let stream = connect(&socket).await;
    let stream = stream.map_err(|source| ControlError::Connect {
        path: socket.path,
        source,
    })?;
    tokio::time::timeout(ANSWER, exchange(stream, method, target, body))
        .await
        .map_err(|_| ControlError::Timeout)?
}

/// Connects to a socket of a VMM, and waits for one that is to come.
///
/// # Errors
/// Nobody listens there, and nobody begins to.
pub async fn connect(socket: &Socket) -> io::Result<UnixStream> {
    let end = Instant::now() + if socket.comes { OPENS } else { Duration::ZERO };
    loop {
        let not_yet = |e: &io::Error| {
            matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            )
        };
        match UnixStream::connect(&socket.path).await {
            Err(e) if not_yet(&e) && Instant::now() < end => sleep(LOOK).await,
            connected => return connected,
        }
    }
}

async fn exchange(
    stream: UnixStream,
    method: Method,
    target: &'static str,
    body: Bytes,
) -> Result<Bytes, ControlError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = hyper::Uri::from_static(target);
    request
        .headers_mut()
        .insert(header::HOST, header::HeaderValue::from_static("vmm"));
    let call = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LONGEST).collect().await;
        if status.is_success() {
            let body = body.map_err(|error| ControlError::Answer(error.to_string()))?;
            return Ok(body.to_bytes());
        }
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        Err(ControlError::Refused {
            status,
            body: String::from_utf8_lossy(&body)
                .chars()
                .take(LONGEST_ERROR)
                .collect(),
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
