//! `/v1/vms/{name}/console` and `/v1/vms/{name}/vsock/{port}`: a guest's console, and its ports, over a WebSocket.
//!
//! Binary frames both ways. Each direction is a loop of its own that reads nothing new before the last piece was taken, so
//! a slow side slows the other and nothing piles up; neither can block the other direction.

use std::sync::Arc;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use axum::extract::{Path, State, WebSocketUpgrade};
use axum::response::Response;
use bytes::BytesMut;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Answer;
use crate::app::App;
use crate::log::chain;
use crate::vm::control::{self, Socket};

/// Between two pings.
const PING: Duration = Duration::from_secs(20);
/// A client that says nothing for so long, not even pong, is gone.
const SILENCE: Duration = Duration::from_secs(70);
/// Most that is read from the guest at a time, bytes.
const PIECE: usize = 16 << 10;
/// Largest message that a client may send, bytes.
const LARGEST: usize = 64 << 10;

/// Attaches to a guest's console: a WebSocket, binary frames.
#[utoipa::path(get, path = "/v1/vms/{name}/console", tag = "vms",
    params(("name" = String, Path, description = "Name of the VM")),
    responses((status = 101, description = "WebSocket; first what the guest printed last, then both ways")))]
pub async fn attach(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let socket = app.vms.console(&name).await?;
    let upgrade = upgrade.map_err(|error| Problem::new(Kind::Malformed, error.to_string()))?;
    let guest = connect(&socket, &name).await?;
    Ok(open(app, upgrade, guest))
}

/// Connects to a port of a guest (AF_VSOCK): a WebSocket, binary frames.
#[utoipa::path(get, path = "/v1/vms/{name}/vsock/{port}", tag = "vms",
    params(
        ("name" = String, Path, description = "Name of the VM"),
        ("port" = u32, Path, description = "Port at which the guest listens"),
    ),
    responses((status = 101, description = "WebSocket; both ways")))]
pub async fn vsock(
    State(app): State<Arc<App>>,
    Path((name, port)): Path<(String, u32)>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Answer<Response> {
    let socket = app.vms.vsock(&name).await?;
    let upgrade = upgrade.map_err(|error| Problem::new(Kind::Malformed, error.to_string()))?;
    let guest = control::connect_port(&socket, port)
        .await
        .map_err(|error| Problem::new(Kind::Unavailable, format!("VM `{name}`: {}", chain(&error))))?;
    Ok(open(app, upgrade, guest))
}

fn open(app: Arc<App>, upgrade: WebSocketUpgrade, guest: UnixStream) -> Response {
    let alive = app.tasks.token();
    let upgrade = upgrade.max_message_size(LARGEST).max_frame_size(LARGEST);
    upgrade.on_upgrade(async move |client| {
        let _alive = alive;
        bridge(&app, client, guest).await;
    })
}

async fn connect(socket: &Socket, name: &str) -> Result<UnixStream, Problem> {
    control::connect(socket).await.map_err(|error| {
        let detail = format!("the console of VM `{name}` cannot be reached: {error}");
        Problem::new(Kind::Unavailable, detail)
    })
}

async fn bridge(app: &App, client: WebSocket, guest: UnixStream) {
    let (mut to_client, from_client) = client.split();
    let (from_guest, to_guest) = guest.into_split();
    let (code, reason) = tokio::select! {
        end = print(from_guest, &mut to_client) => end,
        end = type_in(from_client, to_guest) => end,
        () = app.closing.cancelled() => (close_code::AWAY, "the agent ends; attach again"),
    };
    let close = Message::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }));
    // The client may be gone already.
    let _ = timeout(Duration::from_secs(1), to_client.send(close)).await;
}

type End = (u16, &'static str);
/// The VM has, or the program at the port.
const ENDED: End = (close_code::NORMAL, "the other end has ended");
const GONE: End = (close_code::NORMAL, "the client left");

async fn print(mut guest: OwnedReadHalf, client: &mut SplitSink<WebSocket, Message>) -> End {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut buffer = BytesMut::with_capacity(PIECE);
    loop {
        buffer.reserve(PIECE);
        let message = tokio::select! {
            read = guest.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => return ENDED,
                Ok(_) => Message::Binary(buffer.split().freeze()),
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
        };
        if client.send(message).await.is_err() {
            return GONE;
        }
    }
}

async fn type_in(mut client: SplitStream<WebSocket>, mut guest: OwnedWriteHalf) -> End {
    loop {
        let typed = match timeout(SILENCE, client.next()).await {
            Ok(Some(Ok(Message::Binary(bytes)))) => bytes,
            Ok(Some(Ok(Message::Text(text)))) => text.into(),
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(Some(Ok(Message::Close(_)) | Err(_)) | None) => return GONE,
            Err(_) => return (close_code::POLICY, "the client was silent for too long"),
        };
        if guest.write_all(&typed).await.is_err() {
            return ENDED;
        }
    }
}
