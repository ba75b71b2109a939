use std::io::Read;

use super::*;
use crate::node::for_tests;

fn answer(text: &str) -> Answer {
    serde_json::from_str(text).unwrap()
}

#[tokio::test]
async fn without_zfs_a_stream_ends_at_once_and_says_why() {
    let (node, _wishes, _guard) = for_tests().await;
    let stream = r#"{"stream":"send","name":"tank/a@x","options":{}}"#;
    let (number, pipe) = begin(&node, stream).unwrap();
    let Answer::Problem(problem) = answer(&end(&node, number).await) else {
        panic!("it was sent");
    };
    assert_eq!(problem.status, 503);
    let mut read = Vec::new();
    std::fs::File::from(pipe).read_to_end(&mut read).unwrap();
    assert!(read.is_empty());
    let Answer::Problem(again) = answer(&end(&node, number).await) else {
        panic!("it ended twice");
    };
    assert_eq!(again.status, 404);
    assert!(begin(&node, "{}").is_err());
}

#[test]
fn ends_that_nobody_asks_for_are_forgotten() {
    let mut streams = Streams::default();
    let open: Vec<_> = (0..3)
        .map(|_| {
            let (sender, receiver) = oneshot::channel();
            streams.add(receiver);
            sender
        })
        .collect();
    for _ in 0..200 {
        let (sender, receiver) = oneshot::channel();
        sender.send(Answer::Done).unwrap();
        streams.add(receiver);
    }
    assert!(
        streams.by_number.len() <= REMEMBERED + 3,
        "{}",
        streams.by_number.len()
    );
    assert!((1..=3).all(|number| streams.by_number.contains_key(&number)));
    drop(open);
}
