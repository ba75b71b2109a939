use futures_util::stream;

use super::*;

fn digest_of(body: &[u8]) -> Digest {
    Digest(Sha256::digest(body).into())
}

fn chunks(body: &[u8]) -> impl Stream<Item = Result<Vec<u8>, io::Error>> + Unpin {
    stream::iter(body.chunks(3).map(|chunk| Ok(chunk.to_vec())).collect::<Vec<_>>())
}

#[test]
fn one_digest_has_one_form() {
    let text = digest_of(b"x").to_string();
    assert_eq!(text.parse::<Digest>().unwrap().to_string(), text);
    for bad in [
        "",
        "sha256:",
        "sha256:00",
        &text.to_uppercase(),
        "sha256:../../../../etc/passwd",
        &text[7..],
    ] {
        assert!(bad.parse::<Digest>().is_err(), "{bad}");
    }
    assert!(
        format!("sha256:{}", text[7..].to_uppercase())
            .parse::<Digest>()
            .is_err()
    );
}

#[tokio::test]
async fn an_image_is_stored_once_listed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let images = Images::open(directory.path().join("images")).unwrap();
    let digest = digest_of(b"a kernel");
    let (image, new) = images.put(digest, Some(8), chunks(b"a kernel")).await.unwrap();
    assert!(new);
    assert_eq!((image.size, &image.digest), (8, &digest.to_string()));
    assert!(!images.put(digest, None, chunks(b"a kernel")).await.unwrap().1);
    assert_eq!(images.list().await.unwrap(), [image]);
    assert_eq!(std::fs::read(images.path(digest)).unwrap(), b"a kernel");
    assert!(images.delete(digest).await.unwrap());
    assert!(!images.delete(digest).await.unwrap());
}

#[tokio::test]
async fn a_body_that_is_wrong_or_cut_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let images = Images::open(directory.path().to_owned()).unwrap();
    let wrong = images.put(digest_of(b"a"), None, chunks(b"b")).await;
    assert!(matches!(wrong, Err(ImageError::Mismatch { .. })));
    let cut = stream::iter([Ok(b"a".to_vec()), Err(io::Error::other("reset"))]);
    assert!(matches!(
        images.put(digest_of(b"a"), None, cut).await,
        Err(ImageError::Body(_))
    ));
    let large = images.put(digest_of(b"a"), Some(LARGEST + 1), chunks(b"a")).await;
    assert!(matches!(large, Err(ImageError::TooLarge)));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn unfinished_uploads_are_removed_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(".upload-7"), b"half").unwrap();
    Images::open(directory.path().to_owned()).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn uploads_that_stand_still_are_given_up_and_others_do_not_wait_for_ever() {
    let agent = crate::testing::Agent::alone();
    let path = |body: &[u8]| format!("/v1/images/{}", digest_of(body));
    let stalled = async |n: u8| {
        let begun = stream::iter([Ok::<_, io::Error>(vec![n])]).chain(stream::pending());
        let request = axum::http::Request::put(path(&[n, n]));
        let request = request.body(axum::body::Body::from_stream(begun)).unwrap();
        agent.send(crate::auth::Peer::Local { uid: 0 }, request).await
    };
    let other = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let early = agent.call("PUT", &path(b"other"), "other").await;
        assert_eq!(early.problem().status, 503);
        tokio::time::sleep(Duration::from_secs(20)).await;
        agent.call("PUT", &path(b"other"), "other").await
    };
    let all = async { tokio::join!(stalled(1), stalled(2), stalled(3), stalled(4), other) };
    let (given_up, .., other) = tokio::time::timeout(Duration::from_secs(3600), all)
        .await
        .unwrap();
    let problem = given_up.problem();
    assert_eq!(
        (problem.status, problem.detail.as_str()),
        (400, "the body ended early: nothing arrived for 60 s")
    );
    assert_eq!(other.status, axum::http::StatusCode::CREATED, "{other:?}");
    let kept = std::fs::read_dir(agent.directory.path().join("images"));
    assert_eq!(kept.unwrap().count(), 1);
}
