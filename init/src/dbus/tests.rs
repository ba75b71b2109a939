use std::sync::Arc;

use axion_api::init::{Bridge, InitProxy, Tap, TransientUnit, UnitState, VolumeGrant};
use futures_util::StreamExt;
use tokio::net::UnixStream;
use zbus::fdo;

use super::{may_call, serve_peer};
use crate::node::{Node, Signal, for_tests};
use crate::power::Verb;
use crate::units::Change;

#[test]
fn only_root_and_the_nodes_own_services_may_call() {
    for (uid, may) in [
        (0, true),
        (901, true),
        (902, true),
        (900, false),
        (1000, false),
        (100_000, false),
    ] {
        assert_eq!(may_call(uid), may, "{uid}");
    }
}

async fn client(node: &Arc<Node>) -> InitProxy<'static> {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let node = node.clone();
    tokio::spawn(async move { serve_peer(ours, &node).await.unwrap() });
    let connection = zbus::connection::Builder::unix_stream(theirs.into_std().unwrap())
        .p2p()
        .build()
        .await
        .unwrap();
    InitProxy::new(&connection).await.unwrap()
}

fn answer(error: zbus::Error) -> fdo::Error {
    match error {
        zbus::Error::FDO(error) => *error,
        other => panic!("{other}"),
    }
}

fn unit(name: &str) -> TransientUnit {
    TransientUnit {
        name: name.into(),
        description: "a unit".into(),
        argv: vec!["/nonexistent".into()],
        env: Vec::new(),
        uid: 100_000,
        gid: 100_000,
        groups: Vec::new(),
        run_directory: String::new(),
        files: Vec::new(),
        max_restarts: 0,
        stop_timeout_ms: 1000,
        volumes: Vec::new(),
        taps: Vec::new(),
        cpus: Default::default(),
        memory_max: 0,
    }
}

#[tokio::test]
async fn a_peer_calls_and_is_told() {
    let (node, mut wishes, _guard) = for_tests().await;
    let init = client(&node).await;
    assert!(init.list_units().await.unwrap().is_empty());
    assert!(init.logs(0, 10).await.is_ok());
    assert_eq!(init.boot_status().await.unwrap().ready_us, None);
    assert_eq!(init.node_status().await.unwrap().time_detail, "not measured yet");

    // A program that is not there: the unit exists, has failed, and can be removed.
    let mut changes = init.receive_unit_changed().await.unwrap();
    let status = init.start_transient_unit(&unit("vm-a")).await.unwrap();
    assert_eq!((status.state, status.transient), (UnitState::Failed, true));
    let change = changes.next().await.unwrap();
    assert_eq!(change.args().unwrap().unit.name, "vm-a");
    assert_eq!(init.get_unit("vm-a").await.unwrap().state, UnitState::Failed);

    let exists = init.start_transient_unit(&unit("vm-a")).await.unwrap_err();
    assert!(matches!(answer(exists), fdo::Error::FileExists(_)));
    let bad = init.start_transient_unit(&unit("../x")).await.unwrap_err();
    assert!(matches!(answer(bad), fdo::Error::InvalidArgs(_)));
    let unknown = init.stop_unit("nothing").await.unwrap_err();
    assert!(matches!(answer(unknown), fdo::Error::UnknownObject(_)));

    let mut removals = init.receive_unit_removed().await.unwrap();
    init.remove_unit("vm-a").await.unwrap();
    assert_eq!(removals.next().await.unwrap().args().unwrap().name, "vm-a");
    assert!(init.list_units().await.unwrap().is_empty());

    init.power_off().await.unwrap();
    assert_eq!(wishes.recv().await, Some(Verb::PowerOff));
}

#[tokio::test]
async fn every_peer_is_told() {
    let (node, _wishes, _guard) = for_tests().await;
    let (one, two) = (client(&node).await, client(&node).await);
    let mut heard = (
        one.receive_unit_removed().await.unwrap(),
        two.receive_unit_removed().await.unwrap(),
    );
    // An answered call means that the peer's task is listening.
    one.list_units().await.unwrap();
    two.list_units().await.unwrap();
    node.signals
        .send(Signal::Unit(Change::Removed("gone".into())))
        .unwrap();
    assert_eq!(heard.0.next().await.unwrap().args().unwrap().name, "gone");
    assert_eq!(heard.1.next().await.unwrap().args().unwrap().name, "gone");
}

#[tokio::test]
async fn a_unit_without_its_network_is_not_started() {
    let (node, _wishes, _guard) = for_tests().await;
    let init = client(&node).await;
    let mut wired = unit("vm-wired");
    wired.taps = vec![Tap {
        name: "vm4000000000-0".into(),
        bridge: "ax-nothing-her".into(),
        mtu: 1500,
        multi_queue: false,
    }];
    let error = answer(init.start_transient_unit(&wired).await.unwrap_err());
    assert!(error.to_string().contains("ax-nothing-her"), "{error}");
    assert!(init.list_units().await.unwrap().is_empty());
    let bad = Bridge {
        name: "eth0".into(),
        mtu: 1500,
        address: String::new(),
        uplink: String::new(),
        force: false,
    };
    let refused = answer(init.ensure_bridge(&bad).await.unwrap_err());
    assert!(matches!(refused, fdo::Error::InvalidArgs(_)), "{refused}");
    let refused = answer(init.remove_bridge("eth0").await.unwrap_err());
    assert!(matches!(refused, fdo::Error::InvalidArgs(_)), "{refused}");
}

#[test]
fn taps_are_there_while_their_unit_is_and_go_with_it() {
    use crate::network::testing::{in_a_namespace, index};
    in_a_namespace(async |handle| {
        let (node, _wishes, _guard) = for_tests().await;
        let init = client(&node).await;
        let lan = Bridge {
            name: "ax-lan".into(),
            mtu: 1500,
            address: "10.1.0.1/24".into(),
            uplink: String::new(),
            force: false,
        };
        init.ensure_bridge(&lan).await.unwrap();
        let mut wired = unit("vm-wired");
        wired.taps = ["vm7-0", "vm7-1"]
            .map(|name| Tap {
                name: name.into(),
                bridge: "ax-lan".into(),
                mtu: 1500,
                multi_queue: true,
            })
            .to_vec();
        // Its program is not there, so it has failed, and keeps what it was given until it is removed.
        let status = init.start_transient_unit(&wired).await.unwrap();
        assert_eq!(status.state, UnitState::Failed);
        assert!(index(&handle, "vm7-0").await.is_some());
        let twice = answer(init.start_transient_unit(&wired).await.unwrap_err());
        assert!(matches!(twice, fdo::Error::FileExists(_)), "{twice}");
        assert!(index(&handle, "vm7-1").await.is_some(), "the first one's stay");
        init.remove_unit("vm-wired").await.unwrap();
        // Behind the removal of the taps in the queue.
        init.ensure_bridge(&lan).await.unwrap();
        assert_eq!(index(&handle, "vm7-0").await, None);
        assert_eq!(index(&handle, "vm7-1").await, None);
    });
}

#[tokio::test]
async fn a_unit_without_its_volume_is_not_started() {
    let (node, _wishes, _guard) = for_tests().await;
    let init = client(&node).await;
    let mut storing = unit("vm-storing");
    storing.volumes = vec![VolumeGrant {
        name: "no-such-volume".into(),
        pool: String::new(),
        writable: true,
    }];
    let error = answer(init.start_transient_unit(&storing).await.unwrap_err());
    assert!(error.to_string().contains("no-such-volume"), "{error}");
    assert!(init.list_units().await.unwrap().is_empty());
}

#[tokio::test]
async fn storage_is_asked_in_json_and_says_what_is_missing() {
    use axion_api::storage::{Answer, Call};
    let (node, _wishes, _guard) = for_tests().await;
    let init = client(&node).await;
    let ask =
        async |call: &str| -> Answer { serde_json::from_str(&init.storage(call).await.unwrap()).unwrap() };
    let status = |answer: Answer| match answer {
        Answer::Problem(problem) => problem.status,
        other => panic!("{other:?}"),
    };
    let pools = serde_json::to_string(&Call::Pools).unwrap();
    // No ZFS was loaded: there are no pools, and nothing else can be said.
    assert_eq!(ask(&pools).await, Answer::Pools(Vec::new()));
    let datasets = serde_json::to_string(&Call::Datasets { under: None }).unwrap();
    assert_eq!(status(ask(&datasets).await), 503);
    assert_eq!(status(ask("{}").await), 400);
    // ZFS was loaded, and the machine below this root has none.
    let root = tempfile::tempdir().unwrap();
    let storage = axion_storage::Storage::new(axion_storage::command::Tools::default(), root.path(), 1);
    crate::storage::offer(&node, Arc::new(storage));
    assert_eq!(status(ask(&pools).await), 503);
    let disks = serde_json::to_string(&Call::Disks).unwrap();
    assert_eq!(ask(&disks).await, Answer::Disks(Vec::new()));
}
