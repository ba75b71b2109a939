//! What follows from a request, by way of the store, the plan and an init that pretends.

mod devices;
mod placement;
mod plan;
mod resize;
mod validate;

use std::time::Duration;

use axion_api::event::{Event, What};
use axion_api::init::UnitState;
use axion_api::vm::{DesiredState, GuestCpuModel, Vm, VmState};
use axion_api::vmm::{API_SOCKET, BalloonConfig, ConsoleDevice, MachineState, VmmConfig, VsockConfig};
use axion_core::paths;
use axum::http::StatusCode;

use crate::testing::{Agent, FakeVmm};

async fn put(agent: &Agent, name: &str, spec: &str) -> Vm {
    let answer = agent.call("PUT", &format!("/v1/vms/{name}"), spec).await;
    assert_eq!(
        answer.status,
        StatusCode::CREATED,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    answer.json()
}

/// Waits for what is no VM's state.
async fn until(holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to be");
}

async fn started(agent: &Agent, name: &str, spec: &str) -> Vm {
    put(agent, name, spec).await;
    let answer = agent.call("POST", &format!("/v1/vms/{name}/start"), "").await;
    assert_eq!(
        answer.status,
        StatusCode::ACCEPTED,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    agent.until(name, |vm| vm.status.state == VmState::Running).await
}

#[tokio::test]
async fn a_write_is_idempotent_and_bound_to_a_revision() {
    let agent = Agent::new().await;
    let vm = put(&agent, "a", "{}").await;
    let same = agent.call("PUT", "/v1/vms/a", "{}").await;
    assert_eq!(
        (same.status, same.json::<Vm>().revision),
        (StatusCode::OK, vm.revision)
    );
    let tag = format!("\"{}\"", vm.revision);
    assert_eq!(same.header("etag"), Some(tag.as_str()));

    let other = r#"{"memory":"64MiB"}"#;
    for (header, status) in [
        (("If-None-Match", "*"), StatusCode::PRECONDITION_FAILED),
        (("If-Match", "\"99999\""), StatusCode::PRECONDITION_FAILED),
        (("If-Match", "12"), StatusCode::BAD_REQUEST),
        (("If-Match", tag.as_str()), StatusCode::OK),
        (("If-Match", tag.as_str()), StatusCode::PRECONDITION_FAILED),
    ] {
        let answer = agent.call_with("PUT", "/v1/vms/a", header, other).await;
        assert_eq!(answer.status, status, "{header:?}");
    }
    let absent = agent.call_with("PUT", "/v1/vms/b", ("If-Match", "*"), "{}").await;
    assert_eq!(absent.problem().status, 412);
    assert_eq!(
        agent
            .call_with("PUT", "/v1/vms/b", ("If-None-Match", "*"), "{}")
            .await
            .status,
        201
    );
    let names: Vec<String> = agent
        .call("GET", "/v1/vms", "")
        .await
        .json::<Vec<Vm>>()
        .into_iter()
        .map(|vm| vm.name)
        .collect();
    assert_eq!(names, ["a", "b"]);
    assert!(
        agent
            .call("GET", "/v1/vms/c", "")
            .await
            .problem()
            .detail
            .contains("PUT /v1/vms/c creates it")
    );
}

#[tokio::test]
async fn a_vm_runs_as_a_unit_of_its_own_user() {
    let agent = Agent::new().await;
    put(&agent, "other", "{}").await;
    let vm = started(
        &agent,
        "a",
        r#"{"cpus":1,"cpu_model":"x86-64-v3","memory":"64MiB","boot":{"cmdline":"quiet"}}"#,
    )
    .await;
    assert!(vm.desired == DesiredState::Running && vm.status.pid.is_some());
    let units = agent.init.started();
    let unit = &units[0];
    assert_eq!(
        (unit.name.as_str(), unit.run_directory.as_str()),
        ("vm-a", "vms/a")
    );
    assert_eq!(
        (unit.uid, unit.gid, unit.groups.as_slice()),
        (100_001, 100_001, &[paths::GROUP_KVM][..])
    );
    assert_eq!(unit.argv[..2], [paths::VMM, "--run-dir"]);
    assert_eq!(unit.max_restarts, 0);
    let (file, text) = &unit.files[0];
    let config: VmmConfig = serde_json::from_slice(text).unwrap();
    assert_eq!((file.as_str(), config.memory.size), ("config.json", 64 << 20));
    assert_eq!(config.boot.kernel, paths::GUEST_KERNEL);
    assert_eq!(config.cpu_model, GuestCpuModel::V3);
    assert_eq!(
        config.boot.cmdline,
        "console=ttyS0 reboot=k,panic_warm panic=-1 quiet"
    );
    assert_eq!(
        agent.call("POST", "/v1/vms/a/start", "").await.status,
        StatusCode::ACCEPTED
    );
    assert_eq!(agent.init.started().len(), 1, "started once");
}

#[tokio::test]
async fn a_vm_starts_until_its_guest_has_begun() {
    let agent = Agent::new().await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    vmm.set(|status| {
        status.state = MachineState::Starting;
        status.start_us = None;
    });
    put(&agent, "a", "{}").await;
    agent.call("POST", "/v1/vms/a/start", "").await;
    let vm = agent.until("a", |vm| vm.status.pid.is_some()).await;
    assert_eq!(vm.status.state, VmState::Starting);
    // As with a kernel that cannot be loaded.
    agent.init.end("vm-a", 1).await;
    agent.until("a", |vm| vm.status.state == VmState::Failed).await;
    let told = agent.app.events.kept();
    let ran = |event: &Event| matches!(&event.what, What::Vm(vm) if vm.status.state == VmState::Running);
    assert!(!told.iter().any(ran), "{told:?}");

    vmm.set(|status| {
        status.state = MachineState::Running;
        status.start_us = Some(1500);
    });
    started_again(&agent, "a").await;
    // A guest that is reset has begun all the same.
    vmm.set(|status| status.state = MachineState::Starting);
    agent.app.vms.look_at("a").await;
    let vm: Vm = agent.call("GET", "/v1/vms/a", "").await.json();
    assert_eq!(vm.status.state, VmState::Running);
}

#[tokio::test]
async fn devices_of_the_spec_are_those_of_the_vmm() {
    let agent = Agent::new().await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    let spec = r#"{"console":"virtio","vsock":{},"balloon":{"size":"32MiB","free_page_reporting":false}}"#;
    started(&agent, "a", spec).await;
    let units = agent.init.started();
    let config: VmmConfig = serde_json::from_slice(&units[0].files[0].1).unwrap();
    assert_eq!(config.boot.cmdline, "console=hvc0 reboot=k,panic_warm panic=-1");
    assert_eq!(config.console, ConsoleDevice::Virtio);
    assert_eq!(config.vsock, Some(VsockConfig { cid: 3 }));
    let balloon = BalloonConfig {
        size: 32 << 20,
        deflate_on_oom: true,
        free_page_reporting: false,
    };
    assert_eq!(config.balloon, Some(balloon));
    let put = |body: &'static str| agent.call("PUT", "/v1/vms/a/balloon", body);
    assert_eq!(put(r#"{"size":"64MiB"}"#).await.status, StatusCode::ACCEPTED);
    assert_eq!(vmm.requests(), ["PUT /v1/vm/balloon HTTP/1.1"]);
    assert_eq!(
        put(r#"{"size":"1GiB"}"#).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    started(&agent, "b", "{}").await;
    let none = agent.call("PUT", "/v1/vms/b/balloon", r#"{"size":"0B"}"#).await;
    assert_eq!(none.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_running_vm_is_not_replaced_nor_deleted_by_mistake() {
    let agent = Agent::new().await;
    started(&agent, "a", "{}").await;
    assert!(
        agent
            .call("PUT", "/v1/vms/a", r#"{"memory":"64MiB"}"#)
            .await
            .problem()
            .detail
            .contains("running")
    );
    assert_eq!(agent.call("PUT", "/v1/vms/a", "{}").await.status, StatusCode::OK);
    assert!(
        agent
            .call("DELETE", "/v1/vms/a", "")
            .await
            .problem()
            .detail
            .contains("force=true")
    );
    assert_eq!(
        agent.call("DELETE", "/v1/vms/a?force=true", "").await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(agent.init.killed(), ["vm-a"]);
    assert!(!agent.init.has("vm-a"));
    assert_eq!(
        agent.call("GET", "/v1/vms/a", "").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn stop_presses_the_power_button_and_the_end_is_kept() {
    let agent = Agent::new().await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    started(&agent, "a", "{}").await;
    assert_eq!(
        agent.call("POST", "/v1/vms/a/reset", "").await.status,
        StatusCode::ACCEPTED
    );
    let stopping: Vm = agent.call("POST", "/v1/vms/a/stop", "").await.json();
    assert_eq!(
        (stopping.desired, stopping.status.state),
        (DesiredState::Stopped, VmState::Stopping)
    );
    let again = agent.call("POST", "/v1/vms/a/start", "").await;
    assert!(again.problem().detail.contains("on its way down"));
    for _ in 0..500 {
        if vmm.requests().len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        vmm.requests(),
        ["PUT /v1/vm/reset HTTP/1.1", "PUT /v1/vm/power-button HTTP/1.1"]
    );
    agent.init.end("vm-a", 0).await;
    let vm = agent
        .until("a", |vm| {
            vm.status.state == VmState::Stopped && vm.status.exit.is_some()
        })
        .await;
    let vm = if agent.init.has("vm-a") {
        agent
            .until("a", |vm| vm.status.exit.as_deref() == Some("guest powered off"))
            .await
    } else {
        vm
    };
    assert_eq!(vm.status.pid, None);
    assert!(agent.init.killed().is_empty());
    assert_eq!(
        agent.call("POST", "/v1/vms/a/reset", "").await.problem().status,
        409
    );
}

#[tokio::test]
async fn a_guest_that_has_not_begun_is_asked_to_stop_once_it_has() {
    let agent = Agent::new().await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    vmm.set(|status| {
        status.state = MachineState::Starting;
        status.start_us = None;
    });
    put(&agent, "a", "{}").await;
    agent.call("POST", "/v1/vms/a/start", "").await;
    agent.until("a", |vm| vm.status.pid.is_some()).await;
    agent.call("POST", "/v1/vms/a/stop", "").await;
    until(|| !vmm.requests().is_empty()).await;
    // Init, which would end it by force, has no part in it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let running = || agent.app.init.units().unwrap()["vm-a"].status.state == UnitState::Running;
    assert!(running());
    vmm.set(|status| {
        status.state = MachineState::Running;
        status.start_us = Some(1500);
    });
    until(|| vmm.requests().len() >= 2).await;
    assert!(running());
    assert!(
        vmm.requests()
            .iter()
            .all(|request| request.contains("power-button"))
    );
}

#[tokio::test]
async fn a_vm_that_is_off_starts_again_at_once() {
    let agent = Agent::new().await;
    started(&agent, "a", "{}").await;
    for _ in 0..20 {
        agent.call("POST", "/v1/vms/a/stop", "").await;
        agent.until("a", |vm| vm.status.state == VmState::Stopping).await;
        agent.init.end("vm-a", 0).await;
        agent.until("a", |vm| vm.status.state == VmState::Stopped).await;
        let again = agent.call("POST", "/v1/vms/a/start", "").await;
        assert_eq!(again.status, StatusCode::ACCEPTED, "{}", again.problem().detail);
        agent.until("a", |vm| vm.status.state == VmState::Running).await;
    }
}

#[tokio::test]
async fn a_vmm_that_does_not_answer_is_stopped_by_init() {
    let agent = Agent::new().await;
    started(&agent, "a", "{}").await;
    std::fs::remove_file(agent.vm_directory("a").join(API_SOCKET)).unwrap();
    agent.call("POST", "/v1/vms/a/stop", "").await;
    until(|| agent.app.init.units().unwrap()["vm-a"].status.state == UnitState::Stopping).await;
    agent.init.end("vm-a", 0).await;
    agent.until("a", |vm| vm.status.state == VmState::Stopped).await;
}

#[tokio::test]
async fn a_vmm_that_is_about_to_end_keeps_nobody_waiting() {
    let agent = Agent::new().await;
    started(&agent, "a", "{}").await;
    // Its sockets are gone; its process gives its memory back.
    std::fs::remove_file(agent.vm_directory("a").join(API_SOCKET)).unwrap();
    let metrics = async || {
        let call = agent.call("GET", "/metrics", "");
        let answer = tokio::time::timeout(Duration::from_secs(5), call).await;
        String::from_utf8(answer.unwrap().body).unwrap()
    };
    let text = metrics().await;
    assert!(text.contains("axion_vm_answers{vm=\"a\"} 0\n"), "{text}");
    // One that ends before it is heard of is not waited for either.
    put(&agent, "b", "{}").await;
    std::fs::create_dir_all(agent.vm_directory("b").join(API_SOCKET)).unwrap();
    agent.call("POST", "/v1/vms/b/start", "").await;
    agent.until("b", |vm| vm.status.pid.is_some()).await;
    let reset = agent.call("POST", "/v1/vms/b/reset", "");
    let end = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        agent.init.end("vm-b", 1).await;
    };
    let both = async { tokio::join!(reset, end) };
    let (reset, ()) = tokio::time::timeout(Duration::from_secs(5), both).await.unwrap();
    assert_eq!(reset.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_guest_that_powers_off_stays_off_and_one_that_fails_says_why() {
    let agent = Agent::new().await;
    started(&agent, "a", "{}").await;
    agent.init.end("vm-a", 0).await;
    let vm = agent.until("a", |vm| vm.desired == DesiredState::Stopped).await;
    assert_eq!(vm.status.exit.as_deref(), Some("guest powered off"));

    started(&agent, "broken", "{}").await;
    agent.init.end("vm-broken", 1).await;
    let vm = agent
        .until("broken", |vm| vm.desired == DesiredState::Stopped)
        .await;
    assert_eq!(vm.status.state, VmState::Failed);
    assert_eq!(
        vm.status.exit.as_deref(),
        Some("exited with status 1: kernel: no PVH note")
    );
    started_again(&agent, "broken").await;
}

async fn started_again(agent: &Agent, name: &str) {
    // The unit is removed right after the end was recorded.
    for _ in 0..500 {
        if !agent.init.has(&format!("vm-{name}")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    agent.app.init.refresh().await.unwrap();
    let answer = agent.call("POST", &format!("/v1/vms/{name}/start"), "").await;
    assert_eq!(
        answer.status,
        StatusCode::ACCEPTED,
        "{}",
        String::from_utf8_lossy(&answer.body)
    );
    agent.until(name, |vm| vm.status.state == VmState::Running).await;
}

#[tokio::test]
async fn a_new_agent_finds_running_vms_and_leaves_strangers_alone() {
    let agent = Agent::new().await;
    started(&agent, "a", "{}").await;
    agent.init.add("vm-stranger", true).await;
    let agent = agent.restarted().await;
    let vm: Vm = agent.call("GET", "/v1/vms/a", "").await.json();
    assert_eq!(
        (vm.status.state, vm.desired),
        (VmState::Running, DesiredState::Running)
    );
    put(&agent, "b", "{}").await;
    agent.until("b", |_| true).await;
    assert!(agent.init.has("vm-stranger") && agent.init.killed().is_empty());
    assert_eq!(agent.init.started().len(), 1, "nothing was started twice");
    let taken = agent.call("PUT", "/v1/vms/stranger", "{}").await;
    assert!(taken.problem().detail.contains("without a record"));
}

#[tokio::test]
async fn what_ended_while_no_agent_ran_is_learnt_afterwards() {
    let agent = Agent::new().await;
    started(&agent, "a", "{}").await;
    agent.init.end("vm-a", 0).await;
    let agent = agent.restarted().await;
    let vm = agent.until("a", |vm| vm.desired == DesiredState::Stopped).await;
    assert_eq!(vm.status.exit.as_deref(), Some("guest powered off"));
}

#[tokio::test]
async fn vms_of_a_node_that_goes_down_are_to_run_when_it_is_back() {
    let agent = Agent::new().await;
    started(&agent, "a", "{}").await;
    agent.init.refuse_starts(true);
    agent.init.stop("vm-a").await;
    let vm = agent.until("a", |vm| vm.status.state == VmState::Failed).await;
    assert_eq!(vm.desired, DesiredState::Running);
    assert!(vm.status.exit.unwrap().contains("the node goes down"));
    agent.init.refuse_starts(false);
    agent.until("a", |vm| vm.status.state == VmState::Running).await;
}

#[tokio::test]
async fn an_image_in_use_stays() {
    use sha2::Digest;
    let agent = Agent::new().await;
    let digest = format!("sha256:{}", hex::encode(sha2::Sha256::digest("a kernel")));
    let spec = format!(r#"{{"boot":{{"kernel":"{digest}","initrd":"none"}}}}"#);
    let missing = agent.call("PUT", "/v1/vms/a", &spec).await.problem();
    assert_eq!(
        (missing.status, missing.pointer.as_deref()),
        (422, Some("/boot/kernel"))
    );
    agent
        .call("PUT", &format!("/v1/images/{digest}"), "a kernel")
        .await;
    started(&agent, "a", &spec).await;
    let config: VmmConfig = serde_json::from_slice(&agent.init.started()[0].files[0].1).unwrap();
    assert!(config.boot.kernel.ends_with(&digest["sha256:".len()..]));
    assert_eq!(config.boot.initrd, None);
    let used = agent.call("DELETE", &format!("/v1/images/{digest}"), "").await;
    assert!(used.problem().detail.contains("VM `a`"));
}
