use axion_api::vm::{DesiredState, VmSpec, VmStatus};

use super::*;

#[test]
fn each_metric_is_explained_once_and_its_samples_follow() {
    let vm = Vm {
        name: "web".to_owned(),
        revision: 1,
        spec: VmSpec::default(),
        desired: DesiredState::Running,
        status: VmStatus {
            state: VmState::Paused,
            pid: Some(7),
            since_unix_us: 0,
            exit: None,
            pause: None,
            nets: Vec::new(),
        },
    };
    let stats = VmStats {
        cpu_us: 1_500_000,
        disks: vec![VmDiskStats {
            source: "data".to_owned(),
            waits: 3,
            ..VmDiskStats::default()
        }],
        ..VmStats::default()
    };
    let node = Node {
        version: "1",
        uptime_seconds: 60,
        memory: Memory {
            total: 1 << 30,
            available: 1 << 29,
        },
        topology: &Topology::default(),
        proof: Some(&Proof {
            started_unix_us: 2_500_000,
            window_ms: 10_000,
            mode: axion_core::config::ProfileMode::Hpc,
            cpus: vec![CpuProof {
                cpu: 3,
                ..CpuProof::default()
            }],
            skipped: Vec::new(),
            notes: Vec::new(),
        }),
    };
    let off = Vm {
        name: "off".to_owned(),
        ..vm.clone()
    };
    let text = render(&node, &[(vm, Some(stats)), (off, None)]);
    for line in [
        "axion_build_info{version=\"1\"} 1",
        "axion_uptime_seconds 60",
        "axion_memory_available_bytes 536870912",
        "axion_isolation_proof_timestamp_seconds 2.5",
        "axion_isolation_met{cpu=\"3\"} 1",
        "axion_isolation_ticks{cpu=\"3\"} 0",
        "axion_vm_state{vm=\"web\",state=\"paused\"} 1",
        "axion_vm_state{vm=\"web\",state=\"running\"} 0",
        "axion_vm_cpu_seconds_total{vm=\"web\"} 1.5",
        "axion_vm_disk_waits_total{vm=\"web\",disk=\"0\",source=\"data\"} 3",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
    assert!(!text.contains("cpu_seconds_total{vm=\"off\"}"));
    let mut names: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE")).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn labels_are_escaped() {
    assert_eq!(label("a", "b\"c\\d\ne"), r#"a="b\"c\\d\ne""#);
}
