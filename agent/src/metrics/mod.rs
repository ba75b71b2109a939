//! Counters of the node and its VMs in the text format of Prometheus (exposition format 0.0.4). Pure.

use std::fmt::Write;

use axion_api::host::Memory;
use axion_api::vm::{Vm, VmDiskStats, VmNetStats, VmState, VmStats};
use axion_core::proof::{CpuProof, Proof};
use axion_core::topology::Topology;

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
    /// The last isolation proof.
    pub proof: Option<&'a Proof>,
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
}

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

/// The text.
pub fn render(node: &Node<'_>, vms: &[(Vm, Option<VmStats>)]) -> String {
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
    let pools = || {
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
        pools().map(|(labels, pool)| (labels, float(pool.total))),
    );
    text.metric(
        "hugepages_free",
        "gauge",
        "Hugepages that nobody has.",
        pools().map(|(labels, pool)| (labels, float(pool.free))),
    );
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
    if let Some(proof) = node.proof {
        isolation(&mut text, proof);
    }
    vm_counters(&mut text, vms);
    disk_counters(&mut text, vms);
    net_counters(&mut text, vms);
    text.0
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
}

fn vm_counters(text: &mut Text, vms: &[(Vm, Option<VmStats>)]) {
    let each = |of: fn(&VmStats) -> f64| {
        vms.iter()
            .filter_map(move |(vm, stats)| Some((label("vm", &vm.name), of(stats.as_ref()?))))
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
            .map(|(vm, _)| (label("vm", &vm.name), float(vm.spec.memory.0))),
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
        "vm_resets_total",
        "counter",
        "Resets since the start.",
        each(|stats| float(stats.resets)),
    );
}

fn disk_counters(text: &mut Text, vms: &[(Vm, Option<VmStats>)]) {
    type Of = fn(&VmDiskStats) -> u64;
    let counters: [(&str, &str, Of); 7] = [
        ("reads", "Reads.", |disk| disk.reads),
        ("read_bytes", "Bytes read.", |disk| disk.read_bytes),
        ("writes", "Writes.", |disk| disk.writes),
        ("write_bytes", "Bytes written.", |disk| disk.write_bytes),
        ("flushes", "Flushes.", |disk| disk.flushes),
        ("errors", "Requests that failed.", |disk| disk.errors),
        (
            "waits",
            "Requests that had to wait for room on the node.",
            |disk| disk.waits,
        ),
    ];
    for (name, help, of) in counters {
        let samples = vms.iter().flat_map(|(vm, stats)| {
            let disks = stats.iter().flat_map(|stats| stats.disks.iter().enumerate());
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

fn net_counters(text: &mut Text, vms: &[(Vm, Option<VmStats>)]) {
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
        let samples = vms.iter().flat_map(|(vm, stats)| {
            let nets = stats.iter().flat_map(|stats| stats.nets.iter().enumerate());
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
