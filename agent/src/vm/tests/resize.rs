//! Memory that grows and shrinks: what a VM is to have is its own, and what its guest has not given back is too.

use axion_api::vm::{Vm, VmState};
use axion_api::vmm::{MemoryStatus, VmmConfig};
use axum::http::StatusCode;

use super::placement::{capacity, start};
use super::{put, started};
use crate::testing::{Agent, FakeVmm};

const GIB: u64 = 1 << 30;
const SPEC: &str =
    r#"{"class":"dedicated","memory":"1GiB","memory_max":"4GiB","hugepages":"1GiB","nodes":[0]}"#;

/// What a VMM says whose guest is asked for `requested` GiB and has `present` of them.
fn says(vmm: &FakeVmm, requested: u64, present: u64) {
    vmm.set(|status| {
        status.memory = Some(MemoryStatus {
            least: GIB,
            most: 4 * GIB,
            block: GIB,
            requested: requested * GIB,
            present: present * GIB,
            ..MemoryStatus::default()
        });
    });
}

async fn resize(agent: &Agent, gib: u64) -> crate::testing::Answer {
    let body = format!(r#"{{"size":"{gib}GiB"}}"#);
    agent.call("PUT", "/v1/vms/a/memory", &body).await
}

/// It is asked at each look, until it says so.
fn assert_asked(vmm: &FakeVmm) {
    let requests = vmm.requests();
    let memory = |request: &String| request == "PUT /v1/vm/memory HTTP/1.1";
    assert!(
        !requests.is_empty() && requests.iter().all(memory),
        "{requests:?}"
    );
}

/// Pages of 1 GiB that nobody has on node 0, after a look at the machine.
async fn free(agent: &Agent) -> u64 {
    agent.call("GET", "/v1/vms/a/stats", "").await;
    capacity(agent).await.nodes[0].hugepages[0].free
}

#[tokio::test]
async fn more_is_reserved_before_it_is_asked_and_less_is_free_when_it_is_given_back() {
    let agent = Agent::on("1-3,5-7").await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    says(&vmm, 1, 1);
    started(&agent, "a", SPEC).await;
    let config: VmmConfig = serde_json::from_slice(&agent.init.started()[0].files[0].1).unwrap();
    assert_eq!((config.memory.size, config.memory.max), (GIB, Some(4 * GIB)));
    assert_eq!(config.memory.nodes[0].size, GIB);
    assert_eq!(free(&agent).await, 3);

    let grown = resize(&agent, 3).await;
    assert_eq!(grown.status, StatusCode::ACCEPTED);
    let vm: Vm = grown.json();
    let memory = vm.status.memory.unwrap();
    assert_eq!(
        (memory.wanted.0, memory.present.map(|size| size.0)),
        (3 * GIB, Some(GIB))
    );
    assert_eq!(vm.status.placement.unwrap().nodes[0].memory, 3 * GIB);
    assert_asked(&vmm);
    assert_eq!(free(&agent).await, 1);

    // Another VM has the last page now.
    put(&agent, "b", SPEC).await;
    assert_eq!(start(&agent, "b").await, StatusCode::ACCEPTED);
    let refused = resize(&agent, 4).await.problem();
    assert_eq!((refused.status, refused.pointer.as_deref()), (507, Some("/size")));
    assert_eq!(
        refused.detail,
        "the VM cannot have 4GiB: its node has no room for the rest: node 0: pages of 1GiB: 1 wanted, 0 free of 4"
    );

    says(&vmm, 3, 3);
    let vm: Vm = resize(&agent, 2).await.json();
    assert_eq!(vm.status.memory.unwrap().wanted.0, 2 * GIB);
    says(&vmm, 2, 3);
    assert_eq!(free(&agent).await, 0, "the guest still has it");
    says(&vmm, 2, 2);
    assert_eq!(free(&agent).await, 1);
}

#[tokio::test]
async fn a_machine_that_knows_of_nothing_is_asked_again() {
    let agent = Agent::on("1-3,5-7").await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    put(&agent, "a", SPEC).await;
    let vm: Vm = resize(&agent, 2).await.json();
    assert_eq!(vm.status.memory.unwrap().present, None);
    says(&vmm, 1, 1);
    assert_eq!(start(&agent, "a").await, StatusCode::ACCEPTED);
    agent.until("a", |vm| vm.status.state == VmState::Running).await;
    assert_eq!(free(&agent).await, 2, "it has what it is to have");
    assert_asked(&vmm);
    says(&vmm, 2, 2);
    assert_eq!(free(&agent).await, 2);
}

#[tokio::test]
async fn sizes_are_those_of_the_spec() {
    let agent = Agent::on("1-3,5-7").await;
    put(&agent, "a", SPEC).await;
    for gib in [0, 5] {
        let problem = resize(&agent, gib).await.problem();
        assert_eq!(
            (problem.status, problem.pointer.as_deref()),
            (422, Some("/size")),
            "{gib}"
        );
        assert!(
            problem
                .detail
                .ends_with("allowed are 1GiB to 4GiB, by steps of 1GiB"),
            "{}",
            problem.detail
        );
    }
    for (spec, pointer) in [
        (r#"{"memory_max":"64MiB"}"#, "/memory_max"),
        (r#"{"memory_max":"129MiB"}"#, "/memory_max"),
        (r#"{"memory_max":"1GiB","numa":"spread"}"#, "/numa"),
        (r#"{"memory_max":"64TiB"}"#, "/memory_max"),
    ] {
        let problem = agent.call("PUT", "/v1/vms/b", spec).await.problem();
        assert_eq!(
            (problem.status, problem.pointer.as_deref()),
            (422, Some(pointer)),
            "{spec}"
        );
    }
    put(&agent, "fixed", "{}").await;
    let fixed = agent
        .call("PUT", "/v1/vms/fixed/memory", r#"{"size":"1GiB"}"#)
        .await;
    assert_eq!(fixed.status, StatusCode::CONFLICT);
}
