//! CPU time and memory of a VM that runs.

use axion_core::placement::block_size;
use axion_core::quantity::ByteSize;
use serde::{Deserialize, Serialize};

use super::{HugepageSize, VmSpec};

/// How the host's kernel schedules the vCPUs of a VM.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Scheduling {
    /// As ordinary threads.
    #[default]
    Normal,
    /// By `SCHED_FIFO`, above every ordinary thread of the host; dedicated VMs only.
    Fifo,
}

impl Scheduling {
    /// The real-time priority of the vCPUs' threads: the lowest one, which is above all that is not real-time and below
    /// what the kernel itself has real-time threads for.
    pub const fn fifo_priority(self) -> Option<u8> {
        match self {
            Self::Normal => None,
            Self::Fifo => Some(1),
        }
    }
}

/// The CPU that a guest sees. A baseline is what the psABI for x86-64 names, the same on every host that has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum GuestCpuModel {
    /// All that KVM offers of the host's CPU.
    #[default]
    #[serde(rename = "host")]
    Host,
    /// Up to SSE4.2 and POPCNT.
    #[serde(rename = "x86-64-v2")]
    V2,
    /// Up to AVX2, BMI2 and FMA.
    #[serde(rename = "x86-64-v3")]
    V3,
    /// Up to AVX-512 F, BW, CD, DQ and VL.
    #[serde(rename = "x86-64-v4")]
    V4,
}

impl GuestCpuModel {
    /// All of them, the least baseline first after the host's own.
    pub const ALL: [Self; 4] = [Self::Host, Self::V2, Self::V3, Self::V4];

    /// Its name in specs and on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::V2 => "x86-64-v2",
            Self::V3 => "x86-64-v3",
            Self::V4 => "x86-64-v4",
        }
    }
}

impl std::fmt::Display for GuestCpuModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl VmSpec {
    /// By how much the VM's memory grows and shrinks at a time, where it does.
    pub fn memory_block(&self) -> Option<ByteSize> {
        let more = self.memory_max?.0.saturating_sub(self.memory.0);
        let page = match self.hugepages {
            HugepageSize::None => 4 << 10,
            HugepageSize::TwoMiB => 2 << 20,
            HugepageSize::OneGiB => 1 << 30,
        };
        Some(ByteSize(block_size(more, page)))
    }
}

/// Body of `PUT /v1/vms/{name}/memory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct MemoryRequest {
    /// What the VM is to have in all: `memory` to `memory_max` of its spec, by whole blocks. It stays so through stops and
    /// starts, until it is asked for again or the spec is another one.
    pub size: ByteSize,
}

/// Memory of a VM that grows and shrinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct VmMemory {
    /// What it is to have.
    pub wanted: ByteSize,
    /// What it has, while it runs. A guest gives back what it does not use, at its own pace, and may keep the rest.
    pub present: Option<ByteSize>,
    /// By how much it grows and shrinks at a time.
    pub block: ByteSize,
}
