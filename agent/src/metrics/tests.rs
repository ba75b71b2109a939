use axion_api::vm::{
    DesiredState, VmBalloonStats, VmConsoleStats, VmNetStats, VmSpec, VmStatus, VmVcpuStats,
};
use axion_api::vmm::metrics::{MappedPages, VcpuCounts, VcpuExits};
use axion_api::vmm::{NetPath, Resets, VmmMetrics};
use axion_core::profile::{Attestation, Item, ItemState};
use axion_core::proof::{Interrupt, NoiseKind};

use super::*;

fn item(key: &str, state: ItemState) -> Item {
    Item {
        key: key.to_owned(),
        desired: String::new(),
        effective: String::new(),
        state,
        fix: None,
    }
}

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
            memory: None,
            placement: None,
            in_force: None,
            resets: Some(Resets {
                panic: 2,
                ..Resets::default()
            }),
        },
    };
    // Ends of buckets, as the VMM has them.
    let times = QueueLatencies {
        reads: Latency {
            total_ns: 2_000_000,
            longest_ns: 1_900_000,
            buckets: vec![(100_352, 1), (1 << 21, 1)],
        },
        ..QueueLatencies::default()
    };
    let send = times.reads.clone();
    let vsock = PairLatencies {
        receive: send.clone(),
        ..PairLatencies::default()
    };
    let stats = VmStats {
        cpu_us: 1_500_000,
        page_faults: 11,
        mapped: Some(MappedPages {
            pages_1g: 2,
            ..MappedPages::default()
        }),
        vcpus: vec![VmVcpuStats {
            steal_us: 250_000,
            ..VmVcpuStats::default()
        }],
        disks: vec![VmDiskStats {
            source: "data".to_owned(),
            waits: 3,
            discards: 4,
            ..VmDiskStats::default()
        }],
        nets: vec![VmNetStats {
            path: Some(NetPath::Own),
            ..VmNetStats::default()
        }],
        console: VmConsoleStats {
            typed_bytes: 6,
            ..VmConsoleStats::default()
        },
        balloon: Some(VmBalloonStats {
            actual: 4096,
            ..VmBalloonStats::default()
        }),
        ..VmStats::default()
    };
    let measured = Measured {
        stats,
        counted: VmmMetrics {
            vcpus: vec![VcpuExits {
                port_writes: 5,
                ..VcpuExits::default()
            }],
            kvm: vec![VcpuCounts {
                exits: 40,
                halts: 30,
                ..VcpuCounts::default()
            }],
            disks: vec![vec![times]],
            nets: vec![vec![PairLatencies {
                send,
                ..PairLatencies::default()
            }]],
            vsock: Some(vsock),
            ..VmmMetrics::default()
        },
    };
    let node = Node {
        version: "1",
        uptime_seconds: 60,
        memory: Memory {
            total: 1 << 30,
            available: 1 << 29,
        },
        topology: &Topology::default(),
        capacity: &Capacity {
            nodes: vec![NodeCapacity {
                node: 1,
                cores: 7,
                cores_free: 3,
                hugepages: vec![axion_api::capacity::PoolCapacity {
                    page_size: 2 << 20,
                    reserved: 9,
                    ..Default::default()
                }],
                ..NodeCapacity::default()
            }],
            ..Capacity::default()
        },
        proof: Some(&Proof {
            started_unix_us: 2_500_000,
            window_ms: 10_000,
            mode: axion_core::config::ProfileMode::Hpc,
            cpus: vec![CpuProof {
                cpu: 3,
                ..CpuProof::default()
            }],
            host_interrupts: vec![Interrupt {
                kind: NoiseKind::Device,
                name: "24 virtio0-input.0".to_owned(),
                count: 80,
            }],
            skipped: Vec::new(),
            notes: Vec::new(),
        }),
        profile: Some(&Checked {
            unix_us: 2_500_000,
            attestation: Attestation {
                state: ItemState::NeedsReboot,
                items: vec![
                    item("cpu.irqs", ItemState::Ok),
                    item("sysctl.vm.swappiness", ItemState::NeedsReboot),
                    item("memory.ksm", ItemState::Ok),
                ],
            },
        }),
        cache: None,
    };
    let off = Vm {
        name: "off".to_owned(),
        ..vm.clone()
    };
    let text = render(&node, None, &[(vm, Some(measured)), (off, None)]);
    for line in [
        "axion_build_info{version=\"1\"} 1",
        "axion_uptime_seconds 60",
        "axion_memory_available_bytes 536870912",
        "axion_dedicated_cores{node=\"1\"} 7",
        "axion_dedicated_cores_free{node=\"1\"} 3",
        "axion_hugepages_of_vms{node=\"1\",page_bytes=\"2097152\"} 9",
        "axion_isolation_proof_timestamp_seconds 2.5",
        "axion_isolation_host_device_interrupts 80",
        "axion_isolation_met{cpu=\"3\"} 1",
        "axion_isolation_ticks{cpu=\"3\"} 0",
        "axion_profile_checked_timestamp_seconds 2.5",
        "axion_profile_items{state=\"ok\"} 2",
        "axion_profile_items{state=\"drifted\"} 0",
        "axion_profile_items{state=\"needs-reboot\"} 1",
        "axion_profile_item_state{item=\"cpu.irqs\",state=\"ok\"} 1",
        "axion_profile_item_state{item=\"sysctl.vm.swappiness\",state=\"ok\"} 0",
        "axion_profile_item_state{item=\"sysctl.vm.swappiness\",state=\"needs-reboot\"} 1",
        "axion_vm_state{vm=\"web\",state=\"paused\"} 1",
        "axion_vm_state{vm=\"web\",state=\"running\"} 0",
        "axion_vm_cpu_seconds_total{vm=\"web\"} 1.5",
        "axion_vm_page_faults_total{vm=\"web\"} 11",
        "axion_vm_mapped_pages{vm=\"web\",page_bytes=\"1073741824\"} 2",
        "axion_vm_vcpu_steal_seconds_total{vm=\"web\",vcpu=\"0\"} 0.25",
        "axion_vm_vcpu_exits_total{vm=\"web\",vcpu=\"0\"} 40",
        "axion_vm_vcpu_exits_by_reason_total{vm=\"web\",vcpu=\"0\",reason=\"halt\"} 30",
        "axion_vm_vcpu_vmm_exits_total{vm=\"web\",vcpu=\"0\",reason=\"port-write\"} 5",
        "axion_vm_disk_waits_total{vm=\"web\",disk=\"0\",source=\"data\"} 3",
        "axion_vm_net_path{vm=\"web\",net=\"0\",path=\"own\"} 1",
        "axion_vm_net_send_seconds_bucket{vm=\"web\",net=\"0\",pair=\"0\",le=\"0.000131072\"} 1",
        "axion_vm_net_receive_seconds_count{vm=\"web\",net=\"0\",pair=\"0\"} 0",
        "axion_vm_resets_by_cause_total{vm=\"web\",cause=\"panic\"} 2",
        "axion_vm_balloon_actual_bytes{vm=\"web\"} 4096",
        "axion_vm_console_typed_bytes_total{vm=\"web\"} 6",
        "axion_vm_vsock_receive_seconds_count{vm=\"web\"} 2",
        "axion_vm_vsock_receive_seconds_bucket{vm=\"web\",le=\"0.000131072\"} 1",
        "axion_vm_vsock_send_seconds_count{vm=\"web\"} 0",
        "# TYPE axion_vm_console_type_seconds histogram",
        "# TYPE axion_vm_disk_read_seconds histogram",
        "axion_vm_disk_read_seconds_bucket{vm=\"web\",disk=\"0\",queue=\"0\",le=\"0.000065536\"} 0",
        "axion_vm_disk_read_seconds_bucket{vm=\"web\",disk=\"0\",queue=\"0\",le=\"0.000131072\"} 1",
        "axion_vm_disk_read_seconds_bucket{vm=\"web\",disk=\"0\",queue=\"0\",le=\"+Inf\"} 2",
        "axion_vm_disk_read_seconds_sum{vm=\"web\",disk=\"0\",queue=\"0\"} 0.002",
        "axion_vm_disk_write_seconds_count{vm=\"web\",disk=\"0\",queue=\"0\"} 0",
    ] {
        assert!(text.lines().any(|there| there == line), "{line}\n{text}");
    }
    assert!(!text.contains("cpu_seconds_total{vm=\"off\"}"));
    assert!(
        !text.contains("console_type_seconds_count"),
        "a serial line has no queues"
    );
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
