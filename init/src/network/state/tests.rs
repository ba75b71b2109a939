use axion_core::config::Network;

use super::{Learnt, State, is_domain};

fn learnt() -> Learnt {
    Learnt {
        dns: vec!["10.0.2.3".parse().unwrap(), "1.1.1.1".parse().unwrap()],
        search: vec!["lab.example".into()],
        ntp: vec!["10.0.2.4".parse().unwrap()],
    }
}

#[test]
fn the_config_comes_before_what_was_learnt_and_nothing_comes_twice() {
    let config = Network {
        dns: vec!["1.1.1.1".parse().unwrap()],
        search: vec!["example".into()],
        ..Network::default()
    };
    let mut state = State::new(&config);
    assert_eq!(state.resolv_conf(), "search example\nnameserver 1.1.1.1\n");
    state.set("eth0", "10.0.2.15/24 by DHCP".into(), true, learnt());
    state.set("eth1", "no link".into(), false, Learnt::default());
    assert_eq!(
        state.resolv_conf(),
        "search example lab.example\nnameserver 1.1.1.1\nnameserver 10.0.2.3\n"
    );
    assert_eq!(state.ntp(), ["10.0.2.4"]);
    assert_eq!(state.links()[1], ("eth1".to_owned(), "no link".to_owned()));
}

#[test]
fn it_is_up_with_the_first_address_and_down_again_without() {
    let mut state = State::default();
    assert!(!state.is_up());
    state.set("eth0", String::new(), true, learnt());
    assert!(state.is_up());
    state.remove("eth0");
    assert!(!state.is_up());
    assert_eq!(state.resolv_conf(), "");
}

#[test]
fn a_server_cannot_write_lines_into_resolv_conf() {
    assert!(is_domain("lab.example"));
    for bad in ["", "a b", "a\nnameserver 6.6.6.6", "é"] {
        assert!(!is_domain(bad), "{bad}");
    }
}
