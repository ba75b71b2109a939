//! Names are checked everywhere; links are made for real, in a network namespace of the test's own, where it may have one.

use std::os::unix::fs::MetadataExt;

use rtnetlink::packet_core::Nla;
use rtnetlink::packet_route::link::InfoData;

use super::*;
use crate::network::testing::{self, in_a_namespace};

#[test]
fn names() {
    for good in ["ax-lan", "ax-a", "ax-123456789012"] {
        assert!(is_bridge_name(good), "{good}");
    }
    for bad in [
        "ax-",
        "ax",
        "lan",
        "eth0",
        "ax-A",
        "ax-a/b",
        "ax-1234567890123",
        "ax-a b",
    ] {
        assert!(!is_bridge_name(bad), "{bad}");
    }
    for good in ["vm0-0", "vm4294967295-15"] {
        assert!(is_tap_name(good), "{good}");
    }
    for bad in [
        "vm",
        "vm-0",
        "vm0-",
        "vm0",
        "eth0",
        "vm0-0x",
        "vm+1-0",
        "vm4294967295-156",
    ] {
        assert!(!is_tap_name(bad), "{bad}");
    }
}

fn bridge(name: &str) -> Bridge {
    Bridge {
        name: name.to_owned(),
        mtu: 1500,
        address: String::new(),
        uplink: String::new(),
        force: false,
    }
}

#[test]
fn what_may_be_asked_for() {
    let check = |change: fn(&mut Bridge)| {
        let mut asked = bridge("ax-lan");
        change(&mut asked);
        Wanted::of(&asked).map_err(|error| error.to_string())
    };
    assert_eq!(check(|_| {}).unwrap().address, None);
    let both = check(|b| {
        b.address = "10.1.0.1/24".to_owned();
        b.uplink = "02:00:00:00:00:07".to_owned();
    })
    .unwrap();
    assert_eq!(both.address, Some(([10, 1, 0, 1].into(), 24)));
    assert_eq!(both.uplink, Some(Uplink::Mac(Mac([2, 0, 0, 0, 0, 7]))));
    assert!(check(|b| b.name = "eth0".to_owned()).is_err());
    assert!(check(|b| b.mtu = 575).is_err());
    for bad in [
        "10.1.0.1",
        "10.1.0.1/33",
        "0.0.0.0/0",
        "127.0.0.1/8",
        "224.0.0.1/4",
        "x/1",
    ] {
        let mut asked = bridge("ax-lan");
        asked.address = bad.to_owned();
        assert!(
            matches!(Wanted::of(&asked), Err(SwitchError::Address(_))),
            "{bad}"
        );
    }
}

async fn find(handle: &Handle, name: &str) -> Option<Link> {
    links(handle)
        .await
        .unwrap()
        .into_iter()
        .find(|link| link.name == name)
}

/// An interface that stands for hardware.
async fn port(handle: &Handle, name: &str, address: Option<[u8; 4]>) -> Link {
    testing::port(handle, name, address).await;
    find(handle, name).await.unwrap()
}

fn tap(name: &str, bridge: &str) -> Tap {
    Tap {
        name: name.to_owned(),
        bridge: bridge.to_owned(),
        mtu: 1400,
        multi_queue: false,
    }
}

#[test]
fn a_bridge_becomes_what_is_asked_for_and_goes() {
    in_a_namespace(async |handle| {
        let mut asked = bridge("ax-lan");
        asked.address = "10.1.0.1/24".to_owned();
        asked.mtu = 9000;
        for _ in 0..2 {
            bridge::ensure(&handle, &asked).await.unwrap();
        }
        let made = find(&handle, "ax-lan").await.unwrap();
        assert!(made.is_bridge() && made.up);
        assert_eq!((made.mtu, made.mac[0] & 3), (9000, 2));
        let conf = |key: &str| std::fs::read_to_string(format!("/proc/sys/net/{key}")).unwrap();
        assert_eq!(conf("ipv4/conf/ax-lan/rp_filter").trim(), "1");
        assert_eq!(conf("ipv4/conf/ax-lan/arp_ignore").trim(), "1");

        // By the machine config.
        let others = handle.address().add(made.index, [10, 8, 0, 1].into(), 24);
        others.execute().await.unwrap();
        asked.address = "10.2.0.1/24".to_owned();
        asked.mtu = 1500;
        bridge::ensure(&handle, &asked).await.unwrap();
        let made = find(&handle, "ax-lan").await.unwrap();
        assert_eq!(made.mtu, 1500);
        assert_eq!(
            testing::addresses(&handle, "ax-lan").await,
            ["10.8.0.1/24", "10.2.0.1/24"]
        );
        for _ in 0..2 {
            bridge::remove(&handle, "ax-lan").await.unwrap();
        }
        assert!(find(&handle, "ax-lan").await.is_none());
        port(&handle, "ax-port", None).await;
        let occupied = bridge::ensure(&handle, &bridge("ax-port")).await.unwrap_err();
        assert!(matches!(occupied, SwitchError::NotABridge(_)), "{occupied}");
        assert!(bridge::remove(&handle, "ax-port").await.is_err());
    });
}

#[test]
fn an_uplink_is_taken_by_name_or_address_and_given_back() {
    in_a_namespace(async |handle| {
        let outside = port(&handle, "out0", None).await;
        let mut asked = bridge("ax-lan");
        asked.uplink = "out0".to_owned();
        bridge::ensure(&handle, &asked).await.unwrap();
        let lan = find(&handle, "ax-lan").await.unwrap();
        assert_eq!(find(&handle, "out0").await.unwrap().controller, Some(lan.index));

        let mut second = bridge("ax-two");
        second.uplink = "out0".to_owned();
        let taken = bridge::ensure(&handle, &second).await.unwrap_err();
        assert!(matches!(taken, SwitchError::UplinkTaken(_)), "{taken}");
        assert!(find(&handle, "ax-two").await.is_none(), "nothing was changed");

        asked.uplink = String::new();
        bridge::ensure(&handle, &asked).await.unwrap();
        assert_eq!(find(&handle, "out0").await.unwrap().controller, None);
        second.uplink = "nothing0".to_owned();
        let missing = bridge::ensure(&handle, &second).await.unwrap_err();
        assert!(matches!(missing, SwitchError::NoUplink(_)), "{missing}");
        assert_eq!(find(&handle, "out0").await.unwrap().mac, outside.mac);
    });
}

#[test]
fn the_way_to_the_node_is_not_taken_by_mistake() {
    in_a_namespace(async |handle| {
        port(&handle, "mgmt0", Some([10, 0, 0, 5])).await;
        let mut asked = bridge("ax-lan");
        asked.uplink = "mgmt0".to_owned();
        let refused = bridge::ensure(&handle, &asked).await.unwrap_err();
        assert!(refused.is_refusal());
        assert!(refused.to_string().contains("10.0.0.5/24"), "{refused}");
        assert!(find(&handle, "ax-lan").await.is_none());
        asked.force = true;
        bridge::ensure(&handle, &asked).await.unwrap();
        assert!(find(&handle, "mgmt0").await.unwrap().controller.is_some());
        assert!(testing::addresses(&handle, "mgmt0").await.is_empty());
    });
}

/// A number that the kernel says of a tap (IFLA_TUN_*): 1 is its owner, 6 whether it stays, 7 whether it has queues.
async fn of_tap(handle: &Handle, name: &str, what: u16) -> Option<u32> {
    let mut found = Box::pin(handle.link().get().match_name(name).execute());
    let message = found.try_next().await.unwrap()?;
    let infos = message
        .attributes
        .into_iter()
        .find_map(|attribute| match attribute {
            LinkAttribute::LinkInfo(infos) => Some(infos),
            _ => None,
        })?;
    let data = infos.into_iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Tun(data)) => Some(data),
        _ => None,
    })?;
    data.iter().find(|nla| nla.kind() == what).map(|nla| {
        let mut bytes = [0; 4];
        nla.emit_value(&mut bytes[..nla.value_len()]);
        u32::from_ne_bytes(bytes)
    })
}

#[test]
fn taps_belong_to_one_user_and_leave_nothing_behind() {
    in_a_namespace(async |handle| {
        if !std::path::Path::new("/dev/net/tun").exists() {
            eprintln!("not run: there is no /dev/net/tun");
            return;
        }
        bridge::ensure(&handle, &bridge("ax-lan")).await.unwrap();
        let mut two = [tap("vm7-0", "ax-lan"), tap("vm7-1", "ax-lan")];
        two[1].multi_queue = true;
        // The second time over what the first has left.
        for uid in [100_006, 100_007] {
            tap::connect(&handle, &two, uid).await.unwrap();
        }
        let lan = find(&handle, "ax-lan").await.unwrap();
        for wanted in &two {
            let made = find(&handle, &wanted.name).await.unwrap();
            assert_eq!(
                (made.controller, made.mtu, made.up),
                (Some(lan.index), 1400, true)
            );
        }
        let say = async |name: &str| {
            (
                of_tap(&handle, name, 1).await,
                of_tap(&handle, name, 6).await,
                of_tap(&handle, name, 7).await,
            )
        };
        assert_eq!(say("vm7-0").await, (Some(100_007), Some(1), Some(0)));
        assert_eq!(say("vm7-1").await, (Some(100_007), Some(1), Some(1)));
        assert!(crate::sys::make_tap("vm7-0", false, 0).is_err(), "it exists");
        let failed = tap::connect(
            &handle,
            &[tap("vm8-0", "ax-lan"), tap("vm8-1", "ax-none")],
            100_008,
        )
        .await;
        assert!(matches!(failed, Err(SwitchError::NoBridge(_))));
        assert!(find(&handle, "vm8-0").await.is_none(), "all or none");
        // The bridge stays as it is with guests in it.
        bridge::ensure(&handle, &bridge("ax-lan")).await.unwrap();
        assert!(find(&handle, "vm7-0").await.unwrap().controller.is_some());
        tap::disconnect(&handle, &two).await.unwrap();
        tap::disconnect(&handle, &two).await.unwrap();
        assert!(find(&handle, "vm7-0").await.is_none() && find(&handle, "vm7-1").await.is_none());
        // The namespace is a thread's: nothing of this is the machine's.
        assert_ne!(
            std::fs::metadata("/proc/thread-self/ns/net").unwrap().ino(),
            std::fs::metadata("/proc/self/ns/net").unwrap().ino()
        );
    });
}
