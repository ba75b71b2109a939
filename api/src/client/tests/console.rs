use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::*;

/// A guest that echoes each message with its length, and ends at `exit`.
#[tokio::test]
async fn bytes_go_both_ways_until_the_node_closes() {
    use futures_util::{SinkExt, StreamExt};
    let (listener, client, _directory) = listen();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        socket.send(Message::Ping(Bytes::new())).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            match message {
                Message::Binary(bytes) if bytes == "exit" => break,
                Message::Binary(bytes) => socket.send(Message::Binary(bytes)).await.unwrap(),
                _ => {}
            }
        }
        socket.close(None).await.unwrap();
    });
    let mut console = client.console("web").await.unwrap();
    console.write_all(b"hello").await.unwrap();
    console.flush().await.unwrap();
    let mut start = [0; 2];
    console.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"he");
    console.write_all(b"exit").await.unwrap();
    console.flush().await.unwrap();
    let mut rest = Vec::new();
    console.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"llo");
}

/// A paste larger than the node's largest message.
#[tokio::test]
async fn long_input_is_cut_into_messages() {
    use futures_util::StreamExt;
    let (listener, client, _directory) = listen();
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut socket = accept_async(stream).await.unwrap();
        let mut sizes = Vec::new();
        while let Some(Ok(Message::Binary(bytes))) = socket.next().await {
            sizes.push(bytes.len());
        }
        sizes
    });
    let mut console = client.console("web").await.unwrap();
    console.write_all(&[b'x'; 100_000]).await.unwrap();
    console.shutdown().await.unwrap();
    drop(console);
    let sizes = server.await.unwrap();
    assert_eq!(sizes.iter().sum::<usize>(), 100_000);
    assert!(sizes.iter().all(|size| *size <= 64 << 10), "{sizes:?}");
}

#[tokio::test]
async fn a_refusal_is_a_problem() {
    let node = Local::new(|_| refuse(Kind::Conflict, "VM `web` is stopped"));
    let error = node.client.console("web").await.unwrap_err();
    assert_eq!(error.status(), Some(409));
}

#[tokio::test]
async fn an_answer_that_is_no_websocket() {
    let node = Local::new(|_| json("{}"));
    let error = node.client.console("web").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "GET /v1/vms/web/console: the server did not open a WebSocket"
    );
}

/// An agent that ends, or that drops who is silent, says nothing of the VM.
#[tokio::test]
async fn a_close_for_another_reason_is_no_end() {
    use futures_util::SinkExt;
    for (code, reason, expected) in [
        (CloseCode::Normal, "the other end has ended", None),
        (
            CloseCode::Away,
            "the agent ends; attach again",
            Some("the node closed it: the agent ends; attach again"),
        ),
        (CloseCode::Policy, "", Some("the node closed it with code 1008")),
    ] {
        let (listener, client, _directory) = listen();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut socket = accept_async(stream).await.unwrap();
            socket.send(Message::Binary("last".into())).await.unwrap();
            let reason = reason.into();
            socket.close(Some(CloseFrame { code, reason })).await.unwrap();
        });
        let mut console = client.console("web").await.unwrap();
        let mut printed = Vec::new();
        let end = console.read_to_end(&mut printed).await;
        assert_eq!(printed, b"last");
        let said = end.err().map(|error| error.to_string());
        assert_eq!(said.as_deref(), expected);
    }
}
