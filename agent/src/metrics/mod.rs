//! Counters of the node and its VMs in the text format of Prometheus (exposition format 0.0.4). Pure.

mod devices;
mod profile;
mod storage;
mod vcpus;

use std::fmt::Write;
use std::ops::RangeInclusive;

use axion_api::capacity::{Capacity, NodeCapacity};
use axion_api::host::Memory;
use axion_api::storage::Pool;
use axion_api::vm::{Vm, VmDiskStats, VmNetStats, VmState, VmStats};
use axion_api::vmm::ResetCause;
use axion_api::vmm::metrics::{Latency, PairLatencies, QueueLatencies};
use axion_core::proof::{CpuProof, Proof, WakeLatency};
use axion_core::topology::Topology;

use crate::drift::Checked;
use crate::vm::stats::Measured;
pub use storage::Cache;

/// Media type of the text.
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is told of the node.
pub struct Node<'a> {
    /// Version of Axion.
    pub version: &'a str,
    /// Seconds since the kernel started.
    pub uptime_seconds: u64,
    /// Memory.
    pub memory: Memory,
    /// Hardware.
    pub topology: &'a Topology,
    /// What it has for VMs.
    pub capacity: &'a Capacity,
    /// The last isolation proof.
    pub proof: Option<&'a Proof>,
    /// The boot profile at the last look.
    pub profile: Option<&'a Checked>,
    /// ZFS's cache, where ZFS is loaded.
    pub cache: Option<Cache>,
}

/// One after the other, each metric with its samples together.
struct Text(String);

impl Text {
    fn metric(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, f64)>,
    ) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP axion_{name} {help}\n# TYPE axion_{name} {kind}");
        for (labels, value) in samples {
            let _ = if labels.is_empty() {
                writeln!(self.0, "axion_{name} {value}")
            } else {
                writeln!(self.0, "axion_{name}{{{labels}}} {value}")
            };
        }
    }

    /// Histograms of times; each sample has labels.
    fn histogram<'a>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, &'a Latency)>,
    ) {
        let _ = writeln!(
            self.0,
            "# HELP axion_{name} {help}\n# TYPE axion_{name} histogram"
        );
        for (labels, latency) in samples {
            for power in ENDS {
                let end = 1 << power;
                let (seconds, below) = (float(end) / 1e9, latency.below(end));
                let _ = writeln!(self.0, "axion_{name}_bucket{{{labels},le=\"{seconds}\"}} {below}");
            }
            let (count, sum) = (latency.count(), float(latency.total_ns) / 1e9);
            let _ = writeln!(self.0, "axion_{name}_bucket{{{labels},le=\"+Inf\"}} {count}");
            let _ = writeln!(self.0, "axion_{name}_sum{{{labels}}} {sum}");
            let _ = writeln!(self.0, "axion_{name}_count{{{labels}}} {count}");
        }
    }
}

/// Ends of the buckets of times, nanoseconds, as powers of two: 4 µs to 17 s.
const ENDS: RangeInclusive<u32> = 12..=34;

/// `name="value"`, escaped.
fn label(name: &str, value: &str) -> String {
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n");
    format!("{name}=\"{value}\"")
}

#[allow(clippy::cast_precision_loss)]
fn float(value: u64) -> f64 {
    // The format has no integers; what is lost above 2^53 is nothing to a rate.
    value as f64
}

fn alone(value: u64) -> [(String, f64); 1] {
    [(String::new(), float(value))]
}

const STATES: [VmState; 6] = [
    VmState::Stopped,
    VmState::Starting,
    VmState::Running,
    VmState::Paused,
    VmState::Stopping,
    VmState::Failed,
];

/// The text. Pools are left out where init does not say in time how they are.
pub fn render(node: &Node<'_>, pools: Option<&[Pool]>, vms: &[(Vm, Option<Measured>)]) -> String {
    let mut text = Text(String::new());
    let version = label("version", node.version);
    text.metric("build_info", "gauge", "Version of Axion.", [(version, 1.0)]);
    text.metric(
        "uptime_seconds",
        "gauge",
        "Time since the kernel started.",
        alone(node.uptime_seconds),
    );
    text.metric(
        "memory_bytes",
        "gauge",
        "Memory that the kernel manages.",
        alone(node.memory.total),
    );
    text.metric(
        "memory_available_bytes",
        "gauge",
        "Memory that a new process could get.",
        alone(node.memory.available),
    );
    let hugepages = || {
        node.topology.nodes.iter().flat_map(|numa| {
            numa.hugepages.iter().map(move |pool| {
                let node = label("node", &numa.id.to_string());
                let size = label("page_bytes", &pool.page_size.to_string());
                (format!("{node},{size}"), pool)
            })
        })
    };
    text.metric(
        "hugepages",
        "gauge",
        "Hugepages that are reserved.",
        hugepages().map(|(labels, pool)| (labels, float(pool.total))),
    );
    text.metric(
        "hugepages_free",
        "gauge",
        "Hugepages that nobody has.",
        hugepages().map(|(labels, pool)| (labels, float(pool.free))),
    );
    capacity(&mut text, node.capacity);
    text.metric(
        "vm_state",
        "gauge",
        "1 for the state that the VM is in.",
        vms.iter().flat_map(|(vm, _)| {
            STATES.map(|state| {
                let labels = format!("{},{}", label("vm", &vm.name), label("state", &state.to_string()));
                (labels, f64::from(u8::from(vm.status.state == state)))
            })
        }),
    );
    if let Some(checked) = node.profile {
        profile::profile(&mut text, checked);
    }
    text.metric(
        "vm_answers",
        "gauge",
        "Whether the VMM of a VM that runs says what it has counted; without it the VM's counters are missing.",
        vms.iter()
            .filter(|(vm, _)| vm.status.pid.is_some())
            .map(|(vm, measured)| (label("vm", &vm.name), f64::from(u8::from(measured.is_some())))),
    );
    if let Some(proof) = node.proof {
        isolation(&mut text, proof);
    }
    if let Some(cache) = &node.cache {
        storage::cache(&mut text, cache);
    }
    if let Some(pools) = pools {
        storage::pools(&mut text, pools);
    }
    vm_counters(&mut text, vms);
    vcpus::counters(&mut text, vms);
    disk_counters(&mut text, vms);
    disk_times(&mut text, vms);
    net_times(&mut text, vms);
    reset_causes(&mut text, vms);
    devices::counters(&mut text, vms);
    devices::times(&mut text, vms);
    net_counters(&mut text, vms);
    text.0
}

fn capacity(text: &mut Text, capacity: &Capacity) {
    type Of = fn(&NodeCapacity) -> u64;
    let gauges: [(&str, &str, Of); 6] = [
        ("shared_cpus", "CPUs of shared VMs.", |node| {
            u64::try_from(node.shared_cpus.len()).unwrap_or(u64::MAX)
        }),
        ("shared_vcpus", "vCPUs of shared VMs that have a place.", |node| {
            node.shared_vcpus
        }),
        ("dedicated_cores", "Cores of dedicated VMs.", |node| node.cores),
        ("dedicated_cores_free", "Cores that no VM has.", |node| {
            node.cores_free
        }),
        ("vms_memory_bytes", "Ordinary memory for VMs.", |node| node.memory),
        ("vms_memory_free_bytes", "What of it no VM has.", |node| {
            node.memory_free
        }),
    ];
    for (name, help, of) in gauges {
        let samples = capacity.nodes.iter();
        text.metric(
            name,
            "gauge",
            help,
            samples.map(|node| (label("node", &node.node.to_string()), float(of(node)))),
        );
    }
    let pools = capacity.nodes.iter().flat_map(|node| {
        node.hugepages.iter().map(move |pool| {
            let of = label("node", &node.node.to_string());
            let size = label("page_bytes", &pool.page_size.to_string());
            (format!("{of},{size}"), float(pool.reserved))
        })
    });
    text.metric("hugepages_of_vms", "gauge", "Hugepages that VMs have.", pools);
}

/// What the last isolation proof found.
fn isolation(text: &mut Text, proof: &Proof) {
    text.metric(
        "isolation_proof_timestamp_seconds",
        "gauge",
        "When the last isolation proof began.",
        [(String::new(), float(proof.started_unix_us) / 1e6)],
    );
    text.metric(
        "isolation_proof_window_seconds",
        "gauge",
        "How long it was.",
        [(String::new(), float(proof.window_ms) / 1e3)],
    );
    text.metric(
        "isolation_host_device_interrupts",
        "gauge",
        "Interrupts of devices that the host's CPUs had in the window.",
        [(String::new(), float(proof.host_device_interrupts()))],
    );
    type Of = fn(&CpuProof) -> f64;
    let gauges: [(&str, &str, Of); 8] = [
        ("met", "Whether the CPU met the goals.", |cpu| {
            f64::from(u8::from(cpu.is_met()))
        }),
        ("ticks", "Timer ticks in the window.", |cpu| {
            float(cpu.counts.ticks)
        }),
        (
            "device_interrupts",
            "Interrupts of devices in the window.",
            |cpu| float(cpu.counts.device_interrupts),
        ),
        ("ipis", "Interrupts by other CPUs in the window.", |cpu| {
            float(cpu.counts.ipis)
        }),
        ("softirqs", "Softirqs in the window.", |cpu| {
            float(cpu.counts.softirqs)
        }),
        (
            "switches",
            "Times that another thread ran in the window.",
            |cpu| float(cpu.counts.switches),
        ),
        (
            "delay_p999_seconds",
            "999 of 1000 rounds of fixed work were at most so late.",
            |cpu| float(cpu.delay.p999_ns) / 1e9,
        ),
        (
            "delay_max_seconds",
            "So late was the latest round of fixed work.",
            |cpu| float(cpu.delay.max_ns) / 1e9,
        ),
    ];
    for (name, help, of) in gauges {
        let samples = proof
            .cpus
            .iter()
            .map(|cpu| (label("cpu", &cpu.cpu.to_string()), of(cpu)));
        text.metric(&format!("isolation_{name}"), "gauge", help, samples);
    }
    type OfLatency = fn(&WakeLatency) -> u64;
    let latencies: [(&str, &str, OfLatency); 2] = [
        (
            "timer_irq_latency_max_seconds",
            "So late was the latest timer interrupt of the busy CPU.",
            |latency| latency.irq_max_ns,
        ),
        (
            "timer_thread_latency_max_seconds",
            "So late was the latest real-time thread that a timer woke on the busy CPU.",
            |latency| latency.thread_max_ns,
        ),
    ];
    for (name, help, of) in latencies {
        let samples = proof.cpus.iter().filter_map(|cpu| {
            let latency = cpu.latency.as_ref()?;
            Some((label("cpu", &cpu.cpu.to_string()), float(of(latency)) / 1e9))
        });
        text.metric(&format!("isolation_{name}"), "gauge", help, samples);
    }
}

fn vm_counters(text: &mut Text, vms: &[(Vm, Option<Measured>)]) {
    let each = |of: fn(&VmStats) -> f64| {
        vms.iter()
            .filter_map(move |(vm, measured)| Some((label("vm", &vm.name), of(&measured.as_ref()?.stats))))
    };
    text.metric(
        "vm_vcpus",
        "gauge",
        "vCPUs.",
        vms.iter()
            .map(|(vm, _)| (label("vm", &vm.name), f64::from(vm.spec.cpus))),
    );
    text.metric(
        "vm_memory_bytes",
        "gauge",
        "Memory of the guest.",
        vms.iter()
            .map(|(vm, _)| (label("vm", &vm.name), float(vm.memory().0))),
    );
    text.metric(
        "vm_cpu_seconds_total",
        "counter",
        "CPU time of the VMM, guest included, since the start.",
        each(|stats| float(stats.cpu_us) / 1e6),
    );
    text.metric(
        "vm_resident_bytes",
        "gauge",
        "Memory of the VMM that is present, hugepages left out.",
        each(|stats| float(stats.memory)),
    );
    text.metric(
        "vm_page_faults_total",
        "counter",
        "Page faults of the VMM.",
        each(|stats| float(stats.page_faults)),
    );
    text.metric(
        "vm_resets_total",
        "counter",
        "Resets since the start.",
        each(|stats| float(stats.resets)),
    );
}

fn disk_counters(text: &mut Text, vms: &[(Vm, Option<Measured>)]) {
    type Of = fn(&VmDiskStats) -> u64;
    let counters: [(&str, &str, Of); 8] = [
        ("reads", "Reads.", |disk| disk.reads),
        ("read_bytes", "Bytes read.", |disk| disk.read_bytes),
        ("writes", "Writes.", |disk| disk.writes),
        ("write_bytes", "Bytes written.", |disk| disk.write_bytes),
        ("flushes", "Flushes.", |disk| disk.flushes),
        ("discards", "Discards and zeroings.", |disk| disk.discards),
        ("errors", "Requests that failed.", |disk| disk.errors),
        (
            "waits",
            "Requests that had to wait for room on the node.",
            |disk| disk.waits,
        ),
    ];
    for (name, help, of) in counters {
        let samples = vms.iter().flat_map(|(vm, measured)| {
            let disks = measured
                .iter()
                .flat_map(|measured| measured.stats.disks.iter().enumerate());
            disks.map(move |(index, disk)| {
                let labels = [
                    label("vm", &vm.name),
                    label("disk", &index.to_string()),
                    label("source", &disk.source),
                ];
                (labels.join(","), float(of(disk)))
            })
        });
        text.metric(&format!("vm_disk_{name}_total"), "counter", help, samples);
    }
}

/// How long requests of each queue of each disk took.
fn disk_times(text: &mut Text, vms: &[(Vm, Option<Measured>)]) {
    type Of = fn(&QueueLatencies) -> &Latency;
    let times: [(&str, &str, Of); 3] = [
        ("read", "How long reads took.", |queue| &queue.reads),
        ("write", "How long writes took.", |queue| &queue.writes),
        ("flush", "How long flushes took.", |queue| &queue.flushes),
    ];
    for (name, help, of) in times {
        let samples = vms.iter().flat_map(|(vm, measured)| {
            let disks = measured
                .iter()
                .flat_map(|measured| measured.counted.disks.iter().enumerate());
            disks.flat_map(move |(disk, queues)| {
                queues.iter().enumerate().map(move |(queue, times)| {
                    let labels = [
                        label("vm", &vm.name),
                        label("disk", &disk.to_string()),
                        label("queue", &queue.to_string()),
                    ];
                    (labels.join(","), of(times))
                })
            })
        });
        text.histogram(&format!("vm_disk_{name}_seconds"), help, samples);
    }
}

/// Who moves the frames of each network interface, and how long they took where it is the VMM.
fn net_times(text: &mut Text, vms: &[(Vm, Option<Measured>)]) {
    type Of = fn(&PairLatencies) -> &Latency;
    let paths = vms.iter().flat_map(|(vm, measured)| {
        let nets = measured
            .iter()
            .flat_map(|measured| measured.stats.nets.iter().enumerate());
        nets.filter_map(move |(net, stats)| {
            let labels = [
                label("vm", &vm.name),
                label("net", &net.to_string()),
                label("path", stats.path?.name()),
            ];
            Some((labels.join(","), 1.0))
        })
    });
    text.metric(
        "vm_net_path",
        "gauge",
        "1 at who moves the frames of the interface: vhost, or own, the VMM.",
        paths,
    );
    let times: [(&str, &str, Of); 2] = [
        (
            "receive",
            "How long frames to the guest were with the VMM.",
            |pair| &pair.receive,
        ),
        (
            "send",
            "How long frames of the guest were with the VMM.",
            |pair| &pair.send,
        ),
    ];
    for (name, help, of) in times {
        let samples = vms.iter().flat_map(|(vm, measured)| {
            let nets = measured
                .iter()
                .flat_map(|measured| measured.counted.nets.iter().enumerate());
            nets.flat_map(move |(net, pairs)| {
                pairs.iter().enumerate().map(move |(pair, times)| {
                    let labels = [
                        label("vm", &vm.name),
                        label("net", &net.to_string()),
                        label("pair", &pair.to_string()),
                    ];
                    (labels.join(","), of(times))
                })
            })
        });
        text.histogram(&format!("vm_net_{name}_seconds"), help, samples);
    }
}

/// Resets by cause.
fn reset_causes(text: &mut Text, vms: &[(Vm, Option<Measured>)]) {
    let samples = vms.iter().flat_map(|(vm, _)| {
        let causes = ResetCause::ALL.into_iter();
        causes.filter_map(move |cause| {
            let labels = [label("vm", &vm.name), label("cause", cause.name())];
            Some((labels.join(","), float(vm.status.resets?.of(cause))))
        })
    });
    text.metric(
        "vm_resets_by_cause_total",
        "counter",
        "Resets since the start by cause.",
        samples,
    );
}

fn net_counters(text: &mut Text, vms: &[(Vm, Option<Measured>)]) {
    type Of = fn(&VmNetStats) -> u64;
    let counters: [(&str, &str, Of); 5] = [
        ("receive_bytes", "Bytes that the guest received.", |net| {
            net.receive_bytes
        }),
        ("receive_packets", "Packets that the guest received.", |net| {
            net.receive_packets
        }),
        (
            "receive_drops",
            "Packets that the guest was too slow for.",
            |net| net.receive_drops,
        ),
        ("send_bytes", "Bytes that the guest sent.", |net| net.send_bytes),
        ("send_packets", "Packets that the guest sent.", |net| {
            net.send_packets
        }),
    ];
    for (name, help, of) in counters {
        let samples = vms.iter().flat_map(|(vm, measured)| {
            let nets = measured
                .iter()
                .flat_map(|measured| measured.stats.nets.iter().enumerate());
            nets.map(move |(index, net)| {
                let labels = [
                    label("vm", &vm.name),
                    label("net", &index.to_string()),
                    label("network", &net.network),
                ];
                (labels.join(","), float(of(net)))
            })
        });
        text.metric(&format!("vm_net_{name}_total"), "counter", help, samples);
    }
}

#[cfg(test)]
mod tests;
