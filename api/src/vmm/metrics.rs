//! What a running machine counts.

use serde::{Deserialize, Serialize};

/// Answer of `GET /v1/vm/metrics`. Counters begin at 0 with the process and go on through resets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmmMetrics {
    /// Exits of each vCPU to the VMM, in order.
    pub vcpus: Vec<VcpuExits>,
    /// What KVM has counted of each vCPU, in order. Empty where KVM does not tell.
    #[serde(default)]
    pub kvm: Vec<VcpuCounts>,
    /// How guest memory is mapped now, where KVM tells.
    #[serde(default)]
    pub mapped: Option<MappedPages>,
    /// How long requests took, of each queue of each disk, in order.
    #[serde(default)]
    pub disks: Vec<Vec<QueueLatencies>>,
    /// How long frames took, of each queue pair of each network interface, in order. An interface whose frames the kernel moves
    /// (`NetPath::Vhost`) has none.
    #[serde(default)]
    pub nets: Vec<Vec<PairLatencies>>,
    /// How long packets of the socket device took, where it has one.
    #[serde(default)]
    pub vsock: Option<PairLatencies>,
    /// How long typing and printing by virtio-console took, where that is the console.
    #[serde(default)]
    pub console: Option<PairLatencies>,
}

/// How long what goes through a pair of queues was with the VMM. What a round has done is shown at once, and all of it has the
/// round's time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairLatencies {
    /// From when a frame was read from the tap, a socket's connection had something to tell or something was typed, to when the
    /// guest could see it: the wait for buffers is part of it.
    pub receive: Latency,
    /// From when a buffer was found in the ring to when the guest could see that it is gone: the wait for room in a tap is part
    /// of it.
    pub send: Latency,
}

/// How long requests of a queue took, from when they were found in the ring to when the guest could see their end. Those
/// that failed are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueLatencies {
    /// Reads.
    pub reads: Latency,
    /// Writes.
    pub writes: Latency,
    /// Flushes.
    pub flushes: Latency,
}

/// A histogram of times, nanoseconds, each known to a sixteenth of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Sum of all.
    pub total_ns: u64,
    /// The longest.
    pub longest_ns: u64,
    /// Upper end of a bucket, exclusive, and how many are in it; in order, without those that are empty. Each power of two
    /// from 2^6 to 2^40 is an end.
    pub buckets: Vec<(u64, u64)>,
}

impl Latency {
    /// How many there are.
    pub fn count(&self) -> u64 {
        let counts = self.buckets.iter().map(|(_, count)| count);
        counts.fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// How many took less than `ns`, which is an end of a bucket.
    pub fn below(&self, ns: u64) -> u64 {
        let below = self.buckets.iter().take_while(|(end, _)| *end <= ns);
        below.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// What the share `quantile` (0 to 1) of them took at most; 0 where there are none.
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    pub fn quantile_ns(&self, quantile: f64) -> u64 {
        // Counts are far below 2^53, and the share is cut to its range.
        let wanted = (self.count() as f64 * quantile.clamp(0.0, 1.0)).ceil().max(1.0) as u64;
        let mut seen = 0u64;
        let found = self.buckets.iter().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= wanted
        });
        found.map_or(0, |(end, _)| *end)
    }

    /// Adds what `other` has.
    pub fn merge(&mut self, other: &Self) {
        self.total_ns = self.total_ns.saturating_add(other.total_ns);
        self.longest_ns = self.longest_ns.max(other.longest_ns);
        for (end, count) in &other.buckets {
            match self.buckets.binary_search_by_key(end, |(end, _)| *end) {
                Ok(place) => {
                    if let Some((_, mine)) = self.buckets.get_mut(place) {
                        *mine = mine.saturating_add(*count);
                    }
                }
                Err(place) => self.buckets.insert(place, (*end, *count)),
            }
        }
    }
}

/// How often a vCPU has left the guest for the VMM, by reason. Exits that KVM handles itself are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuExits {
    /// Reads of an I/O port.
    pub port_reads: u64,
    /// Writes to an I/O port.
    pub port_writes: u64,
    /// Reads of a memory-mapped register.
    pub mmio_reads: u64,
    /// Writes to a memory-mapped register.
    pub mmio_writes: u64,
    /// Ends of level-triggered interrupts.
    pub interrupt_ends: u64,
    /// Interrupted by a signal, as for pause and reset.
    pub interrupted: u64,
    /// Woken up while it waited for INIT.
    pub init_waits: u64,
    /// All others: triple faults, system events, failures.
    pub others: u64,
}

/// What KVM has counted of a vCPU, whether it handled the exit itself or not (Documentation/virt/kvm/api.rst,
/// `KVM_GET_STATS_FD`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VcpuCounts {
    /// Exits, of whatever reason.
    pub exits: u64,
    /// Of them: accesses to I/O ports.
    pub io: u64,
    /// Of them: accesses to memory-mapped registers.
    pub mmio: u64,
    /// Of them: interrupts of the host.
    pub interrupts: u64,
    /// Of them: the guest could take an interrupt that waited for it.
    pub interrupt_windows: u64,
    /// Of them: the guest had nothing to do.
    pub halts: u64,
    /// Of them: signals to the thread.
    pub signals: u64,
    /// Of them: calls of the guest to KVM.
    pub hypercalls: u64,
    /// Of them: faults of the second stage of address translation.
    pub page_faults: u64,
    /// Instructions that KVM carried out for the guest.
    pub emulations: u64,
    /// Interrupts that the guest was given.
    pub injections: u64,
    /// Flushes of the TLB.
    pub tlb_flushes: u64,
}

/// Pages of the second stage of address translation, by size: what the guest's memory really is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MappedPages {
    /// Of 4 KiB.
    pub pages_4k: u64,
    /// Of 2 MiB.
    pub pages_2m: u64,
    /// Of 1 GiB.
    pub pages_1g: u64,
}

impl VcpuCounts {
    /// Exits by reason, those reasons that KVM tells apart.
    pub const fn reasons(&self) -> [(&'static str, u64); 8] {
        [
            ("io", self.io),
            ("mmio", self.mmio),
            ("interrupt", self.interrupts),
            ("interrupt-window", self.interrupt_windows),
            ("halt", self.halts),
            ("signal", self.signals),
            ("hypercall", self.hypercalls),
            ("page-fault", self.page_faults),
        ]
    }
}

impl VcpuExits {
    /// By reason.
    pub const fn reasons(&self) -> [(&'static str, u64); 8] {
        [
            ("port-read", self.port_reads),
            ("port-write", self.port_writes),
            ("mmio-read", self.mmio_reads),
            ("mmio-write", self.mmio_writes),
            ("interrupt-end", self.interrupt_ends),
            ("signal", self.interrupted),
            ("init-wait", self.init_waits),
            ("other", self.others),
        ]
    }

    /// All of them.
    pub const fn total(&self) -> u64 {
        self.port_reads
            .wrapping_add(self.port_writes)
            .wrapping_add(self.mmio_reads)
            .wrapping_add(self.mmio_writes)
            .wrapping_add(self.interrupt_ends)
            .wrapping_add(self.interrupted)
            .wrapping_add(self.init_waits)
            .wrapping_add(self.others)
    }
}
