use std::convert::Infallible;

use super::*;

#[tokio::test(start_paused = true)]
async fn an_image_that_drips_in_gives_its_turn_back() {
    let mut drip = Box::pin(futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        Some((Ok::<_, Infallible>(Bytes::from_static(b"x")), ()))
    }));
    let problem = gather(&mut drip).await.unwrap_err();
    assert_eq!(problem.detail, "the image did not arrive within 30 min");
}
