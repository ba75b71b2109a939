use std::path::Path;

use axion_core::config::{Interface, InterfaceMatch, Network};

use super::{Link, Plan, pci_address, plan};

fn link(name: &str) -> Link {
    Link {
        name: name.into(),
        mac: [0x52, 0x54, 0, 0x12, 0x34, 0x56],
        pci: Some("0000:00:02.0".into()),
        physical: true,
    }
}

fn network(matches: InterfaceMatch) -> Network {
    let entry = Interface {
        r#match: matches,
        addresses: vec!["10.0.0.2/24".into(), "2001:db8::2/64".into()],
        gateways: vec!["10.0.0.1".parse().unwrap()],
        mtu: Some(9000),
        ..Interface::default()
    };
    Network {
        interfaces: vec![entry],
        ..Network::default()
    }
}

#[test]
fn without_config_every_port_asks_for_a_lease_and_nothing_else_does() {
    let dhcp = Plan {
        dhcp: true,
        ..Plan::default()
    };
    assert_eq!(plan(&Network::default(), &link("eth0")), Some(dhcp));
    assert_eq!(
        plan(
            &Network::default(),
            &Link {
                physical: false,
                ..link("br0")
            }
        ),
        None
    );
}

#[test]
fn every_given_part_must_fit() {
    let by = |name: Option<&str>, mac: Option<&str>, pci: Option<&str>| {
        let owned = |s: Option<&str>| s.map(str::to_owned);
        let config = network(InterfaceMatch {
            name: owned(name),
            mac: owned(mac),
            pci: owned(pci),
        });
        plan(&config, &link("eth0")).is_some()
    };
    assert!(by(Some("eth0"), None, None));
    assert!(by(None, Some("52:54:00:12:34:56"), None));
    assert!(by(None, Some("52-54-00-12-34-56"), Some("0000:00:02.0")));
    assert!(by(None, None, None));
    assert!(!by(Some("eth1"), Some("52:54:00:12:34:56"), None));
    assert!(!by(None, None, Some("0000:00:03.0")));
}

#[test]
fn static_addresses_turn_dhcp_off_unless_it_is_asked_for() {
    let mut config = network(InterfaceMatch::default());
    let got = plan(&config, &link("eth0")).unwrap();
    assert!(!got.dhcp);
    assert_eq!(
        got.addresses,
        [
            ("10.0.0.2".parse().unwrap(), 24),
            ("2001:db8::2".parse().unwrap(), 64)
        ]
    );
    assert_eq!(got.mtu, Some(9000));
    config.interfaces[0].dhcp = Some(true);
    assert!(plan(&config, &link("eth0")).unwrap().dhcp);
}

#[test]
fn the_pci_function_of_a_port() {
    let virtio = Path::new("/sys/devices/pci0000:00/0000:00:02.0/virtio0");
    assert_eq!(pci_address(virtio).as_deref(), Some("0000:00:02.0"));
    let behind = Path::new("/sys/devices/pci0000:00/0000:00:03.0/0000:01:00.1");
    assert_eq!(pci_address(behind).as_deref(), Some("0000:01:00.1"));
    assert_eq!(pci_address(Path::new("/sys/devices/platform/x")), None);
}
