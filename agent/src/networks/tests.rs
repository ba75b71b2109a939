use super::*;
use crate::testing::Agent;
use axum::http::StatusCode;

fn other(name: &str, uplink: Option<&str>, address: Option<&str>) -> Stored {
    Stored {
        name: name.to_owned(),
        revision: 1,
        spec: spec(uplink, address),
    }
}

fn spec(uplink: Option<&str>, address: Option<&str>) -> NetworkSpec {
    NetworkSpec {
        uplink: uplink.map(str::to_owned),
        address: address.map(str::to_owned),
        ..NetworkSpec::default()
    }
}

#[test]
fn names_fit_into_an_interfaces() {
    for good in ["a", "lan-1", "twelve-chars"] {
        assert!(is_name(good) && bridge_name(good).len() <= 15, "{good}");
    }
    for bad in ["", "1a", "-a", "A", "thirteen-char", "a/b", "a b"] {
        assert!(!is_name(bad), "{bad}");
    }
}

#[test]
fn what_a_network_may_be() {
    let others = [
        other("old", Some("eth1"), Some("10.1.0.1/24")),
        other("lan", Some("eth2"), Some("10.2.0.1/24")),
    ];
    let host = ["192.168.1.5/24", "10.2.0.1/24"].map(|text| parse_address(text).unwrap());
    for (uplink, address, pointer) in [
        (None, None, None),
        // Its own, again.
        (Some("eth2"), Some("10.2.0.1/24"), None),
        (Some("eth2"), Some("10.2.0.2/24"), None),
        (Some("eth1"), None, Some("/uplink")),
        (Some("a/b"), None, Some("/uplink")),
        (Some(""), None, Some("/uplink")),
        (Some("an-interface-of-16"), None, Some("/uplink")),
        (Some("52:54:00:12:34:56"), None, None),
        (None, Some("10.3.0.1/24"), None),
        (None, Some("fd00::1/64"), None),
        (None, Some("10.1.0.9/30"), Some("/address")),
        (None, Some("10.0.0.1/8"), Some("/address")),
        (None, Some("192.168.1.1/24"), Some("/address")),
        (None, Some("10.3.0.1"), Some("/address")),
        (None, Some("10.3.0.1/33"), Some("/address")),
        (None, Some("10.3.0.1/0"), Some("/address")),
        (None, Some("127.0.0.1/8"), Some("/address")),
    ] {
        let problem = check("lan", &spec(uplink, address), &others, &host).err();
        assert_eq!(
            problem.and_then(|problem| problem.pointer).as_deref(),
            pointer,
            "{uplink:?} {address:?}"
        );
    }
    let mut forced = spec(Some("eth0"), Some("192.168.1.6/24"));
    forced.force = true;
    assert!(check("lan", &forced, &others, &host).is_ok());
    forced.mtu = Some(100);
    assert!(check("lan", &forced, &others, &host).is_err());
}

#[tokio::test]
async fn a_network_is_made_by_init_changed_and_deleted() {
    let agent = Agent::new().await;
    let body = r#"{"address":"198.18.0.1/24","mtu":9000}"#;
    let made = agent.call("PUT", "/v1/networks/lan", body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
    let network: Network = made.json();
    assert_eq!((network.bridge.as_str(), network.error), ("ax-lan", None));
    let bridge = agent.init.bridges().remove("ax-lan").unwrap();
    assert_eq!((bridge.mtu, bridge.address.as_str()), (9000, "198.18.0.1/24"));
    assert_eq!(
        agent.call("PUT", "/v1/networks/lan", body).await.status,
        StatusCode::OK
    );
    let changed = agent.call("PUT", "/v1/networks/lan", "{}").await;
    assert_eq!(changed.status, StatusCode::OK);
    assert_eq!(agent.init.bridges()["ax-lan"].mtu, 1500);

    let refused = agent
        .call("PUT", "/v1/networks/lan", r#"{"uplink":"mgmt0"}"#)
        .await;
    assert!(refused.problem().detail.contains("would lose"), "{refused:?}");
    let after: Network = agent.call("GET", "/v1/networks/lan", "").await.json();
    assert_eq!((after.spec, after.error), (NetworkSpec::default(), None));
    let new = agent
        .call("PUT", "/v1/networks/wan", r#"{"uplink":"mgmt0"}"#)
        .await;
    assert_eq!(new.status, StatusCode::CONFLICT);
    assert_eq!(
        agent.call("GET", "/v1/networks/wan", "").await.status,
        StatusCode::NOT_FOUND
    );

    let deleted = agent.call("DELETE", "/v1/networks/lan", "").await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert!(agent.init.bridges().is_empty());
}

#[tokio::test]
async fn a_rebooted_node_gets_its_networks_back() {
    let agent = Agent::new().await;
    agent.call("PUT", "/v1/networks/lan", "{}").await;
    agent.init.forget_bridges();
    let agent = agent.restarted().await;
    run(agent.app.networks.clone()).await;
    assert!(agent.init.bridges().contains_key("ax-lan"));
}
