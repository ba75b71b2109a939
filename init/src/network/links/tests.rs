use std::time::Duration;

use axion_api::init::Bridge;
use axion_core::config::{Interface, InterfaceMatch, Network};

use super::*;
use crate::network::Switch;
use crate::network::testing::{addresses, in_a_namespace, index, port};

async fn until(handle: &Handle, name: &str, wanted: &[&str]) {
    for _ in 0..500 {
        if addresses(handle, name).await == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{name} has {:?}, not {wanted:?}", addresses(handle, name).await);
}

#[test]
fn a_port_of_a_bridge_loses_its_addresses_and_gets_them_back() {
    in_a_namespace(async |handle| {
        port(&handle, "out0", None).await;
        let entry = Interface {
            r#match: InterfaceMatch {
                name: Some("out0".into()),
                ..InterfaceMatch::default()
            },
            addresses: vec!["10.9.0.1/24".into()],
            ..Interface::default()
        };
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            config: Network {
                interfaces: vec![entry],
                ..Network::default()
            },
            hostname: String::new(),
            resolv_conf: directory.path().join("resolv.conf"),
        };
        let state = watch::Sender::new(State::default());
        let (configured, ready) = oneshot::channel();
        let log = Log::open();
        tokio::spawn(run(settings, state.clone(), configured, log.clone()));
        ready.await.unwrap();
        until(&handle, "out0", &["10.9.0.1/24"]).await;
        assert!(state.borrow().is_up());
        // One that nobody here knows of, as a router would give it.
        let index = index(&handle, "out0").await.unwrap();
        let add = handle.address().add(index, [10, 9, 1, 1].into(), 24);
        add.execute().await.unwrap();

        // The thread that the switch starts is in the namespace of this one.
        let switch = Switch::new(log);
        let lan = Bridge {
            name: "ax-lan".into(),
            mtu: 1500,
            address: String::new(),
            uplink: "out0".into(),
            force: false,
        };
        let refused = switch.ensure_bridge(lan.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("10.9.0.1/24"), "{refused}");
        let forced = Bridge { force: true, ..lan };
        switch.ensure_bridge(forced.clone()).await.unwrap();
        until(&handle, "out0", &[]).await;
        // Asked again it is no management interface any more, but the bridge's own port.
        switch
            .ensure_bridge(Bridge {
                force: false,
                ..forced
            })
            .await
            .unwrap();
        assert!(!state.borrow().is_up());
        switch.remove_bridge("ax-lan".into()).await.unwrap();
        until(&handle, "out0", &["10.9.0.1/24"]).await;
    });
}
