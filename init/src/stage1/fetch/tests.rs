use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{FetchError, Url, get, public_name};
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
