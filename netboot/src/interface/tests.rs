use super::*;

fn interface(name: &str, address: Option<[u8; 4]>, up: bool) -> Interface {
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    Interface {
        name: name.to_owned(),
        addresses: address.map(|a| (a.into(), mask)).into_iter().collect(),
        up,
    }
}

#[test]
fn an_interface_that_does_not_fit_is_refused_with_what_there_is() {
    let lan = interface("eth0", Some([10, 0, 0, 1]), true);
    let bare = interface("eth1", None, true);
    let down = interface("eth2", Some([10, 2, 0, 1]), false);
    let all = [lan.clone(), bare.clone(), down.clone()];
    let two = [lan.clone(), interface("eth3", Some([10, 3, 0, 1]), true)];
    type Row<'a> = (
        &'a [Interface],
        Option<&'a str>,
        Option<&'a str>,
        Result<[u8; 4], &'a str>,
    );
    let table: [Row<'_>; 10] = [
        (&all, None, None, Ok([10, 0, 0, 1])),
        (&all, Some("eth0"), Some("10.0.0.5-10.0.0.9"), Ok([10, 0, 0, 1])),
        (
            &all,
            Some("eth0"),
            Some("10.1.0.5-10.1.0.9"),
            Err("not in a network of the interface eth0 (10.0.0.1/24)"),
        ),
        (
            &all,
            Some("eth0"),
            Some("10.0.0.5-10.0.1.9"),
            Err("not in a network"),
        ),
        (
            &all,
            Some("eth1"),
            None,
            Err("has no address that machines could reach"),
        ),
        (
            &all,
            Some("eth1"),
            Some("10.0.0.5-10.0.0.9"),
            Err("has no address"),
        ),
        (&all, Some("eth2"), None, Err("is down; `ip link set eth2 up`")),
        (
            &all,
            Some("lan"),
            None,
            Err("no network interface `lan`; there are: eth0 (10.0.0.1/24), eth1 (no IPv4 address), eth2"),
        ),
        (
            &two,
            None,
            None,
            Err("on which network interface? Say --interface NAME; there are: eth0"),
        ),
        (&[], None, None, Err("there is none")),
    ];
    for (interfaces, wanted, range, result) in table {
        let found = choose(interfaces, wanted, range.map(|range| range.parse().unwrap()));
        match (found, result) {
            (Ok(place), Ok(address)) => assert_eq!(place.address, Ipv4Addr::from(address)),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, wanted) => panic!("{found:?} instead of {wanted:?}"),
        }
    }
}

#[test]
fn this_machine_has_a_list() {
    assert!(list().unwrap().iter().all(|interface| interface.name != "lo"));
}
