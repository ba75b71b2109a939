//! What VMs have used and done: from their cgroup, from their taps, and from what the VMM counts.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use axion_api::problem::{Kind, Problem};
use axion_api::vm::{
    Vm, VmBalloonStats, VmConsoleStats, VmDiskStats, VmExits, VmLatency, VmNetStats, VmStats, VmVcpuStats,
    VmVsockStats,
};
use axion_api::vmm::metrics::{Latency, PairLatencies, QueueLatencies};
use axion_api::vmm::{
    API_SOCKET, BalloonStatus, ConsoleStatus, DiskStatus, VmmMetrics, VmmStatus, VsockStatus,
};
use futures_util::future::join_all;

use super::control::ControlError;
use super::devices::source;
use super::kernel::{PROCESSES, cgroup};
use super::{Vms, control};
use crate::log::chain;

/// How long one VM may keep the answer about all of them waiting.
const MEASURED: Duration = Duration::from_secs(3);
/// Interfaces of the host.
const INTERFACES: &str = "/sys/class/net";

/// What a VM has used and done, for people and for programs that draw it.
#[derive(Debug, Clone, Default)]
pub struct Measured {
    /// In numbers.
    pub stats: VmStats,
    /// What its VMM and KVM have counted.
    pub counted: VmmMetrics,
}

impl Vms {
    /// What a VM that runs has used and done.
    pub async fn stats(&self, name: &str) -> Result<VmStats, Problem> {
        let vm = self.get(name).await?;
        self.must_run(&vm)?;
        let status = self.look_at(name).await.ok_or_else(|| {
            Problem::new(
                Kind::Unavailable,
                format!("the VMM of VM `{name}` does not answer"),
            )
        })?;
        Ok(stats(&vm, &status, &self.count(name).await?))
    }

    /// What a VMM has counted.
    async fn count(&self, name: &str) -> Result<VmmMetrics, ControlError> {
        let counted = control::metrics(self.socket(name, API_SOCKET));
        self.reach(name, counted).await
    }

    /// Every VM, with what it has used and done where its VMM answers soon: what is not known is left out, never zero.
    pub async fn all_stats(&self) -> Result<Vec<(Vm, Option<Measured>)>, Problem> {
        let vms = self.list().await?;
        let asked = vms.into_iter().map(async |vm| {
            let measured = tokio::time::timeout(MEASURED, self.measure(&vm)).await;
            (vm, measured.ok().flatten())
        });
        Ok(join_all(asked).await)
    }

    async fn measure(&self, vm: &Vm) -> Option<Measured> {
        vm.status.pid?;
        let status = self.look_at(&vm.name).await?;
        match self.count(&vm.name).await {
            Ok(counted) => Some(Measured {
                stats: stats(vm, &status, &counted),
                counted,
            }),
            Err(error) => {
                tracing::warn!(
                    "VM {}: what it has counted is not known: {}",
                    vm.name,
                    chain(&error)
                );
                None
            }
        }
    }
}

fn stats(vm: &Vm, status: &VmmStatus, counted: &VmmMetrics) -> VmStats {
    let cgroup = cgroup(&vm.name);
    let read = |file: &str| std::fs::read_to_string(cgroup.join(file)).unwrap_or_default();
    let mut sources: Vec<&str> = vm.spec.disks.iter().map(source).collect();
    if vm.spec.cloud_init.is_some() {
        sources.push("cloud-init");
    }
    let interfaces = vm.status.nets.iter();
    let threads = vm
        .status
        .pid
        .map(|pid| thread_times(&Path::new(PROCESSES).join(pid.to_string())));
    let threads = threads.unwrap_or_default();
    let latencies = |index: usize| counted.disks.get(index).map_or(&[][..], Vec::as_slice);
    VmStats {
        cpu_us: field(&read("cpu.stat"), "usage_usec"),
        memory: number(&read("memory.current")),
        page_faults: field(&read("memory.stat"), "pgfault"),
        mapped: counted.mapped,
        resets: status.resets,
        start_us: status.start_us,
        vcpus: vcpu_stats(counted, &threads),
        exits: exits(counted),
        disks: status
            .disks
            .iter()
            .zip(sources)
            .enumerate()
            .map(|(index, (disk, source))| disk_stats(source, disk, latencies(index)))
            .collect(),
        nets: interfaces
            .enumerate()
            .map(|(index, net)| {
                let pairs = counted.nets.get(index).map_or(&[][..], Vec::as_slice);
                VmNetStats {
                    path: status.nets.get(index).map(|net| net.path),
                    receive_times: latency(pairs, |pair: &PairLatencies| &pair.receive),
                    send_times: latency(pairs, |pair| &pair.send),
                    ..net_stats(&net.network, &Path::new(INTERFACES).join(&net.tap))
                }
            })
            .collect(),
        console: console_stats(&status.console, counted.console.as_slice()),
        vsock: status
            .vsock
            .as_ref()
            .map(|vsock| vsock_stats(vsock, counted.vsock.as_slice())),
        balloon: status.balloon.as_ref().map(balloon_stats),
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

/// A line `name value`, as in cpu.stat and memory.stat (cgroup-v2.rst).
fn field(text: &str, name: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .find(|(there, _)| *there == name)
        .map_or(0, |(_, value)| number(value))
}

/// CPU time and time in wait of the threads of a process that are vCPUs, by their numbers, nanoseconds
/// (`schedstat` of a thread, Documentation/scheduler/sched-stats.rst).
fn thread_times(process: &Path) -> BTreeMap<usize, (u64, u64)> {
    let threads = std::fs::read_dir(process.join("task"));
    let times = threads.into_iter().flatten().filter_map(|thread| {
        let thread = thread.ok()?.path();
        let name = std::fs::read_to_string(thread.join("comm")).ok()?;
        let vcpu = name.trim().strip_prefix("vcpu")?.parse().ok()?;
        let times = std::fs::read_to_string(thread.join("schedstat")).ok()?;
        let mut words = times.split_whitespace().map(number);
        Some((vcpu, (words.next()?, words.next()?)))
    });
    times.collect()
}

fn vcpu_stats(counted: &VmmMetrics, threads: &BTreeMap<usize, (u64, u64)>) -> Vec<VmVcpuStats> {
    let vcpus = counted.vcpus.iter().enumerate();
    let each = vcpus.map(|(number, exits)| {
        let (run_ns, wait_ns) = threads.get(&number).copied().unwrap_or_default();
        let kvm = counted.kvm.get(number).copied().unwrap_or_default();
        VmVcpuStats {
            cpu_us: run_ns / 1000,
            steal_us: wait_ns / 1000,
            exits: kvm.exits,
            vmm_exits: exits.total(),
            page_faults: kvm.page_faults,
        }
    });
    each.collect()
}

/// Exits of all vCPUs by reason.
fn exits(counted: &VmmMetrics) -> Vec<VmExits> {
    let by_kvm = counted.kvm.iter().flat_map(|counts| counts.reasons());
    let to_vmm = counted.vcpus.iter().flat_map(|exits| exits.reasons());
    let all = by_kvm
        .map(|one| (false, one))
        .chain(to_vmm.map(|one| (true, one)));
    let mut sums: Vec<VmExits> = Vec::new();
    for (vmm, (reason, count)) in all.filter(|(_, (_, count))| *count > 0) {
        match sums.iter_mut().find(|sum| sum.vmm == vmm && sum.reason == reason) {
            Some(sum) => sum.count = sum.count.saturating_add(count),
            None => sums.push(VmExits {
                reason: reason.to_owned(),
                vmm,
                count,
            }),
        }
    }
    sums.sort_by_key(|sum| (sum.vmm, std::cmp::Reverse(sum.count)));
    sums
}

fn console_stats(console: &ConsoleStatus, pairs: &[PairLatencies]) -> VmConsoleStats {
    VmConsoleStats {
        printed_bytes: console.printed_bytes,
        typed_bytes: console.typed_bytes,
        print_times: latency(pairs, |pair| &pair.send),
        type_times: latency(pairs, |pair| &pair.receive),
    }
}

fn vsock_stats(vsock: &VsockStatus, pairs: &[PairLatencies]) -> VmVsockStats {
    VmVsockStats {
        connections: vsock.connections,
        from_guest: vsock.from_guest,
        to_guest: vsock.to_guest,
        resets: vsock.resets,
        send_bytes: vsock.sent_bytes,
        receive_bytes: vsock.received_bytes,
        receive_times: latency(pairs, |pair| &pair.receive),
        send_times: latency(pairs, |pair| &pair.send),
    }
}

fn balloon_stats(balloon: &BalloonStatus) -> VmBalloonStats {
    let guest = balloon.guest.unwrap_or_default();
    VmBalloonStats {
        target: balloon.target,
        actual: balloon.actual,
        reported_bytes: balloon.reported_bytes,
        guest_total: guest.total,
        guest_free: guest.free,
        guest_available: guest.available,
    }
}

/// The times of a device, all its queues in one.
fn latency<T>(queues: &[T], of: fn(&T) -> &Latency) -> VmLatency {
    let mut all = Latency::default();
    queues.iter().for_each(|queue| all.merge(of(queue)));
    // What is known to a sixteenth may seem longer than the longest, which is known.
    let quantile = |share: f64| all.quantile_ns(share).min(all.longest_ns);
    VmLatency {
        count: all.count(),
        median_ns: quantile(0.5),
        p99_ns: quantile(0.99),
        p999_ns: quantile(0.999),
        longest_ns: all.longest_ns,
    }
}

fn disk_stats(source: &str, disk: &DiskStatus, queues: &[QueueLatencies]) -> VmDiskStats {
    let sum = |of: fn(&axion_api::vmm::DiskCounters) -> u64| {
        disk.queues.iter().map(of).fold(0, u64::saturating_add)
    };
    VmDiskStats {
        source: source.to_owned(),
        capacity: disk.capacity,
        reads: sum(|queue| queue.reads),
        read_bytes: sum(|queue| queue.read_bytes),
        writes: sum(|queue| queue.writes),
        write_bytes: sum(|queue| queue.write_bytes),
        flushes: sum(|queue| queue.flushes),
        discards: sum(|queue| queue.discards),
        errors: sum(|queue| queue.errors),
        waits: sum(|queue| queue.waits),
        read_times: latency(queues, |queue: &QueueLatencies| &queue.reads),
        write_times: latency(queues, |queue| &queue.writes),
        flush_times: latency(queues, |queue| &queue.flushes),
    }
}

/// What the host sends into a tap is what the guest receives.
fn net_stats(network: &str, tap: &Path) -> VmNetStats {
    let read =
        |file: &str| number(&std::fs::read_to_string(tap.join("statistics").join(file)).unwrap_or_default());
    VmNetStats {
        network: network.to_owned(),
        receive_bytes: read("tx_bytes"),
        receive_packets: read("tx_packets"),
        receive_drops: read("tx_dropped"),
        send_bytes: read("rx_bytes"),
        send_packets: read("rx_packets"),
        ..VmNetStats::default()
    }
}

#[cfg(test)]
mod tests {
    use axion_api::vmm::DiskCounters;
    use axion_api::vmm::metrics::{VcpuCounts, VcpuExits};

    use super::*;

    #[test]
    fn counters_are_summed_and_directions_are_the_guests() {
        assert_eq!(field("usage_usec 1234\nuser_usec 1000\n", "user_usec"), 1000);
        assert_eq!(field("usage_usec 1234\n", "usage"), 0);
        let queue = DiskCounters {
            reads: 2,
            write_bytes: u64::MAX,
            ..DiskCounters::default()
        };
        let disk = DiskStatus {
            path: String::new(),
            capacity: 512,
            direct: true,
            queues: vec![queue, queue],
        };
        let times = |ns: u64| QueueLatencies {
            reads: Latency {
                total_ns: ns,
                longest_ns: ns - 1,
                buckets: vec![(ns, 1)],
            },
            ..QueueLatencies::default()
        };
        let sum = disk_stats("data", &disk, &[times(2048), times(1024)]);
        let reads = sum.read_times;
        assert_eq!((reads.count, reads.median_ns, reads.p99_ns), (2, 1024, 2047));
        assert_eq!(sum.write_times, VmLatency::default());
        assert_eq!((sum.reads, sum.write_bytes, sum.capacity), (4, u64::MAX, 512));

        let pair = PairLatencies {
            receive: times(4096).reads,
            send: times(1024).reads,
        };
        let vsock = vsock_stats(&VsockStatus::default(), std::slice::from_ref(&pair));
        let pairs = [vsock.receive_times, vsock.send_times].map(|times| (times.count, times.longest_ns));
        assert_eq!(pairs, [(1, 4095), (1, 1023)]);
        let printed = ConsoleStatus {
            printed_bytes: 9,
            ..ConsoleStatus::default()
        };
        let console = console_stats(&printed, &[pair]);
        assert_eq!((console.printed_bytes, console.print_times.longest_ns), (9, 1023));
        assert_eq!(console.type_times.longest_ns, 4095);
        assert_eq!(console_stats(&printed, &[]).type_times, VmLatency::default());

        let tap = tempfile::tempdir().unwrap();
        std::fs::create_dir(tap.path().join("statistics")).unwrap();
        std::fs::write(tap.path().join("statistics/tx_bytes"), "77\n").unwrap();
        let net = net_stats("lan", tap.path());
        assert_eq!((net.receive_bytes, net.send_bytes), (77, 0));
    }

    #[test]
    fn vcpus_have_the_times_of_their_threads_and_both_counts_of_exits() {
        let process = tempfile::tempdir().unwrap();
        for (id, name, times) in [("7", "machine", "1 2 3"), ("8", "vcpu1", "5000 7000 9")] {
            let thread = process.path().join("task").join(id);
            std::fs::create_dir_all(&thread).unwrap();
            std::fs::write(thread.join("comm"), format!("{name}\n")).unwrap();
            std::fs::write(thread.join("schedstat"), format!("{times}\n")).unwrap();
        }
        let exits = |port_reads, others| VcpuExits {
            port_reads,
            others,
            ..VcpuExits::default()
        };
        let counted = VmmMetrics {
            vcpus: vec![exits(0, 0), exits(2, 1)],
            kvm: vec![
                VcpuCounts::default(),
                VcpuCounts {
                    exits: 9,
                    page_faults: 4,
                    ..VcpuCounts::default()
                },
            ],
            ..VmmMetrics::default()
        };
        let two = [("port-read", 2), ("other", 1)].map(|(reason, count)| VmExits {
            reason: reason.to_owned(),
            vmm: true,
            count,
        });
        let faults = VmExits {
            reason: "page-fault".to_owned(),
            vmm: false,
            count: 4,
        };
        assert_eq!(super::exits(&counted), [&[faults], &two[..]].concat());
        let stats = vcpu_stats(&counted, &thread_times(process.path()));
        let busy = VmVcpuStats {
            cpu_us: 5,
            steal_us: 7,
            exits: 9,
            vmm_exits: 3,
            page_faults: 4,
        };
        assert_eq!(stats, [VmVcpuStats::default(), busy]);
    }
}
