//! Disks, interfaces and cloud-init: from a spec to what the VMM and init are given, and what is refused.

use axion_api::event::What;
use axion_api::problem::Problem;
use axion_api::vm::{Pause, Vm, VmState, VmStats};
use axion_api::vmm::{DiskConfig, DiskCounters, DiskStatus, MachineState, PauseReason, VmmConfig};
use axum::http::StatusCode;
use sha2::Digest;

use super::{put, started};
use crate::testing::{Agent, FakeVmm};

async fn refused(agent: &Agent, spec: &str) -> (Option<String>, Problem) {
    let problem = agent.call("PUT", "/v1/vms/refused", spec).await.problem();
    assert_eq!(problem.status, 422, "{spec}: {problem:?}");
    (problem.pointer.clone(), problem)
}

async fn volume(agent: &Agent, name: &str) {
    let made = agent
        .call("PUT", &format!("/v1/volumes/{name}"), r#"{"size":"1MiB"}"#)
        .await;
    assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
}

async fn image(agent: &Agent, body: &str) -> String {
    let digest = format!("sha256:{}", hex::encode(sha2::Sha256::digest(body)));
    agent.call("PUT", &format!("/v1/images/{digest}"), body).await;
    digest
}

#[tokio::test]
async fn what_a_spec_alone_cannot_be_is_refused_where_it_is() {
    let agent = Agent::new().await;
    let serial = format!(r#"{{"disks":[{{"volume":"a","serial":"{}"}}]}}"#, "x".repeat(21));
    let user_data = format!(
        r#"{{"cloud_init":{{"user_data":"{}"}}}}"#,
        "x".repeat((64 << 10) + 1)
    );
    for (spec, pointer) in [
        (r#"{"disks":[{}]}"#, "/disks/0"),
        (r#"{"disks":[{"volume":"a","image":"sha256:0"}]}"#, "/disks/0"),
        (r#"{"disks":[{"volume":"../a"}]}"#, "/disks/0/volume"),
        (r#"{"disks":[{"image":"builtin"}]}"#, "/disks/0/image"),
        (r#"{"disks":[{"volume":"a"},{"volume":"a"}]}"#, "/disks/1/volume"),
        (r#"{"disks":[{"volume":"a","serial":"a b"}]}"#, "/disks/0/serial"),
        (&serial, "/disks/0/serial"),
        (r#"{"nets":[{}]}"#, "/nets/0/network"),
        (r#"{"nets":[{"network":"lan","mtu":100}]}"#, "/nets/0/mtu"),
        (r#"{"nets":[{"network":"lan","queues":2}]}"#, "/nets/0/queues"),
        (
            r#"{"nets":[{"network":"lan","mac":"01:00:00:00:00:01"}]}"#,
            "/nets/0/mac",
        ),
        (
            r#"{"nets":[{"network":"a","mac":"02:00:00:00:00:01"},{"network":"b","mac":"02:00:00:00:00:01"}]}"#,
            "/nets/1/mac",
        ),
        (&user_data, "/cloud_init/user_data"),
        (r#"{"disks":[{"size":1}]}"#, "/disks/0/size"),
    ] {
        let (found, problem) = refused(&agent, spec).await;
        assert_eq!(found.as_deref(), Some(pointer), "{spec}: {problem:?}");
    }
}

#[tokio::test]
async fn what_is_not_there_or_anothers_is_refused_where_it_is() {
    let agent = Agent::new().await;
    volume(&agent, "data").await;
    let odd = image(&agent, "no whole sector").await;
    let missing = format!("sha256:{}", "0".repeat(64));
    agent.call("PUT", "/v1/networks/lan", "{}").await;
    put(
        &agent,
        "first",
        r#"{"disks":[{"volume":"data"}],"nets":[{"network":"lan","mac":"02:00:00:00:00:01"}]}"#,
    )
    .await;
    for (spec, pointer) in [
        (r#"{"disks":[{"volume":"none"}]}"#.to_owned(), "/disks/0/volume"),
        (r#"{"disks":[{"volume":"data"}]}"#.to_owned(), "/disks/0/volume"),
        (format!(r#"{{"disks":[{{"image":"{odd}"}}]}}"#), "/disks/0/image"),
        (
            format!(r#"{{"disks":[{{"image":"{missing}"}}]}}"#),
            "/disks/0/image",
        ),
        (r#"{"nets":[{"network":"none"}]}"#.to_owned(), "/nets/0/network"),
        (
            r#"{"nets":[{"network":"lan","mtu":1501}]}"#.to_owned(),
            "/nets/0/mtu",
        ),
        (
            r#"{"nets":[{"network":"lan","mac":"02:00:00:00:00:01"}]}"#.to_owned(),
            "/nets/0/mac",
        ),
    ] {
        let (found, problem) = refused(&agent, &spec).await;
        assert_eq!(found.as_deref(), Some(pointer), "{spec}: {problem:?}");
    }
    for used in ["/v1/volumes/data", "/v1/networks/lan"] {
        let kept = agent.call("DELETE", used, "").await.problem();
        assert_eq!(
            (kept.status, kept.detail.contains("VM `first`")),
            (409, true),
            "{kept:?}"
        );
    }
    let shown: serde_json::Value = agent.call("GET", "/v1/volumes/data", "").await.json();
    assert_eq!(shown["used_by"], "first");
    agent.call("DELETE", "/v1/vms/first", "").await;
    for free in ["/v1/volumes/data", "/v1/networks/lan"] {
        assert_eq!(
            agent.call("DELETE", free, "").await.status,
            StatusCode::NO_CONTENT,
            "{free}"
        );
    }
}

#[tokio::test]
async fn the_vmm_and_init_are_given_what_the_spec_asks_for() {
    let agent = Agent::new().await;
    volume(&agent, "data").await;
    volume(&agent, "a-name-that-is-longer-than-a-serial").await;
    let disk_image = image(&agent, &"x".repeat(512)).await;
    agent.call("PUT", "/v1/networks/lan", r#"{"mtu":9000}"#).await;
    agent.init.forget_bridges();
    let spec = format!(
        r##"{{"cpus":1,"disks":[{{"volume":"data"}},{{"image":"{disk_image}"}},
            {{"volume":"a-name-that-is-longer-than-a-serial","read_only":true}}],
            "nets":[{{"network":"lan","mac":"02:00:00:00:00:0A","mtu":1500}},{{"network":"lan"}}],
            "cloud_init":{{"user_data":"#cloud-config"}}}}"##
    );
    let mut events = agent.app.events.subscribe(Some(0));
    let vm = started(&agent, "a", &spec).await;
    let told = agent.app.events.next(&mut events).await.unwrap();
    assert!(matches!(told.what, What::Vm(vm) if vm.spec.disks.len() == 3 && vm.spec.cloud_init.is_none()));
    assert!(vm.spec.cloud_init.is_some());
    assert!(
        agent.init.bridges().contains_key("ax-lan"),
        "made before the start"
    );
    let unit = agent.init.started().remove(0);
    let grants: Vec<_> = unit
        .volumes
        .iter()
        .map(|v| (v.name.as_str(), v.writable))
        .collect();
    assert_eq!(
        grants,
        [("data", true), ("a-name-that-is-longer-than-a-serial", false)]
    );
    let taps: Vec<_> = unit
        .taps
        .iter()
        .map(|tap| (tap.name.as_str(), tap.bridge.as_str(), tap.mtu, tap.multi_queue))
        .collect();
    assert_eq!(
        taps,
        [("vm0-0", "ax-lan", 9000, false), ("vm0-1", "ax-lan", 9000, false)]
    );

    let config: VmmConfig = serde_json::from_slice(&unit.files[0].1).unwrap();
    let seen = |disk: &DiskConfig| {
        let name = disk.path.rsplit('/').next().unwrap().to_owned();
        (name, disk.read_only, disk.serial.clone().unwrap_or_default())
    };
    let disks: Vec<_> = config.disks.iter().map(seen).collect();
    let hash = disk_image.trim_start_matches("sha256:").to_owned();
    let text = str::to_owned;
    assert_eq!(
        disks,
        [
            (text("data"), false, text("data")),
            (hash, true, text("")),
            (
                text("a-name-that-is-longer-than-a-serial"),
                true,
                text("a-name-that-is-longe")
            ),
            (text("cloud-init.img"), true, text("cloud-init")),
        ]
    );
    assert_eq!(unit.files[1].0, "cloud-init.img");
    assert_eq!(
        config.disks[3].path,
        agent.vm_directory("a").join("cloud-init.img").to_str().unwrap()
    );
    let nets: Vec<_> = config
        .nets
        .iter()
        .map(|net| (net.tap.as_str(), net.mtu, net.queues))
        .collect();
    assert_eq!(
        nets,
        [("vm0-0", Some(1500), Some(1)), ("vm0-1", Some(9000), Some(1))]
    );
    let macs: Vec<_> = config.nets.iter().map(|net| net.mac.clone()).collect();
    assert_eq!(macs[0], "02:00:00:00:00:0a");
    let shown: Vec<_> = vm.status.nets.iter().map(|net| net.mac.clone()).collect();
    assert_eq!(shown, macs);
    assert_ne!(macs[0], macs[1]);
}

#[tokio::test]
async fn a_made_address_stays_and_queues_follow_the_vcpus() {
    let agent = Agent::new().await;
    agent.call("PUT", "/v1/networks/lan", "{}").await;
    let spec = r#"{"nets":[{"network":"lan"}]}"#;
    let first = put(&agent, "a", spec).await;
    agent.call("DELETE", "/v1/vms/a", "").await;
    let again = put(&agent, "a", spec).await;
    assert_eq!(first.status.nets, again.status.nets);
    let other = put(&agent, "b", spec).await;
    assert_ne!(first.status.nets[0].mac, other.status.nets[0].mac);
}

#[tokio::test]
async fn a_guest_is_paused_and_goes_on() {
    let agent = Agent::new().await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    started(&agent, "a", "{}").await;
    let call = async |verb: &str| agent.call("POST", &format!("/v1/vms/a/{verb}"), "").await;
    let conflict = call("resume").await.problem();
    assert_eq!(
        (conflict.status, conflict.detail.as_str()),
        (409, "the machine runs")
    );
    let paused = call("pause").await;
    assert_eq!(paused.status, StatusCode::ACCEPTED);
    let paused: Vm = paused.json();
    assert_eq!(
        (paused.status.state, paused.status.pause),
        (VmState::Paused, Some(Pause::Request))
    );
    let deaf = call("stop").await.problem();
    assert!(deaf.status == 409 && deaf.detail.contains("resume"), "{deaf:?}");
    let resumed: Vm = call("resume").await.json();
    assert_eq!(
        (resumed.status.state, resumed.status.pause),
        (VmState::Running, None)
    );
    assert_eq!(vmm.requests().len(), 3);
}

#[tokio::test]
async fn a_guest_that_the_node_has_no_room_for_is_noticed() {
    let agent = Agent::new().await;
    volume(&agent, "data").await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    started(&agent, "a", r#"{"disks":[{"volume":"data"}]}"#).await;
    vmm.set(|status| {
        status.state = MachineState::Paused;
        status.pause_reason = Some(PauseReason::DiskFull {
            disk: 0,
            path: "/x".to_owned(),
        });
        status.disks = vec![DiskStatus {
            path: "/x".to_owned(),
            capacity: 1 << 20,
            direct: false,
            queues: vec![DiskCounters {
                waits: 1,
                ..DiskCounters::default()
            }],
        }];
    });
    let stats: VmStats = agent.call("GET", "/v1/vms/a/stats", "").await.json();
    assert_eq!(
        (stats.disks[0].source.as_str(), stats.disks[0].waits),
        ("data", 1)
    );
    // The reconciler tells whoever listens.
    let vm = agent.until("a", |vm| vm.status.state == VmState::Paused).await;
    let full = Pause::DiskFull {
        disk: 0,
        volume: Some("data".to_owned()),
    };
    assert!(full.to_string().contains("volume data"));
    assert_eq!(vm.status.pause, Some(full));
    let metrics = agent.call("GET", "/metrics", "").await;
    assert!(metrics.header("content-type").unwrap().starts_with("text/plain"));
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(
        text.contains("axion_vm_state{vm=\"a\",state=\"paused\"} 1\n"),
        "{text}"
    );
    assert!(
        text.contains("axion_vm_disk_waits_total{vm=\"a\",disk=\"0\",source=\"data\"} 1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_a_vmm_has_counted_and_cannot_be_read_is_no_zero() {
    let agent = Agent::new().await;
    let vmm = FakeVmm::new(&agent.vm_directory("a"));
    started(&agent, "a", "{}").await;
    let metrics = async || {
        let answer = agent.call("GET", "/metrics", "").await;
        String::from_utf8(answer.body).unwrap()
    };
    assert_eq!(
        agent.call("GET", "/v1/vms/a/stats", "").await.status,
        StatusCode::OK
    );
    let text = metrics().await;
    assert!(text.contains("axion_vm_answers{vm=\"a\"} 1\n"), "{text}");
    assert!(text.contains("axion_vm_resets_total{vm=\"a\"}"), "{text}");
    for body in ["{".to_owned(), " ".repeat((8 << 20) + 1)] {
        vmm.set_metrics(&body);
        let problem = agent.call("GET", "/v1/vms/a/stats", "").await.problem();
        assert_eq!(problem.status, 503);
        assert!(
            problem.detail.contains("the VMM's answer cannot be read"),
            "{problem:?}"
        );
        let text = metrics().await;
        assert!(text.contains("axion_vm_answers{vm=\"a\"} 0\n"), "{text}");
        assert!(!text.contains("axion_vm_resets_total{vm=\"a\"}"), "{text}");
    }
}

#[tokio::test]
async fn a_vmm_has_memory_for_its_guest_and_for_disks_that_lie_in_memory() {
    let agent = Agent::new().await;
    volume(&agent, "data").await;
    let spec = r#"{"memory":"64MiB","memory_max":"128MiB","disks":[{"volume":"data"}]}"#;
    started(&agent, "a", spec).await;
    let unit = &agent.init.started()[0];
    let config: VmmConfig = serde_json::from_slice(&unit.files[0].1).unwrap();
    let more = unit.memory_max - config.memory_limit();
    assert!(config.memory_limit() > 128 << 20);
    // As the machine of this test keeps its temporary files.
    assert!([0, (1 << 20) + (1 << 14)].contains(&more), "{more}");
}
