//! What VMs have used and done.

use serde::{Deserialize, Serialize};

use crate::vmm::NetPath;
use crate::vmm::metrics::MappedPages;

/// What a VM has used and done (`GET /v1/vms/{name}/stats`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmStats {
    /// CPU time of its VMM, guest included, since the start, microseconds.
    pub cpu_us: u64,
    /// Memory of its VMM that is present, guest memory included but for hugepages, bytes.
    pub memory: u64,
    /// Page faults of its VMM since the start: the guest's first touches of ordinary memory among them.
    #[serde(default)]
    pub page_faults: u64,
    /// How the guest's memory is mapped, where the kernel tells.
    #[serde(default)]
    pub mapped: Option<MappedPages>,
    /// Resets since the start.
    pub resets: u64,
    /// Microseconds from its VMM's start to the guest's first instruction.
    pub start_us: Option<u64>,
    /// vCPUs, in order.
    #[serde(default)]
    pub vcpus: Vec<VmVcpuStats>,
    /// Exits of all vCPUs since the start by reason, those that there were. By vCPU in `/metrics`.
    #[serde(default)]
    pub exits: Vec<VmExits>,
    /// Disks, as in the spec; the last one is the seed of `cloud_init`, where there is one.
    pub disks: Vec<VmDiskStats>,
    /// Network interfaces, as in the spec.
    pub nets: Vec<VmNetStats>,
    /// Its console.
    #[serde(default)]
    pub console: VmConsoleStats,
    /// Its socket device, where it has one.
    #[serde(default)]
    pub vsock: Option<VmVsockStats>,
    /// Its balloon, where it has one.
    #[serde(default)]
    pub balloon: Option<VmBalloonStats>,
}

/// Exits from the guest for one reason.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmExits {
    /// The reason: one of those that KVM tells apart, or why KVM left the exit to the VMM.
    pub reason: String,
    /// KVM left them to the VMM; without it all are meant, whoever has dealt with them.
    pub vmm: bool,
    /// How many.
    pub count: u64,
}

/// What a vCPU has done since the VM's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmVcpuStats {
    /// CPU time of its thread, microseconds.
    pub cpu_us: u64,
    /// Time that it wanted to run and did not get a CPU: what the guest sees as steal, microseconds.
    pub steal_us: u64,
    /// Exits from the guest; 0 where the kernel does not tell.
    pub exits: u64,
    /// Exits that KVM left to the VMM.
    pub vmm_exits: u64,
    /// Faults of the second stage of address translation; 0 where the kernel does not tell.
    pub page_faults: u64,
}

/// What a console has done since the VM's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmConsoleStats {
    /// Bytes that the guest printed.
    pub printed_bytes: u64,
    /// Bytes that were typed.
    pub typed_bytes: u64,
    /// How long what the guest printed was with the VMM; none with the serial line, which has no queues.
    #[serde(default)]
    pub print_times: VmLatency,
    /// How long what was typed waited for the guest; none with the serial line.
    #[serde(default)]
    pub type_times: VmLatency,
}

/// What a socket device has done since the VM's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmVsockStats {
    /// Connections that are there now.
    pub connections: u64,
    /// Connections that the guest opened.
    pub from_guest: u64,
    /// Connections that were asked of the guest.
    pub to_guest: u64,
    /// Resets: of what was refused or has failed, and one at each ordinary end.
    pub resets: u64,
    /// Bytes that the guest sent.
    pub send_bytes: u64,
    /// Bytes that the guest received.
    pub receive_bytes: u64,
    /// How long packets to the guest were with the VMM.
    #[serde(default)]
    pub receive_times: VmLatency,
    /// How long packets of the guest were.
    #[serde(default)]
    pub send_times: VmLatency,
}

/// State of a balloon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmBalloonStats {
    /// Bytes that are asked of the guest.
    pub target: u64,
    /// Bytes that it has given.
    pub actual: u64,
    /// Bytes of free pages that went back to the node since the start.
    pub reported_bytes: u64,
    /// Bytes that the guest has, by its own account.
    pub guest_total: Option<u64>,
    /// Bytes that it does not use.
    pub guest_free: Option<u64>,
    /// Bytes that it could use without swapping.
    pub guest_available: Option<u64>,
}

/// What a disk has done since the VM's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmDiskStats {
    /// Name of its volume, digest of its image, or `cloud-init`.
    pub source: String,
    /// Bytes.
    pub capacity: u64,
    /// Reads.
    pub reads: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Writes.
    pub writes: u64,
    /// Bytes written.
    pub write_bytes: u64,
    /// Flushes.
    pub flushes: u64,
    /// Discards and zeroings.
    #[serde(default)]
    pub discards: u64,
    /// Requests that failed.
    pub errors: u64,
    /// Requests that had to wait for room on the node.
    pub waits: u64,
    /// How long reads took.
    #[serde(default)]
    pub read_times: VmLatency,
    /// How long writes took.
    #[serde(default)]
    pub write_times: VmLatency,
    /// How long flushes took.
    #[serde(default)]
    pub flush_times: VmLatency,
}

/// How long requests of a disk took, from when its VMM found them to when the guest could see their end, or what goes through
/// other devices, from when the VMM had it to when the guest could see that it has it or that it is gone; nanoseconds, each known
/// to a sixteenth of itself. By queue, as histograms, in `/metrics`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmLatency {
    /// How many there were.
    pub count: u64,
    /// Half of them took no longer.
    pub median_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// 999 of 1000 took no longer.
    pub p999_ns: u64,
    /// The longest.
    pub longest_ns: u64,
}

/// What a network interface has done since the VM's start, as the guest sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmNetStats {
    /// Its network.
    pub network: String,
    /// Bytes received.
    pub receive_bytes: u64,
    /// Packets received.
    pub receive_packets: u64,
    /// Packets that the guest was too slow for.
    pub receive_drops: u64,
    /// Bytes sent.
    pub send_bytes: u64,
    /// Packets sent.
    pub send_packets: u64,
    /// Who moves its frames, where the VMM says.
    #[serde(default)]
    pub path: Option<NetPath>,
    /// How long frames to the guest were with the VMM; none with vhost, which passes it by.
    #[serde(default)]
    pub receive_times: VmLatency,
    /// How long frames of the guest were.
    #[serde(default)]
    pub send_times: VmLatency,
}
