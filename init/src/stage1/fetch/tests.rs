use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::{FetchError, Url, ask, get, public_name};
use crate::log::Log;
use crate::names::Names;

fn url(text: &str) -> Result<Url, FetchError> {
    Url::parse(text, Path::new("/nonexistent"))
}

#[test]
fn urls_are_taken_apart() {
    let got = url(&format!(
        "https://u:p@[2001:db8::1]:8443/n?x=1#sha256={}",
        "ab".repeat(32)
    ))
    .unwrap();
    assert_eq!(
        (got.host.as_str(), got.port, got.tls),
        ("2001:db8::1", 8443, true)
    );
    assert_eq!(got.credentials.as_deref(), Some("u:p"));
    assert_eq!(got.pin, Some([0xab; 32]));
    assert_eq!(got.uri.path_and_query().unwrap().as_str(), "/n?x=1");
    assert_eq!(url("http://c/").unwrap().port, 80);
}

#[test]
fn a_pin_needs_tls_and_64_digits() {
    assert!(matches!(
        url(&format!("http://c/#sha256={}", "ab".repeat(32))),
        Err(FetchError::Pin(_))
    ));
    assert!(matches!(url("https://c/#sha256=ab"), Err(FetchError::Pin(_))));
    assert!(matches!(url("https://c/#md5=ab"), Err(FetchError::Pin(_))));
}

#[test]
fn facts_that_the_machine_does_not_have_are_said() {
    assert!(matches!(
        url("http://c/${serial}.toml"),
        Err(FetchError::Substitute(_))
    ));
    assert!(
        url("http://c/${hostname}.toml")
            .unwrap()
            .uri
            .path()
            .starts_with("/axion-")
    );
}

#[test]
fn names_hold_no_secrets() {
    assert_eq!(public_name("http://a:b@c/d?e#f"), "http://c/d");
    assert_eq!(public_name("http://c"), "http://c");
}

async fn answered(answer: &'static str) -> Result<Vec<u8>, FetchError> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let got = get(
        &url(&format!("http://u:p@127.0.0.1:{port}/x?y=1")).unwrap(),
        &Names::default(),
    )
    .await;
    let request = server.await.unwrap();
    assert!(request.starts_with("GET /x?y=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: Basic dTpw\r\n"), "{request}");
    got
}

#[tokio::test]
async fn a_document_is_fetched() {
    let got = answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
    assert_eq!(got.unwrap(), b"hi");
}

#[tokio::test]
async fn an_error_page_is_no_document() {
    let got = answered("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno").await;
    assert!(
        got.unwrap_err()
            .to_string()
            .ends_with("answered 404 Not Found; only 200 is taken")
    );
}

#[tokio::test]
async fn a_server_that_comes_up_late_is_asked_again() {
    let port = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    };
    let server = tokio::spawn(async move {
        // After the first attempt, and behind a proxy that is up before the server.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        for answer in [
            "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        ] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let at = url(&format!("http://127.0.0.1:{port}/n")).unwrap();
    let got = ask(&at, &Names::default(), Duration::from_secs(20), &Log::open()).await;
    assert_eq!(got.unwrap(), b"ok");
    server.await.unwrap();
}

#[tokio::test]
async fn a_server_that_never_comes_up_ends_the_wait_and_one_that_refuses_ends_it_at_once() {
    let began = Instant::now();
    let nobody = url("http://127.0.0.1:1/n").unwrap();
    let got = ask(&nobody, &Names::default(), Duration::from_secs(2), &Log::open()).await;
    assert!(matches!(got, Err(FetchError::Failed { .. })), "{got:?}");
    assert!(began.elapsed() < Duration::from_secs(3));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = url(&format!("http://{}/n", listener.local_addr().unwrap())).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 4096]).await.unwrap();
        let none = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(none).await.unwrap();
    });
    let began = Instant::now();
    let got = ask(&at, &Names::default(), Duration::from_secs(20), &Log::open()).await;
    assert!(matches!(got, Err(FetchError::Status(..))), "{got:?}");
    assert!(began.elapsed() < Duration::from_secs(1));
    server.await.unwrap();
}
