use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

use super::*;

const LIMIT: Duration = Duration::from_millis(300);

/// A socket that says `words` to everyone, once it was asked where that is wanted, and hangs up.
fn says(words: &'static str, when_asked: bool) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if when_asked {
                let _ = stream.read(&mut [0; 4096]).await;
            }
            let _ = stream.write_all(words.as_bytes()).await;
        }
    });
    (directory, path)
}

#[tokio::test]
async fn an_api_that_is_not_well_speaks_against_an_update() {
    let (_kept, well) = says("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true);
    assert_eq!(answers(&well, LIMIT).await, Ok(()));
    let (_kept, ill) = says(
        "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
        true,
    );
    let why = answers(&ill, LIMIT).await.unwrap_err();
    assert!(why.contains("it answers 500"), "{why}");
    let why = answers(Path::new("/none/such"), LIMIT).await.unwrap_err();
    assert!(why.contains("No such file"), "{why}");
    // It takes the call, and never answers it.
    let directory = tempfile::tempdir().unwrap();
    let silent = directory.path().join("socket");
    let _listener = UnixListener::bind(&silent).unwrap();
    let why = answers(&silent, LIMIT).await.unwrap_err();
    assert!(why.contains("does not answer within 0.3 s"), "{why}");
}

#[tokio::test]
async fn a_guest_is_heard_by_its_kernels_first_words() {
    let heard =
        |socket: PathBuf| async move { tokio::time::timeout(LIMIT, first_word(&socket)).await.is_ok() };
    let (_kept, starts) = says("[    0.000000] Linux version 6.12.0\r\n", false);
    assert!(heard(starts).await);
    let (_kept, other) = says("no bootable device\r\n", false);
    assert!(!heard(other).await);
    assert!(!heard("/none/such".into()).await);
}
