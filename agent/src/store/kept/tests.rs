use axion_api::network::NetworkSpec;
use axion_api::vm::{VmSpec, VmState};

use super::*;
use crate::store::{Entry, Expect};
use crate::testing::Agent;
use crate::vm::record::{Record, Stored};

#[test]
fn what_a_later_version_added_is_left_out() {
    let known = r#"{"cpus":2,"memory":"64MiB","disks":[{"volume":"data"}]}"#;
    let later =
        r#"{"cpus":2,"colour":"red","memory":"64MiB","disks":[{"volume":"data","cache":{"mode":"none"}}]}"#;
    let read = |text: &str| read::<VmSpec>("vms/a", text.as_bytes());
    assert_eq!(read(later).unwrap(), read(known).unwrap());
    // Requests are strict.
    assert!(serde_json::from_str::<VmSpec>(later).is_err());
}

#[test]
fn what_is_wrong_is_told_all_the_same() {
    let read = |text: &str| super::read::<VmSpec>("vms/a", text.as_bytes()).map_err(|e| e.to_string());
    for text in ["", "{", r#"{"cpus":"two"}"#, r#"{"colour":"red","cpus":"two"}"#] {
        assert!(read(text).is_err(), "{text}");
    }
    let many: String = (0..=MOST).map(|n| format!("\"x{n}\":1,")).collect();
    assert!(
        read(&format!("{{{many}\"cpus\":1}}"))
            .unwrap_err()
            .contains("unknown field")
    );
}

/// What 0.1.0 has stored, every field of it.
const VM: &str = include_str!("../golden/vm-1.json");
const VOLUME: &str = include_str!("../golden/volume-1.json");
const NETWORK: &str = include_str!("../golden/network-1.json");

/// Asserts that `written` has all that `stored` has; a later version may write more.
fn assert_kept(path: &str, stored: &Value, written: &Value) {
    match (stored, written) {
        (Value::Object(stored), Value::Object(written)) => {
            for (key, value) in stored {
                let path = format!("{path}/{key}");
                assert_kept(
                    &path,
                    value,
                    written.get(key).unwrap_or_else(|| panic!("{path} is lost")),
                );
            }
        }
        (Value::Array(stored), Value::Array(written)) => {
            assert_eq!(stored.len(), written.len(), "{path}");
            for (n, (stored, written)) in stored.iter().zip(written).enumerate() {
                assert_kept(&format!("{path}/{n}"), stored, written);
            }
        }
        _ => assert_eq!(stored, written, "{path}"),
    }
}

#[test]
fn records_of_the_first_version_are_read_and_written_alike() {
    let stored = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let vm: Record = read("vms/a", VM.as_bytes()).unwrap();
    assert_kept("vm", &stored(VM), &serde_json::to_value(&vm).unwrap());
    let network: NetworkSpec = read("networks/lan", NETWORK.as_bytes()).unwrap();
    assert_kept(
        "network",
        &stored(NETWORK),
        &serde_json::to_value(&network).unwrap(),
    );
}

#[tokio::test]
async fn an_agent_works_with_the_records_of_the_first_version() {
    let agent = Agent::new().await;
    for (key, record) in [("vms/a", VM), ("volumes/data", VOLUME), ("networks/lan", NETWORK)] {
        let value = record.as_bytes().to_vec();
        agent.app.store.put(key, value, Expect::Absent).await.unwrap();
    }
    let vm = agent.app.vms.get("a").await.unwrap();
    assert_eq!(vm.status.state, VmState::Stopped);
    assert_eq!(vm.spec.disks.len(), 1);
    for path in ["/v1/volumes/data", "/v1/networks/lan"] {
        assert_eq!(agent.call("GET", path, "").await.status, 200, "{path}");
    }
    let entry: Entry = agent.app.store.get("vms/a").await.unwrap().unwrap();
    assert_eq!(Stored::try_from(entry).unwrap().record.slot, 4);
}
