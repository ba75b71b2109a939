use super::*;

#[test]
fn nobody_has_more_than_its_part() {
    let turns = Turns::new(3, 2);
    let take = |peer: &str| turns.take(peer.parse().unwrap());
    let first = take("10.0.0.1:1000");
    assert!(first.is_some());
    assert!(take("10.0.0.1:1000").is_none(), "it has one already");
    let _second = take("10.0.0.1:1001").unwrap();
    assert!(take("10.0.0.1:1002").is_none(), "two for one address");
    let _third = take("10.0.0.2:1000").unwrap();
    assert!(take("10.0.0.3:1000").is_none(), "three in all");
    drop(first);
    assert!(take("10.0.0.1:1000").is_some());
}
