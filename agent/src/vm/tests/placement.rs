//! Places: what a start takes, what it is refused, and that nothing of it is lost or given twice.

use std::collections::BTreeSet;

use axion_api::capacity::Capacity;
use axion_api::vm::{DesiredState, Vm, VmState};
use axion_api::vmm::{InForce, VmmConfig};
use axum::http::StatusCode;
use futures_util::future::join_all;

use super::{put, started};
use crate::testing::{Agent, FakeVmm, machine};

const ISOLATED: &str = "1-3,5-7";
const GIB: u64 = 1 << 30;

fn dedicated(cpus: u32, gib: u64) -> String {
    format!(r#"{{"class":"dedicated","cpus":{cpus},"memory":"{gib}GiB","hugepages":"1GiB"}}"#)
}

pub(super) async fn start(agent: &Agent, name: &str) -> StatusCode {
    agent
        .call("POST", &format!("/v1/vms/{name}/start"), "")
        .await
        .status
}

pub(super) async fn capacity(agent: &Agent) -> Capacity {
    agent.call("GET", "/v1/capacity", "").await.json()
}

/// Free CPUs of dedicated VMs and free pages of 1 GiB of each node.
async fn free(agent: &Agent) -> Vec<(String, u64)> {
    let capacity = capacity(agent).await;
    let nodes = capacity.nodes.iter();
    nodes
        .map(|node| (node.dedicated_free.to_string(), node.hugepages[0].free))
        .collect()
}

fn left(nodes: [(&str, u64); 2]) -> Vec<(String, u64)> {
    nodes.map(|(cpus, pages)| (cpus.to_owned(), pages)).to_vec()
}

fn config(agent: &Agent, unit: usize) -> VmmConfig {
    serde_json::from_slice(&agent.init.started()[unit].files[0].1).unwrap()
}

async fn off(agent: &Agent, name: &str) {
    let stop = agent
        .call("POST", &format!("/v1/vms/{name}/stop"), r#"{"force":true}"#)
        .await;
    assert_eq!(stop.status, StatusCode::ACCEPTED);
    agent.until(name, |vm| vm.status.state == VmState::Stopped).await;
    let unit = format!("vm-{name}");
    super::until(|| !agent.init.has(&unit)).await;
    agent.app.init.refresh().await.unwrap();
}

#[tokio::test]
async fn a_dedicated_vm_has_cores_and_pages_of_one_node() {
    let agent = Agent::on(ISOLATED).await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    let spec = dedicated(2, 3).replacen('{', r#"{"scheduling":"fifo","#, 1);
    let vm = started(&agent, "a", &spec).await;
    let placement = vm.status.placement.unwrap();
    assert_eq!(
        (
            placement.vcpus.as_slice(),
            placement.reserved.to_string().as_str(),
            placement.cpus.to_string().as_str()
        ),
        (&[1, 2][..], "1-2", "0")
    );
    let unit = &agent.init.started()[0];
    assert_eq!(
        (unit.cpus.list.as_str(), unit.cpus.weight, unit.cpus.limit_percent),
        ("0-2", 0, 0)
    );
    let config = config(&agent, 0);
    assert!(config.dedicated);
    assert_eq!(config.placement.vcpus, [1, 2]);
    assert_eq!(config.placement.housekeeping.to_string(), "0");
    assert_eq!(config.placement.fifo_priority, Some(1));
    let [node] = config.memory.nodes.as_slice() else {
        panic!("{config:?}");
    };
    assert_eq!(
        (node.size, node.host_node, node.cpus.to_string().as_str()),
        (3 * GIB, Some(0), "0-1")
    );
    let topology = config.topology.unwrap();
    assert_eq!(
        (
            topology.sockets,
            topology.cores,
            topology.threads,
            topology.l3_cores
        ),
        (1, 2, 1, Some(2))
    );
    assert_eq!(free(&agent).await, left([("3", 1), ("5-7", 4)]));
    let capacity = capacity(&agent).await;
    assert_eq!(
        (
            capacity.reservations[0].vm.as_str(),
            capacity.host_cpus.to_string()
        ),
        ("a", "0,4".to_owned())
    );

    // What the VMM read back is beside what was planned.
    vmm.set(|status| status.in_force = Some(InForce::default()));
    agent.call("POST", "/v1/vms/a/pause", "").await;
    let vm: Vm = agent.call("GET", "/v1/vms/a", "").await.json();
    assert_eq!(vm.status.in_force, Some(InForce::default()));
    assert!(vm.status.placement.is_some());

    let metrics = agent.call("GET", "/metrics", "").await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    for line in [
        "axion_dedicated_cores{node=\"0\"} 3",
        "axion_dedicated_cores_free{node=\"0\"} 1",
        "axion_hugepages_of_vms{node=\"0\",page_bytes=\"1073741824\"} 3",
    ] {
        assert!(metrics.lines().any(|there| there == line), "{line}\n{metrics}");
    }
}

#[tokio::test]
async fn a_vm_that_may_be_spread_sees_two_nodes() {
    let agent = Agent::on(ISOLATED).await;
    let spec = dedicated(4, 6).replace('}', r#","numa":"spread"}"#);
    started(&agent, "wide", &spec).await;
    let config = config(&agent, 0);
    assert_eq!(config.placement.vcpus, [1, 2, 5, 6]);
    assert_eq!(agent.init.started()[0].cpus.list, "0-2,4-6");
    let nodes: Vec<_> = config
        .memory
        .nodes
        .iter()
        .map(|node| {
            (
                node.host_node,
                node.size,
                node.cpus.to_string(),
                node.distances.clone(),
            )
        })
        .collect();
    assert_eq!(
        nodes,
        [
            (Some(0), 3 * GIB, "0-1".to_owned(), vec![10, 21]),
            (Some(1), 3 * GIB, "2-3".to_owned(), vec![21, 10])
        ]
    );
}

#[tokio::test]
async fn a_shared_vm_is_fenced_by_its_cgroup() {
    let agent = Agent::on("2-3,6-7").await;
    let spec = r#"{"cpus":2,"memory":"64MiB","cpu_weight":300,"cpu_limit":150,"nodes":[1]}"#;
    started(&agent, "a", spec).await;
    let unit = &agent.init.started()[0];
    assert_eq!(
        (unit.cpus.list.as_str(), unit.cpus.weight, unit.cpus.limit_percent),
        ("4-5", 300, 150)
    );
    let config = config(&agent, 0);
    assert!(!config.dedicated && config.placement.vcpus.is_empty());
    assert!(config.placement.housekeeping.is_empty() && config.topology.is_none());
    assert_eq!(config.memory.nodes[0].host_node, Some(1));
    let node = &capacity(&agent).await.nodes[1];
    assert_eq!((node.shared_vcpus, node.memory - node.memory_free), (2, 64 << 20));
}

#[tokio::test]
async fn what_never_fits_is_not_stored_and_what_does_not_fit_now_is_not_started() {
    let agent = Agent::on(ISOLATED).await;
    let never = agent.call("PUT", "/v1/vms/a", &dedicated(4, 1)).await.problem();
    assert_eq!((never.status, never.pointer.as_deref()), (422, Some("/cpus")));
    assert_eq!(
        never.refusals[0].reason,
        "node 0: isolated cores: 4 wanted, 3 free of 3"
    );
    assert_eq!(never.refusals[0].nearest.as_deref(), Some("cpus = 3"));
    for (spec, pointer) in [
        (r#"{"class":"dedicated"}"#, "/hugepages"),
        (r#"{"nodes":[7]}"#, "/nodes"),
        (r#"{"threads":"all"}"#, "/threads"),
        (r#"{"cpu_weight":0}"#, "/cpu_weight"),
        (r#"{"cpu_limit":101}"#, "/cpu_limit"),
        (
            r#"{"class":"dedicated","hugepages":"1GiB","memory":"1GiB","cpu_limit":50}"#,
            "/cpu_limit",
        ),
    ] {
        let problem = agent.call("PUT", "/v1/vms/a", spec).await.problem();
        assert_eq!(
            (problem.status, problem.pointer.as_deref()),
            (422, Some(pointer)),
            "{spec}: {problem:?}"
        );
    }

    started(&agent, "first", &dedicated(2, 3)).await;
    started(&agent, "second", &dedicated(2, 1)).await;
    put(&agent, "third", &dedicated(2, 1)).await;
    let refused = agent.call("POST", "/v1/vms/third/start", "").await.problem();
    assert_eq!((refused.status, refused.pointer.as_deref()), (507, Some("/cpus")));
    assert!(
        refused
            .detail
            .contains("node 1: isolated cores: 2 wanted, 1 free of 3"),
        "{refused:?}"
    );
    assert!(refused.detail.ends_with("; possible: cpus = 1"), "{refused:?}");
    let vm: Vm = agent.call("GET", "/v1/vms/third", "").await.json();
    assert_eq!((vm.desired, vm.status.placement), (DesiredState::Stopped, None));
    assert_eq!(agent.init.started().len(), 2);
}

#[tokio::test]
async fn a_place_is_given_back_when_the_vm_is_off_and_not_before() {
    let agent = Agent::on(ISOLATED).await;
    let all = free(&agent).await;
    assert_eq!(all, left([("1-3", 4), ("5-7", 4)]));
    started(&agent, "a", &dedicated(3, 4)).await;
    started(&agent, "b", &dedicated(3, 4)).await;
    put(&agent, "c", &dedicated(1, 1)).await;
    // The guest does not hear its power button: it has its place while it is there.
    agent.call("POST", "/v1/vms/a/stop", "").await;
    agent.until("a", |vm| vm.status.state == VmState::Stopping).await;
    assert_eq!(free(&agent).await, left([("", 0), ("", 0)]));
    assert_eq!(start(&agent, "c").await, StatusCode::INSUFFICIENT_STORAGE);
    off(&agent, "a").await;
    let vm: Vm = agent.call("GET", "/v1/vms/a", "").await.json();
    assert_eq!(vm.status.placement, None);
    assert_eq!(free(&agent).await, left([("1-3", 4), ("", 0)]));
    assert_eq!(start(&agent, "c").await, StatusCode::ACCEPTED);
    agent.until("c", |vm| vm.status.state == VmState::Running).await;
    let gone = agent.call("DELETE", "/v1/vms/b?force=true", "").await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    off(&agent, "c").await;
    assert_eq!(free(&agent).await, all);
}

#[tokio::test]
async fn a_new_agent_knows_who_has_what() {
    let agent = Agent::on(ISOLATED).await;
    started(&agent, "a", &dedicated(3, 4)).await;
    // Wanted, and not started yet: killed in between.
    agent.init.refuse_starts(true);
    put(&agent, "b", &dedicated(2, 1)).await;
    assert_eq!(start(&agent, "b").await, StatusCode::ACCEPTED);
    let before = agent.until("b", |vm| vm.status.state == VmState::Failed).await;
    let counted = capacity(&agent).await;
    assert_eq!(counted.reservations.len(), 2);

    let agent = agent.restarted().await;
    assert_eq!(capacity(&agent).await, counted);
    put(&agent, "c", &dedicated(2, 1)).await;
    assert_eq!(start(&agent, "c").await, StatusCode::INSUFFICIENT_STORAGE);
    agent.init.refuse_starts(false);
    let after = agent.until("b", |vm| vm.status.state == VmState::Running).await;
    assert_eq!(after.status.placement, before.status.placement);
    assert_eq!(after.revision, before.revision, "nothing was written anew");
}

#[tokio::test]
async fn a_place_that_the_machine_no_longer_has_is_another_one() {
    let agent = Agent::on(ISOLATED).await;
    agent.init.refuse_starts(true);
    put(&agent, "a", &dedicated(2, 1)).await;
    assert_eq!(start(&agent, "a").await, StatusCode::ACCEPTED);
    let vm = agent.until("a", |vm| vm.status.state == VmState::Failed).await;
    assert_eq!(vm.status.placement.unwrap().vcpus, [1, 2]);
    // The node boots with another profile.
    machine::write(&agent.directory.path().join("root"), "2-3,6-7");
    let agent = agent.restarted().await;
    agent.init.refuse_starts(false);
    let vm = agent.until("a", |vm| vm.status.state == VmState::Running).await;
    assert_eq!(vm.status.placement.unwrap().vcpus, [2, 3]);
    assert_eq!(config(&agent, 0).placement.vcpus, [2, 3]);
    off(&agent, "a").await;

    // And with one that leaves it no place at all.
    machine::write(&agent.directory.path().join("root"), "");
    assert_eq!(start(&agent, "a").await, StatusCode::INSUFFICIENT_STORAGE);
}

#[tokio::test]
async fn starts_at_once_never_get_the_same() {
    let agent = Agent::on(ISOLATED).await;
    let names: Vec<String> = (0..6).map(|number| format!("vm{number}")).collect();
    let created = join_all(names.iter().map(async |name| {
        let path = format!("/v1/vms/{name}");
        agent.call("PUT", &path, &dedicated(2, 1)).await.status
    }));
    assert!(created.await.iter().all(|status| *status == StatusCode::CREATED));
    let answers = join_all(names.iter().map(|name| start(&agent, name))).await;
    let accepted = answers
        .iter()
        .filter(|status| **status == StatusCode::ACCEPTED)
        .count();
    // Each node has room for one.
    assert_eq!(accepted, 2, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|s| [StatusCode::ACCEPTED, StatusCode::INSUFFICIENT_STORAGE].contains(s))
    );
    super::until(|| agent.init.started().len() == 2).await;
    let pins: Vec<u32> = [config(&agent, 0), config(&agent, 1)]
        .into_iter()
        .flat_map(|config| config.placement.vcpus)
        .collect();
    let distinct: BTreeSet<u32> = pins.iter().copied().collect();
    assert_eq!((pins.len(), distinct.len()), (4, 4));
}
