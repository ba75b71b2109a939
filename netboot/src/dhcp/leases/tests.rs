use super::*;

fn mac(last: u8) -> Mac {
    Mac([2, 0, 0, 0, 0, last])
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn leases(range: &str) -> Leases {
    Leases::new(range.parse().unwrap(), vec![ip(1)])
}

#[test]
fn a_machine_keeps_its_address_and_gets_it_again_from_a_server_that_forgot() {
    let now = Instant::now();
    let (mut one, mut other) = (leases("10.0.0.10-10.0.0.99"), leases("10.0.0.10-10.0.0.99"));
    let address = one.offer(mac(1), None, now).unwrap();
    assert!(one.confirm(mac(1), address, now));
    assert_eq!(one.offer(mac(1), None, now), Some(address));
    assert_eq!(other.offer(mac(1), None, now), Some(address));
    // One that runs with an address asks for it by name.
    assert!(other.confirm(mac(1), ip(50), now));
    assert_eq!(other.offer(mac(1), None, now), Some(ip(50)));
}

#[test]
fn no_address_is_lent_twice() {
    let now = Instant::now();
    let mut leases = leases("10.0.0.1-10.0.0.4");
    let mut given: Vec<_> = (1..=3)
        .map(|n| leases.offer(mac(n), Some(ip(2)), now).unwrap())
        .collect();
    given.sort();
    // The server's own is left out.
    assert_eq!(given, [ip(2), ip(3), ip(4)]);
    assert_eq!(leases.offer(mac(4), None, now), None);
    // What was only offered is free again after a while.
    let later = now + OFFERED + Duration::from_secs(1);
    assert!(leases.offer(mac(4), None, later).is_some());
}

#[test]
fn an_address_of_somebody_else_is_left_alone() {
    let now = Instant::now();
    let mut leases = leases("10.0.0.2-10.0.0.3");
    assert!(leases.confirm(mac(1), ip(2), now));
    leases.decline(mac(9), ip(2), now);
    assert!(!leases.confirm(mac(2), ip(2), now));
    leases.decline(mac(1), ip(2), now);
    assert_eq!(leases.offer(mac(1), Some(ip(2)), now), Some(ip(3)));
    leases.release(mac(1), ip(3));
    assert_eq!(leases.offer(mac(2), None, now), Some(ip(3)));
    assert!(!leases.confirm(mac(3), ip(77), now));
}
