//! CPUs as the guest sees them: sockets, cores, threads, shared caches, and the APIC ids that encode them.
//!
//! ```text
//! APIC id:  | socket | level 3 cache | core | thread |      each field as wide as its count needs
//! ```
//!
//! vCPUs count through threads, cores, caches and sockets in that order. Where a count is no power of two, APIC ids have
//! holes: a vCPU's index and its APIC id are two things. KVM knows vCPUs by APIC id, operators by index.

use axion_api::vmm::CpuTopology;

/// The CPUs of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    sockets: u32,
    caches: u32,
    cores: u32,
    threads: u32,
}

impl Topology {
    /// The topology of a validated config.
    pub fn new(wanted: CpuTopology) -> Self {
        let cores = wanted.l3_cores.unwrap_or(wanted.cores).max(1);
        Self {
            sockets: wanted.sockets,
            caches: wanted.cores / cores,
            cores,
            threads: wanted.threads,
        }
    }

    /// vCPUs.
    pub const fn cpus(&self) -> u32 {
        self.sockets * self.cpus_of_socket()
    }

    /// Sockets.
    pub const fn sockets(&self) -> u32 {
        self.sockets
    }

    /// Threads of a core.
    pub const fn cpus_of_core(&self) -> u32 {
        self.threads
    }

    /// vCPUs that share a level 3 cache.
    pub const fn cpus_of_cache(&self) -> u32 {
        self.cores * self.threads
    }

    /// vCPUs of a socket.
    pub const fn cpus_of_socket(&self) -> u32 {
        self.caches * self.cpus_of_cache()
    }

    /// Low bits of an APIC id that differ within a core.
    pub const fn core_shift(&self) -> u32 {
        bits(self.threads)
    }

    /// Low bits of an APIC id that differ within a level 3 cache.
    pub const fn cache_shift(&self) -> u32 {
        self.core_shift() + bits(self.cores)
    }

    /// Low bits of an APIC id that differ within a socket.
    pub const fn socket_shift(&self) -> u32 {
        self.cache_shift() + bits(self.caches)
    }

    /// APIC id of the vCPU with index `cpu`.
    pub const fn apic_id(&self, cpu: u32) -> u32 {
        let core = cpu / self.threads;
        let cache = core / self.cores;
        (cpu % self.threads)
            | (core % self.cores) << self.core_shift()
            | (cache % self.caches) << self.cache_shift()
            | (cache / self.caches) << self.socket_shift()
    }

    /// The highest APIC id.
    pub const fn max_apic_id(&self) -> u32 {
        self.apic_id(self.cpus() - 1)
    }
}

/// Bits that number `count` things.
const fn bits(count: u32) -> u32 {
    u32::BITS - count.saturating_sub(1).leading_zeros()
}

#[cfg(test)]
mod tests;
