//! A VM's console, or a port of its guest: binary WebSocket messages (RFC 6455) as a byte stream.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use http::{HeaderValue, Method, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::request::{self, Call};
use super::{Client, Error};

/// Most that one message carries, bytes; the node refuses messages of more than 64 KiB.
const PIECE: usize = 16 << 10;

/// A VM's console, or a port of its guest, both ways. Reading ends when the other end of it has; a node that closes the console for
/// another reason, as an agent that ends while the VM runs on, is an error that says so. Shutting the write side down closes both.
#[derive(Debug)]
pub struct ConsoleStream {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    /// What a message held beyond the last read's buffer.
    rest: Bytes,
}

/// Opens the WebSocket at `path`.
pub(super) async fn open(client: &Client, path: String) -> Result<ConsoleStream, Error> {
    let key = generate_key();
    let mut call = Call::new(Method::GET, path);
    let name = call.name();
    let protocol = |detail: &str| Error::Protocol {
        call: name.clone(),
        detail: detail.to_owned(),
    };
    call.headers = vec![
        (header::CONNECTION, HeaderValue::from_static("Upgrade")),
        (header::UPGRADE, HeaderValue::from_static("websocket")),
        (header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")),
        (
            header::SEC_WEBSOCKET_KEY,
            HeaderValue::try_from(&key).map_err(|_| protocol("the key is no header value"))?,
        ),
    ];
    let response = request::open(client, call).await?;
    let accept = response.headers().get(header::SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|value| value.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes()) {
        return Err(protocol("the server did not open a WebSocket"));
    }
    let stream = hyper::upgrade::on(response)
        .await
        .map_err(|error| Error::Broken {
            call: name.clone(),
            source: error.into(),
        })?;
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Client, None).await;
    Ok(ConsoleStream {
        socket,
        rest: Bytes::new(),
    })
}

fn io_error(error: WsError) -> io::Error {
    match error {
        WsError::Io(error) => error,
        WsError::ConnectionClosed | WsError::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}

/// What a node means by closing the console.
fn closed(frame: &CloseFrame) -> io::Result<()> {
    if frame.code == CloseCode::Normal {
        return Ok(());
    }
    let code = u16::from(frame.code);
    let why = match frame.reason.as_str() {
        "" => format!("the node closed it with code {code}"),
        reason => format!("the node closed it: {reason}"),
    };
    Err(io::Error::new(io::ErrorKind::ConnectionAborted, why))
}

impl AsyncRead for ConsoleStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            self.rest = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => bytes,
                Some(Ok(Message::Text(text))) => text.into(),
                Some(Ok(Message::Close(frame))) => return Poll::Ready(frame.as_ref().map_or(Ok(()), closed)),
                None => return Poll::Ready(Ok(())),
                Some(Ok(_)) => continue,
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
            };
        }
        let part = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest.slice(..part));
        self.rest.advance(part);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ConsoleStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let piece = bytes.get(..PIECE).unwrap_or(bytes);
        let mut socket = Pin::new(&mut self.socket);
        ready!(socket.as_mut().poll_ready(cx)).map_err(io_error)?;
        socket
            .start_send(Message::Binary(Bytes::copy_from_slice(piece)))
            .map_err(io_error)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(io_error)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match ready!(Pin::new(&mut self.socket).poll_close(cx)) {
            Ok(()) | Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(io_error(error))),
        }
    }
}
