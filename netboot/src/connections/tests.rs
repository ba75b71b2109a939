use std::net::Ipv4Addr;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::*;
use crate::fixture::{media, shared};

const SOON: Duration = Duration::from_millis(300);
const LATE: Duration = Duration::from_secs(20);

struct Bench {
    address: SocketAddr,
    server: JoinHandle<()>,
    _media: TempDir,
}

impl Bench {
    async fn new(limits: Limits) -> Self {
        let media = media();
        let (shared, _) = shared(media.path(), None, Ipv4Addr::LOCALHOST);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self {
            address,
            server: tokio::spawn(serve(listener, None, shared, limits)),
            _media: media,
        }
    }

    async fn client(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// All that comes until the server ends the connection.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // By whatever end.
    let _ = timeout(LATE, stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

/// Whether the server answers here.
async fn is_answered(stream: &mut TcpStream) -> bool {
    // It may be closed already.
    let _ = stream
        .write_all(b"HEAD /vmlinuz HTTP/1.1\r\nHost: here\r\n\r\n")
        .await;
    let mut status = [0; 12];
    let read = timeout(LATE, stream.read_exact(&mut status)).await.unwrap();
    read.is_ok() && &status == b"HTTP/1.1 200"
}

#[tokio::test]
async fn only_http_1_is_spoken() {
    let bench = Bench::new(LIMITS).await;
    let mut client = bench.client().await;
    // Its preface, and settings without any.
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    client.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let answer = rest(&mut client).await;
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 4") || answer.starts_with(b"HTTP/1.1 5"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn who_asks_for_nothing_is_let_go() {
    let bench = Bench::new(Limits { head: SOON, ..LIMITS }).await;
    let mut silent = bench.client().await;
    let mut slow = bench.client().await;
    slow.write_all(b"GET /vmlinuz HT").await.unwrap();
    let mut done = bench.client().await;
    assert!(is_answered(&mut done).await);
    for client in [&mut silent, &mut slow, &mut done] {
        rest(client).await;
    }
}

#[tokio::test]
async fn one_address_has_no_more_than_its_part() {
    let bench = Bench::new(Limits { each: 2, ..LIMITS }).await;
    let (mut first, mut second) = (bench.client().await, bench.client().await);
    assert!(is_answered(&mut first).await && is_answered(&mut second).await);
    assert!(!is_answered(&mut bench.client().await).await);
    drop(first);
    // Its end is seen a moment later.
    while !is_answered(&mut bench.client().await).await {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_takes_nothing_is_let_go_and_others_are_not() {
    let bench = Bench::new(Limits {
        stall: SOON,
        ..LIMITS
    })
    .await;
    // Larger than what the kernel keeps between the two.
    let request = b"GET /initramfs.cpio HTTP/1.1\r\nHost: here\r\n\r\n".repeat(64);
    let mut stalled = bench.client().await;
    stalled.write_all(&request).await.unwrap();
    sleep(4 * SOON).await;
    let got = rest(&mut stalled).await.len();
    assert!(got < 64 * 800_000, "it was cut off: {got}");
    let mut slow = bench.client().await;
    let request = b"GET /initramfs.cpio HTTP/1.0\r\nHost: here\r\n\r\n";
    slow.write_all(request).await.unwrap();
    let (mut got, mut piece) = (0, vec![0; 100_000]);
    loop {
        match slow.read(&mut piece).await.unwrap() {
            0 => break,
            count => got += count,
        }
        sleep(SOON / 10).await;
    }
    assert!(got > 800_000, "{got}");
}
