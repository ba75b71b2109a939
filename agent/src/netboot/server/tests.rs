use axion_core::mac::Mac;
use axion_netboot::{Architecture, Who};

use super::*;

fn interface(name: &str, address: Option<[u8; 4]>) -> Interface {
    let mask = Ipv4Addr::new(255, 255, 255, 0);
    Interface {
        name: name.to_owned(),
        addresses: address
            .map(|address| (address.into(), mask))
            .into_iter()
            .collect(),
        up: true,
    }
}

#[test]
fn what_is_missing_for_a_place_is_said() {
    let interfaces = [interface("eth0", Some([10, 0, 2, 15])), interface("eth1", None)];
    let find = |name: &str, range: Option<&str>| find(&interfaces, name, range.map(|r| r.parse().unwrap()));
    let place = find("eth0", Some("10.0.2.20-10.0.2.29")).unwrap();
    assert_eq!(place.address, Ipv4Addr::new(10, 0, 2, 15));
    assert_eq!(
        find("eth7", None).unwrap_err(),
        "there is no interface `eth7`; there are: eth0, eth1"
    );
    let missing = find("eth1", None).unwrap_err();
    assert!(missing.starts_with("eth1 has no IPv4 address yet"), "{missing}");
    let other = find("eth0", Some("10.1.0.1-10.1.0.9")).unwrap_err();
    assert!(
        other.contains("not in a network of the interface eth0"),
        "{other}"
    );
}

#[test]
fn what_a_machine_does_is_told_without_saying_twice_who_it_is() {
    let event = Event::Script {
        who: Who {
            mac: Some(Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])),
            address: Some([10, 0, 0, 9].into()),
            architecture: Some(Architecture::Uefi),
        },
        config: Some("default.toml".to_owned()),
    };
    let told = step(&event);
    assert_eq!(told.mac.as_deref(), Some("52:54:00:12:34:56"));
    assert_eq!(told.address.as_deref(), Some("10.0.0.9"));
    assert_eq!(told.firmware.as_deref(), Some("UEFI"));
    assert_eq!(
        (told.step, told.text.as_str()),
        (NetbootStepKind::Script, "script, config default.toml")
    );
}
