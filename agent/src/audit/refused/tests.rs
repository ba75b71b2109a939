use super::*;

#[test]
fn of_each_peer_one_is_written_and_the_rest_are_counted() {
    let refused = Refused::default();
    let (a, b): (IpAddr, IpAddr) = ("2001:db8::1".parse().unwrap(), [192, 0, 2, 2].into());
    let first = refused.count(a).unwrap();
    assert_eq!(refused.count("2001:db8::2".parse().unwrap()), None);
    assert_eq!(refused.count(b).unwrap().to_string(), "192.0.2.2");
    assert_eq!(first.to_string(), "2001:db8::/64");
    assert_eq!(refused.end(first), 1);
    assert!(refused.count(a).is_some(), "it is a first one again");
}

#[test]
fn many_peers_are_taken_together() {
    let refused = Refused::default();
    let firsts: Vec<First> = (0..=255)
        .filter_map(|n| refused.count([192, 0, 2, n].into()))
        .collect();
    assert_eq!(firsts.len(), PEERS + 1);
    let others = firsts.last().unwrap();
    assert_eq!(
        (others.to_string().as_str(), refused.end(*others)),
        ("others", 255 - PEERS as u64)
    );
}

#[test]
fn what_is_written_of_a_stranger_is_short_and_text() {
    let long = "/ä".repeat(1000);
    assert!(target(&long).len() <= 256 && long.starts_with(target(&long)));
    assert_eq!((target("/v1"), method("DELETE")), ("/v1", "DELETE"));
}
