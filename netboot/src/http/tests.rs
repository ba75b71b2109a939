use axum::http::Request;
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::*;
use crate::fixture::{SERVER, media, shared};

async fn ask(shared: &Arc<Shared>, method: &str, path: &str) -> (StatusCode, Vec<u8>, Option<u64>) {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let peer: SocketAddr = "10.0.0.100:1234".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = router(Arc::clone(shared)).oneshot(request).await.unwrap();
    let length = response.headers().get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, body.to_vec(), length)
}

#[tokio::test]
async fn a_machine_gets_its_script_its_config_and_the_files_and_nothing_else() {
    let (dir, configs) = (media(), tempfile::tempdir().unwrap());
    std::fs::write(configs.path().join("AX-17.toml"), "hostname = \"rack7\"\n").unwrap();
    let (shared, mut events) = shared(dir.path(), Some(configs.path()), SERVER);

    let (status, script, _) = ask(&shared, "GET", "/boot.ipxe").await;
    assert_eq!(status, StatusCode::OK);
    assert!(script.starts_with(b"#!ipxe"));
    let (_, script, _) = ask(
        &shared,
        "GET",
        "/node.ipxe?uuid=&serial=AX%2017&mac=52:54:00:12:34:56",
    )
    .await;
    let script = String::from_utf8(script).unwrap();
    let (_, rest) = script.split_once("axion.config=http://10.0.0.1:8069").unwrap();
    let (_, document, _) = ask(&shared, "GET", rest.split(' ').next().unwrap()).await;
    assert_eq!(document, b"hostname = \"rack7\"\n");

    let (status, initramfs, length) = ask(&shared, "GET", "/initramfs.cpio").await;
    assert_eq!((status, length), (StatusCode::OK, Some(800_000)));
    assert_eq!(
        initramfs,
        std::fs::read(dir.path().join("initramfs.cpio")).unwrap()
    );
    let (status, nothing, length) = ask(&shared, "HEAD", "/axion.efi").await;
    assert_eq!((status, nothing.len(), length), (StatusCode::OK, 0, Some(4)));

    for (method, path, wanted) in [
        ("GET", "/SHA256SUMS", StatusCode::NOT_FOUND),
        ("GET", "/..%2fvmlinuz", StatusCode::NOT_FOUND),
        ("GET", "/config.toml?serial=other", StatusCode::NOT_FOUND),
        ("POST", "/vmlinuz", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        assert_eq!(ask(&shared, method, path).await.0, wanted, "{path}");
    }
    let mut lines = Vec::new();
    while let Ok(event) = events.try_recv() {
        lines.push(event.to_string());
    }
    let who = "52:54:00:12:34:56  10.0.0.100       -        ";
    assert_eq!(lines[0], format!("{who}  script, config AX-17.toml"));
    assert_eq!(lines[1], format!("{who}  config AX-17.toml"));
    assert_eq!(lines[5], format!("{who}  initramfs.cpio  100 %"));
}

#[tokio::test]
async fn a_config_that_was_broken_meanwhile_is_not_given() {
    let (dir, configs) = (media(), tempfile::tempdir().unwrap());
    let (shared, _events) = shared(dir.path(), Some(configs.path()), SERVER);
    std::fs::write(configs.path().join("default.toml"), "hostnam = 1\n").unwrap();
    let (status, reason, _) = ask(&shared, "GET", "/config.toml").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(String::from_utf8(reason).unwrap().contains("hostnam"));
}

#[tokio::test]
async fn a_file_that_was_written_over_is_not_given() {
    let dir = media();
    let (shared, _events) = shared(dir.path(), None, SERVER);
    std::fs::write(dir.path().join("vmlinuz"), "changed").unwrap();
    assert_eq!(
        ask(&shared, "GET", "/vmlinuz").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
}
