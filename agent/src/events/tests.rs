use super::*;

fn deleted(name: &str) -> What {
    What::VmDeleted {
        name: name.to_owned(),
    }
}

#[tokio::test]
async fn a_reader_sees_what_comes_after_it_and_can_come_back() {
    let events = Events::new();
    events.publish(deleted("before"));
    let mut cursor = events.subscribe(None);
    events.publish(deleted("a"));
    events.publish(deleted("b"));
    let first = events.next(&mut cursor).await.unwrap();
    assert_eq!((first.sequence, &first.what), (2, &deleted("a")));
    let mut again = events.subscribe(Some(first.sequence));
    assert_eq!(events.next(&mut again).await.unwrap().what, deleted("b"));
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let events = Events::new();
    let mut cursor = events.subscribe(None);
    let (event, ()) = tokio::join!(events.next(&mut cursor), async { events.publish(deleted("a")) });
    assert_eq!(event.unwrap().what, deleted("a"));
}

#[tokio::test]
async fn a_slow_reader_is_told_what_it_lost_and_goes_on() {
    let events = Events::new();
    let mut cursor = events.subscribe(None);
    for n in 0..CAPACITY + 10 {
        events.publish(deleted(&n.to_string()));
    }
    assert_eq!(
        events.next(&mut cursor).await.unwrap().what,
        What::Lost { count: 10 }
    );
    let next = events.next(&mut cursor).await.unwrap();
    assert_eq!((next.sequence, next.what), (11, deleted("10")));
}

#[tokio::test]
async fn an_id_of_an_earlier_run_is_a_loss() {
    let events = Events::new();
    events.publish(deleted("a"));
    let mut cursor = events.subscribe(Some(500));
    assert_eq!(
        events.next(&mut cursor).await.unwrap().what,
        What::Lost { count: 1 }
    );
    events.publish(deleted("b"));
    assert_eq!(events.next(&mut cursor).await.unwrap().what, deleted("b"));
}
