use super::*;

#[test]
fn places_are_bounded_in_all_and_for_each_and_come_back() {
    let slots = Slots::new(3, 2);
    let (a, b): (IpAddr, IpAddr) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    let held = (slots.take(a).unwrap(), slots.take(a).unwrap());
    assert!(slots.take(a).is_none());
    let other = slots.take(b).unwrap();
    assert!(slots.take(b).is_none());
    drop(held);
    drop(other);
    assert!(slots.taken.lock().unwrap().is_empty());
}

#[test]
fn an_ipv6_network_is_one_peer() {
    let slots = Slots::new(9, 2);
    let take = |text: &str| slots.take(text.parse().unwrap());
    let _held = (take("2001:db8::1").unwrap(), take("2001:db8::2").unwrap());
    assert!(take("2001:db8::3").is_none());
    assert!(take("2001:db8:0:1::1").is_some());
}
